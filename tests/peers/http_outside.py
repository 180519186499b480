#!/usr/bin/env python3
"""perf/http from outside: tests/peers/http_outside.py BUILD_DIR

Clients that take too long or ask for too much, and programs of others before it: nginx, wrk, curl."""
import sys

import contextlib
import http.client
import os
import select
import shutil
import socket
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from helpers_http import (HUGE, LIMIT, WORLDS, Answers, ask, bounded, case, connect, equal, make_files, one_by_one,
                          peak, request, run, run_suite, server, true, until_end)

PAGE = b"Hello, world!\n"
HALF = b"GET / HTTP/1.1\r\nHost: x\r\nA: "
SLOW = 500
files = {}

# ---- Cases: clients that take too long ------------------------------------------------------------------

def gathered(clients, trickle):
    """What each of the clients gets until its connection has ended; meanwhile each sends a byte now and then."""
    got = {s: b"" for s in clients}
    left = set(clients)
    while left:
        for s in select.select(left, [], [], 0.05)[0]:
            try:
                data = s.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            got[s] += data
            if not data:
                left.discard(s)
        for s in left:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                s.sendall(trickle)
    return got.values()

def slow_heads(world):
    """Half a request holds nobody up, and bytes that trickle in do not make its time longer."""
    with contextlib.ExitStack() as stack:
        patient = stack.enter_context(server(world, None, "--header-timeout", "1000"))
        clients = [stack.enter_context(connect(patient.port)) for _ in range(SLOW)]
        for s in clients:
            s.sendall(HALF)
        equal(ask(patient.port, request(fields="Connection: close\r\n"))[2], PAGE)
        equal(select.select(clients, [], [], 0)[0], [], "slow clients that were answered")
        for s in clients[::50]:
            s.sendall(b"b\r\n\r\n")
            equal(Answers(s).next()[2], PAGE)
    for trickle in (b"", b"b"):
        with contextlib.ExitStack() as stack:
            strict = stack.enter_context(server(world, None, "--header-timeout", "0.3"))
            clients = [stack.enter_context(connect(strict.port)) for _ in range(SLOW)]
            for s in clients:
                s.sendall(HALF)
            for answer in gathered(clients, trickle):
                true(answer.startswith(b"HTTP/1.1 408 ") and answer.count(b"HTTP/1.1") == 1, f"{answer!r}")

def idle_between_requests(world):
    """It is the idle limit that counts there, and not that of a head."""
    with server(world, None, "--header-timeout", "0.05", "--idle-timeout", "0.5") as process:
        with connect(process.port) as quiet, connect(process.port) as s:
            answers = Answers(s)
            for _ in range(3):
                s.sendall(request())
                equal(answers.next()[2], PAGE)
                select.select([quiet], [], [], 0.2)
            equal((until_end(s), until_end(quiet)), (b"", b""))
            equal(bytes(answers.buf), b"")

def slow_bodies(world):
    """A body has a least rate; one that stops, or drips, is late."""
    with server(world, None, "--header-timeout", "0.3") as process:
        for field, begin, trickle in (("Content-Length: 1000", b"", b""), ("Content-Length: 100000", b"x", b"x"),
                                      ("Transfer-Encoding: chunked", b"", b"1\r\nx\r\n"),
                                      ("Transfer-Encoding: chunked", b"4;", b"e")):
            with connect(process.port) as s:
                s.sendall(request(fields=field + "\r\n") + begin)
                answer, = gathered([s], trickle)
                true(answer.startswith(b"HTTP/1.1 408 "), f"{answer!r}")

def descriptors(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))

def nobody_reads(world, root):
    """A client that takes nothing of its answer is left: it gets no more than was on its way."""
    with server(world, root, "--idle-timeout", "0.5") as process, connect(process.port, 4096) as s:
        answers = Answers(s)
        s.sendall(request("/one"))
        answers.next()
        before = descriptors(process)
        s.sendall(request("/huge"))
        end = time.monotonic() + LIMIT
        while descriptors(process) >= before:
            true(time.monotonic() < end, "the server keeps the connection or the file")
            ask(process.port, request(fields="Connection: close\r\n"))
        with contextlib.suppress(ConnectionResetError):
            answers.buf += until_end(s)
        true(len(answers.buf) < HUGE, "all of it came")

# ---- Cases: too much ------------------------------------------------------------------------------------

def endless(port):
    """Sends a head without an end until nobody takes it, or 8 MiB. Result: what came back."""
    got = b""
    with connect(port) as s:
        s.sendall(HALF)
        while not select.select([s], [], [], 0)[0]:
            s.sendall(b"v" * 4096)
        while data := s.recv(1 << 16):
            got += data
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            s.sendall(b"v" * (8 << 20))     # it goes on, though it was told
    return got

def endless_heads(world):
    with server(world) as process:
        ask(process.port, request(fields="Connection: close\r\n"))
        before = peak(process)
        got = []
        threads = [threading.Thread(target=lambda: got.append(endless(process.port))) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
        equal(len(got), 20)
        for answer in got:
            true(answer.startswith(b"HTTP/1.1 431 "), f"{answer!r}")
        true(peak(process) - before < 16384, f"the server grew by {peak(process) - before} KiB")     # of 160 MiB

def flood(world):
    """100,000 requests in one go are all answered, and who comes meanwhile does not have to wait for that."""
    count = 100000
    with server(world) as process, connect(process.port, 65536) as flooder, connect(process.port) as guest:
        sender = threading.Thread(target=flooder.sendall, args=(request() * count,), daemon=True)
        sender.start()
        size, seen, guests = 0, bytearray(), 0
        answers = Answers(guest)
        guest.sendall(request())
        while size == 0 or len(seen) < size * count:
            ready = select.select([flooder, guest], [], [], LIMIT)[0]
            true(ready, f"nothing comes after {len(seen)} bytes")
            if guest in ready:
                equal(answers.next()[2], PAGE)
                guests += 1
                guest.sendall(request())
            if flooder in ready:
                seen += flooder.recv(1 << 16)
                size = size or seen.find(PAGE) + len(PAGE)
        sender.join(LIMIT)
        equal((len(seen), seen.count(PAGE), seen.count(b"HTTP/1.1 200 OK\r\n")), (size * count, count, count))
        true(guests > 5, f"only {guests} guests were answered meanwhile")

def in_single_bytes(port):
    """Any request means the same in one packet and in many."""
    for path, wanted in (("/one", 200), ("/nothing", 404), ("/sub", 301), ("/%", 400)):
        data = request(path, "Connection: close\r\nRange: bytes=0-0\r\n")
        with connect(port) as s:
            for byte in one_by_one(data):
                s.sendall(byte)
            whole = until_end(s)
        status = int(whole.split(b" ", 2)[1])
        equal((path, status), (path, 206 if wanted == 200 else wanted))
        equal(ask(port, data)[2], whole.partition(b"\r\n\r\n")[2])

def climbing(port):
    """No spelling leads out of the directory that is served."""
    up = ("..", "%2e%2e", ".%2e", "%2E.", "%252e%252e", "..%00", "..%01", "%c0%ae%c0%ae", "..;", "..\\", "%5c..",
          "....", ".. ", "..%20", "\\..", "..%5c", "..?", "%2e%2e%3f", "%u002e%u002e")
    between = ("/", "%2f", "%2F", "//", "/./", "\\", "%5c", "%252f", "/%2e/", "%c0%af")
    tried = [f"/{start}{u}{b}{rest}" for u in up for b in between for start in ("", "sub/", "sub%2f")
             for rest in ("secret", f"..{b}secret", f"outside{b}secret")]
    with connect(port) as s:
        answers = Answers(s)
        for path in tried + [f"//{path}" for path in tried] + [f"http://h/..{path}" for path in tried]:
            s.sendall(request(path.replace(" ", "%20") if path.isascii() else path))
            status, fields, body = answers.next()
            true(status in (400, 404, 403) or (status, body) == (200, files["index.html"]), f"{path}: {status}")
            true(b"secret" not in body, f"{path} shows the secret")
            if fields.get("connection") == "close":
                s.close()
                s = connect(port)
                answers = Answers(s)

# ---- Cases: other people's programs -----------------------------------------------------------------------

def curl(port, *args, status=0):
    done = run("curl", "-sS", "--max-time", "15", *args)
    equal((args, done.returncode, done.stderr if status == 0 else b""), (args, status, b""))
    return done.stdout

def curl_client(port, top):
    base = f"http://127.0.0.1:{port}"
    body = os.path.join(top, "body")
    with open(body, "wb") as file:
        file.write(os.urandom(300000))
    connections = curl(port, "-o", "/dev/null", "-o", "/dev/null", "-o", "/dev/null", "-w", "%{num_connects}\n",
                       f"{base}/one", f"{base}/middle", f"{base}/thousand")
    equal(connections.split(), [b"1", b"0", b"0"], "connections")
    head = curl(port, "-I", f"{base}/middle")
    true(b"\r\nContent-Length: 300000\r\n" in head and b"\r\nETag: \"" in head, f"{head!r}")
    true(curl(port, "-0", f"{base}/middle") == files["middle"], "HTTP/1.0: the bytes differ")
    true(curl(port, "-r", "-100", f"{base}/middle") == files["middle"][-100:], "the range differs")
    output = os.path.join(top, "resumed")
    with open(output, "wb") as file:
        file.write(files["big"][:1000000])
    curl(port, "-C", "-", "-o", output, f"{base}/big")
    with open(output, "rb") as file:
        true(file.read() == files["big"], "the resumed file differs")
    etags, saved = os.path.join(top, "etags"), os.path.join(top, "saved")
    curl(port, "--etag-save", etags, "-o", saved, f"{base}/one")
    equal(curl(port, "--etag-compare", etags, "-w", "%{http_code} %{size_download}", f"{base}/one"), b"304 0")
    for more in ((), ("-H", "Transfer-Encoding: chunked")):
        head = curl(port, "-D", "-", "-o", saved, "-X", "GET", "-H", "Expect: 100-continue",
                    "--expect100-timeout", "15", *more, "-T", body, f"{base}/one")
        true(head.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), f"{head!r}")
    equal(curl(port, "-o", "/dev/null", "-w", "%{http_code}", "-T", body, f"{base}/one"), b"405")

def python_client(port):
    """One connection for all of it."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    client.connect()
    sock = client.sock
    for name in ("one", "empty", "middle", "big", "thousand"):
        for method in ("GET", "HEAD"):
            client.request(method, f"/{name}", headers={"X-Long": "x" * 5000})
            answer = client.getresponse()
            true(answer.read() == (files[name] if method == "GET" else b""), f"{name} came wrong")
            equal((answer.status, answer.headers["Content-Length"]), (200, str(len(files[name]))))
    client.request("GET", "/one", body=iter([b"a" * 100, b"b" * 100000]), encode_chunked=True,
                   headers={"Transfer-Encoding": "chunked"})
    equal(client.getresponse().read(), files["one"])
    client.request("OPTIONS", "*")
    answer = client.getresponse()
    equal((answer.status, answer.read()), (204, b""))
    true(client.sock is sock, "the connection was made anew")
    client.close()

NGINX = """
daemon off; worker_processes 1; pid {top}/pid; error_log {top}/error.log;
events {{ }}
http {{
    access_log {top}/access.log;
    client_body_temp_path {top}/t1; proxy_temp_path {top}/t2; fastcgi_temp_path {top}/t3; uwsgi_temp_path {top}/t4;
    scgi_temp_path {top}/t5; proxy_buffering {buffering}; proxy_request_buffering {buffering};
    upstream behind {{ server 127.0.0.1:{behind}; keepalive 4; }}
    server {{
        listen unix:{top}/socket;
        location / {{ proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
}}
"""

class Proxied(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("x", timeout=LIMIT)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(LIMIT)
        while True:     # until nginx listens: the process is bounded, and so is this
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                return self.sock.connect(self.path)
            select.select([], [], [], 0.01)

@contextlib.contextmanager
def nginx(top, behind, buffering):
    os.mkdir(top)
    conf = os.path.join(top, "conf")
    with open(conf, "w", encoding="ascii") as file:
        file.write(NGINX.format(top=top, behind=behind, buffering=buffering))
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    with bounded([program, "-c", conf, "-e", f"{top}/error.log"]) as process:
        yield os.path.join(top, "socket")
        process.terminate()
        process.wait(LIMIT)
    with open(f"{top}/error.log", encoding="utf-8") as log:
        equal([line for line in log if "[error]" in line or "[warn]" in line and "buffered" not in line], [])

def behind_nginx(port, top):
    for buffering in ("on", "off"):
        with nginx(os.path.join(top, "nginx-" + buffering), port, buffering) as path:
            client = Proxied(path)
            for _ in range(3):
                for name in ("one", "empty", "middle", "big"):
                    client.request("GET", f"/{name}")
                    answer = client.getresponse()
                    true(answer.status == 200 and answer.read() == files[name], f"{name} came wrong")
                    client.request("HEAD", f"/{name}")
                    answer = client.getresponse()
                    equal((answer.status, answer.length, answer.read()), (200, 0, b""))
                client.request("GET", "/big", headers={"Range": "bytes=1000000-2000000"})
                answer = client.getresponse()
                true(answer.status == 206 and answer.read() == files["big"][1000000:2000001], "the range came wrong")
                client.request("GET", "/one", headers={"If-None-Match": answer.headers["ETag"]})
                equal(client.getresponse().read(), files["one"])
                client.request("GET", "/one", headers={"If-None-Match": "*"})
                answer = client.getresponse()
                equal((answer.status, answer.read()), (304, b""))
            for body in (b"x" * 300000, iter([b"x" * 70000] * 4)):
                client.request("POST", "/one", body=body, encode_chunked=not isinstance(body, bytes))
                answer = client.getresponse()
                equal((answer.status, answer.read()), (405, b"Method Not Allowed\n"))
                client.close()      # as nginx does, if the body was refused while it passed through
                client.request("GET", "/one")
                equal(client.getresponse().read(), files["one"])
            client.close()

def wrk_client(port):
    for path, more in (("/one", ()), ("/middle", ()), ("/nothing", ()), ("/one", ("-H", "Connection: close"))):
        done = run("wrk", "-t1", "-c50", "-d1s", *more, f"http://127.0.0.1:{port}{path}")
        said = done.stdout.decode()
        equal((done.returncode, done.stderr), (0, b""))
        true("requests in" in said and "Socket errors" not in said, said)
        equal("Non-2xx" in said, path == "/nothing", "answers that are none of 200")

# ---- All of them -------------------------------------------------------------------------------------------

def world_cases(world, root, top):
    def on(function, *args):
        case(f"{world}: {function.__name__.replace('_', ' ')}", function, *args)

    for function in (slow_heads, idle_between_requests, slow_bodies, endless_heads, flood):
        on(function, world)
    on(nobody_reads, world, root)
    with server(world, root) as process:
        for function in (in_single_bytes, climbing, python_client, wrk_client):
            on(function, process.port)
        on(curl_client, process.port, top)
        on(behind_nginx, process.port, os.path.join(top, world))

def all_cases(top):
    root, made = make_files(top)
    files.update(made)
    os.chmod(top, 0o755)    # nginx's workers are somebody else
    for world in WORLDS:
        os.mkdir(os.path.join(top, world))
        case(f"{world}: all cases ran", world_cases, world, root, top)

run_suite(all_cases)
