#!/usr/bin/env python3
"""perf/http and perf/get against raw sockets, http.client and curl: tests/peers/http_peer.py BUILD_DIR

One line per case, "ok NAME" or "not ok NAME: why"; the last line is "N passed, N failed"."""
import sys

import contextlib
import ctypes
import http.client
import os
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

LIMIT = 20          # seconds, for every wait
WORLDS = ("uring", "epoll")
PAGE = b"Hello, world!\n"
SIZES = {"empty": 0, "one": 1, "thousand": 1000, "small": 256 * 1024, "middle": 300000, "big": 3 << 20}
passed = failed = 0

# ---- The protocol of a suite ----------------------------------------------------------------------

def case(name, run, *args):
    global passed, failed
    try:
        run(*args)
    except Exception as why:    # a case that fails says so, and the next one runs
        failed += 1
        print(f"not ok {name}: {type(why).__name__}: {str(why)[:300]}", flush=True)
    else:
        passed += 1
        print(f"ok {name}", flush=True)

def equal(got, wanted, what="value"):
    if got != wanted:
        raise AssertionError(f"{what} is {got!r:.120}, not {wanted!r:.120}")

def true(fact, what):
    if not fact:
        raise AssertionError(what)

# ---- The server, and clients of one socket ----------------------------------------------------------

def refuse_openat2():
    """As on a kernel before 5.6: a seccomp filter that answers ENOSYS to system call 437."""
    rules = [(0x20, 0, 0, 0), (0x15, 0, 1, 437), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7fff0000)]
    code = b"".join(struct.pack("HBBI", *rule) for rule in rules)
    buf = ctypes.create_string_buffer(code)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules), ctypes.addressof(buf)))
    libc = ctypes.CDLL(None)
    if libc.prctl(38, 1, 0, 0, 0) != 0 or libc.prctl(22, 2, program, 0, 0) != 0:
        os._exit(99)

@contextlib.contextmanager
def bounded(args, **popen):
    """A process with a pipe to read from, which ends with the block, or after a while."""
    process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **popen)
    timer = threading.Timer(LIMIT * 5, process.kill)
    timer.start()
    try:
        yield process
    finally:
        timer.cancel()
        process.kill()
        process.wait(LIMIT)
        process.stdout.close()

@contextlib.contextmanager
def server(world, root=None, **popen):
    args = [f"{build}/perf/http", "--listen", "127.0.0.1:0", "--backend", world]
    with bounded(args + (["--root", root] if root else []), **popen) as process:
        line = process.stdout.readline().decode()
        true(line.startswith("listening on 127.0.0.1:"), f"the server said {line!r}")
        process.port = int(line.split()[2].rsplit(":", 1)[1])
        yield process

def connect(port, receive_buffer=0):
    s = socket.socket()
    s.settimeout(LIMIT)
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.connect(("127.0.0.1", port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s

def until_end(s):
    parts = []
    while data := s.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)

class Answers:
    """Reads answers off a socket, one after the other."""

    def __init__(self, s):
        self.s, self.buf = s, bytearray()

    def more(self):
        data = self.s.recv(1 << 16)
        true(data, f"the connection ended after {bytes(self.buf[:80])!r}")
        self.buf += data

    def next(self, method="GET"):
        while (end := self.buf.find(b"\r\n\r\n")) < 0:
            self.more()
        lines = self.buf[:end].decode().split("\r\n")
        del self.buf[:end + 4]
        fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        size = 0 if method == "HEAD" else int(fields["content-length"])
        while len(self.buf) < size:
            self.more()
        body = bytes(self.buf[:size])
        del self.buf[:size]
        return int(lines[0].split()[1]), fields, body

def ask(port, data):
    """Sends data and reads the one answer after which the server closes."""
    with connect(port) as s:
        s.sendall(data)
        whole = until_end(s)
    head, _, body = whole.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, head, body

def request(path="/", fields="", method="GET", version="1.1"):
    return f"{method} {path} HTTP/{version}\r\nHost: x\r\n{fields}\r\n".encode()

def body_of(path):
    return files[path.lstrip("/")]

# ---- Cases: requests that are well formed -----------------------------------------------------------

def hello(port):
    with connect(port) as s:
        answers = Answers(s)
        for _ in range(3):
            s.sendall(request())
            status, fields, body = answers.next()
            equal((status, body), (200, PAGE))
            equal(fields["content-type"], "text/plain")
            time.strptime(fields["date"], "%a, %d %b %Y %H:%M:%S GMT")
            true("server" not in fields and "connection" not in fields, f"{fields}")
    for data, connection in ((b"GET / HTTP/1.0\r\n\r\n", b"close"),
                             (request(fields="Connection: close\r\n"), b"close"),
                             (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", b"keep-alive")):
        with connect(port) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            head, _, body = until_end(s).partition(b"\r\n\r\n")
            equal(body, PAGE)
            true(b"\r\nConnection: " + connection + b"\r\n" in head, f"{head!r}")
    equal(ask(port, request(fields="Connection: close\r\n", method="HEAD"))[2], b"")

def whole_file(port, name):
    status, _, body = ask(port, request(f"/{name}", "Connection: close\r\n"))
    equal(status, 200, "status")
    true(body == files[name], f"{len(body)} bytes came that are not the file's {len(files[name])}")

def kept_alive(port):
    with connect(port) as s:
        answers = Answers(s)
        for name in ("one", "middle", "empty", "big", "thousand"):
            s.sendall(request(f"/{name}"))
            status, _, body = answers.next()
            true(status == 200 and body == files[name], f"{name} came wrong")

def pipelined(port, path, wanted):
    with connect(port) as s:
        thread = threading.Thread(target=s.sendall, args=(request(path) * 1000,), daemon=True)
        thread.start()
        answers = Answers(s)
        for i in range(1000):
            status, _, body = answers.next()
            true(status == 200 and body == wanted, f"answer {i} is wrong")
        thread.join(LIMIT)

def byte_by_byte(port):
    with connect(port) as s:
        for byte in request("/one") * 2:
            s.sendall(bytes([byte]))
        answers = Answers(s)
        equal([answers.next()[2] for _ in range(2)], [files["one"]] * 2)

def head_only(port):
    with connect(port) as s:
        answers = Answers(s)
        for name in ("empty", "middle", "big"):
            s.sendall(request(f"/{name}", method="HEAD"))
            status, fields, _ = answers.next("HEAD")
            equal((status, fields["content-length"]), (200, str(len(files[name]))))
        s.sendall(request("/one"))
        equal(answers.next()[2], files["one"])
    equal(ask(port, request("/nothing", method="HEAD"))[2], b"", "the body of a 404 to HEAD")

def versions(port):
    status, head, body = ask(port, b"GET /one HTTP/1.0\r\n\r\n")
    equal((status, body), (200, files["one"]))
    true(b"Connection: close" in head, "no Connection: close for HTTP/1.0")
    with connect(port) as s:
        s.sendall(b"GET /one HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n" * 2)
        answers = Answers(s)
        for _ in range(2):
            equal(answers.next()[1].get("connection"), "keep-alive")
    for field in ("Connection: close\r\n", "connection: foo , CLOSE\r\n"):
        true(b"Connection: close" in ask(port, request("/one", field) * 2)[1], field)
    absolute = b"\r\nGET http://h/one?q HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    equal(ask(port, absolute)[2], files["one"])

def end_of_input(port):
    with connect(port) as s:
        s.sendall(request("/big") * 2)
        s.shutdown(socket.SHUT_WR)
        answers = Answers(s)
        for _ in range(2):
            true(answers.next()[2] == files["big"], "an answer is wrong")
        equal(s.recv(1), b"")

def with_body(port):
    with connect(port) as s:
        answers = Answers(s)
        for size in (1, 1000, 1 << 20):
            s.sendall(request("/one", f"Content-Length: {size}\r\n") + b"G" * size + request("/thousand"))
            equal(answers.next()[2], files["one"])
            equal(answers.next()[2], files["thousand"])

def slow_and_quick(port):
    with connect(port) as slow:
        half = request("/one")
        slow.sendall(half[:20])
        for _ in range(3):
            equal(ask(port, request("/one", "Connection: close\r\n"))[2], files["one"])
        slow.sendall(half[20:])
        equal(Answers(slow).next()[2], files["one"])

def names(port):
    def is_file(path, name, content_type=None):
        status, head, body = ask(port, request(path, "Connection: close\r\n"))
        equal((path, status), (path, 200))
        true(body == files[name], f"{path} came wrong")
        true(not content_type or f"Content-Type: {content_type}\r\n".encode() in head + b"\r\n", f"{head!r}")

    is_file("/", "index.html", "text/html; charset=utf-8")
    is_file("/sub", "sub/index.html", "text/html; charset=utf-8")
    is_file("/sub/", "sub/index.html")
    is_file("/./one", "one")
    is_file("/%6fne?a=/../b", "one", "application/octet-stream")
    is_file("/a%20%23%c3%A9.css", "a #\u00e9.css", "text/css")
    is_file("///one", "one")

def refused_names(port):
    for path in ("/../secret", "/sub/../../secret", "/%2e%2e/secret", "/sub/%2E%2e/%2e./secret", "/..",
                 "/sub/..", "/..%2fsecret", "/sub%2findex.html", "/%00", "/one%00.html", "/one%0a", "/%",
                 "/%4", "/%zz", "/one#x", "one", "*", "http://h", "http://h?/x", "//../secret"):
        equal((path, ask(port, request(path))[0]), (path, 400))
    for path in ("/nothing", "/one/", "/one/x", "/out", "/outdir/secret", "/outdir/", "/absolute", "/fifo",
                 "/noindex", "/loop", "/" + "x" * 300, "/" + "x/" * 2500, "/proc", "/escape"):
        equal((path[:20], ask(port, request(path))[0]), (path[:20], 404))

def names_are_closed(process):
    with returned(process):
        names(process.port)
        refused_names(process.port)

def inner_link(port):
    equal(ask(port, request("/link", "Connection: close\r\n"))[2], files["one"])

def refused_link(port):
    equal(ask(port, request("/link"))[0], 404)
    equal(ask(port, request("/inner/index.html"))[0], 404)

# ---- Cases: requests to refuse ----------------------------------------------------------------------

H = b"GET / HTTP/1.1\r\nHost: x\r\n"
LIMITS = [
    ("more than 16 KiB", H + b"".join(b"F%d: %s\r\n" % (i, b"v" * 1000) for i in range(20)) + b"\r\n", 431),
    ("a field of more than 8 KiB", H + b"F: " + b"v" * 8200 + b"\r\n\r\n", 431),
    ("101 fields", H + b"F: v\r\n" * 100 + b"\r\n", 431),
    ("a long target", request("/" + "x" * 9000), 414),
    ("a body of more than 1 MiB", request(fields="Content-Length: 1048577\r\n"), 413),
    ("a method that may not", request(method="POST", fields="Content-Length: 5\r\n") + b"GET /", 405),
    ("an unknown method", request(method="BREW"), 501),
    ("methods are capitals", request(method="get"), 501),
    ("HTTP/2.0", request(version="2.0"), 505),
    ("HTTP/0.9", request(version="0.9"), 505),
    ("a chunked body", request(fields="Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n", 411),
    ("an unknown coding", request(fields="Transfer-Encoding: gzip, chunked\r\n") + b"0\r\n\r\n", 501),
    ("an expectation", request(fields="Expect: 100-continue\r\nContent-Length: 5\r\n"), 417),
]
LINES = [       # a first line and, mostly, a Host
    ("nothing", b""), ("two empty lines first", b"\r\n\r\nGET / HTTP/1.1\r\nHost: x"), ("a word", b"GET"),
    ("blanks", b"   "), ("no version", b"GET /"), ("an answer", b"HTTP/1.1 200 OK\r\nHost: x"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01"), ("no field", b"GET / HTTP/1.1"),
    ("no Host", b"GET / HTTP/1.1\r\nA: b"),
    ("LF ends the request line", b"GET / HTTP/1.1\nHost: x"),
    ("a folded first field", b"GET / HTTP/1.1\r\n Host: x"),
    ("Host twice, HTTP/1.0", b"GET / HTTP/1.0\r\nHost: x\r\nhost: y"),
    ("coding in HTTP/1.0", b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked"),
] + [(f"Host: {host!r}", b"GET / HTTP/1.1\r\nHost: " + host) for host in (
    b"x, y", b"x/y", b"x y", b"u@x", b"x\\y", b"<x>")
] + [(f"line {line!r}", line + b"\r\nHost: x") for line in (
    b"GET  HTTP/1.1", b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET\t/ HTTP/1.1", b"GET / HTTP/1.1 ",
    b" GET / HTTP/1.1", b"GET /a b HTTP/1.1", b"GET /a\0b HTTP/1.1", b"GET /\xff HTTP/1.1",
    b"GET /\x7f HTTP/1.1", b"GET /\r HTTP/1.1", b"G(T / HTTP/1.1", b"GE\0T / HTTP/1.1", b"GET / http/1.1",
    b"GET / HTTP/1.", b"GET / HTTP/1.10", b"GET / HTTP/x.1", b"GET / HTTP/1.x", b"GET / HTTP/1,1",
    b"GET / HTTP/ .1", b"GET / HTTQ/1.1")]
FIELDS = [      # after a good first line and a Host
    ("Host twice", b"Host: x"), ("a blank line's blank", b" "), ("no colon", b"Field"), ("no name", b": b"),
    ("a blank before the colon", b"A : b"), ("a tab before the colon", b"A\t: b"),
    ("a blank in a name", b"A B: c"), ("LF ends a field", b"A: b\nC: d"), ("LF CR LF CR LF", b"A: b\n"),
    ("CR in a value", b"A: b\rC: d"), ("CR CR LF", b"A: b\r"), ("CR in a name", b"A\rB: c"),
    ("NUL in a value", b"A: b\0c"), ("NUL at the end of a value", b"A: b\0"), ("NUL in a name", b"A\0: b"),
    ("a bell in a value", b"A: \a"), ("DEL in a value", b"A: \x7f"), ("a vertical tab", b"A:\x0bb"),
    ("an octet in a name", b"\xc3\xa9: c"), ("a bracket in a name", b"A[]: c"),
    ("a folded line", b"A: b\r\n c"),
    ("a line folded by a tab", b"A: b\r\n\tc"),
    ("length and coding", b"Content-Length: 5\r\nTransfer-Encoding: chunked"),
    ("coding and length", b"Transfer-Encoding: chunked\r\nContent-Length: 0"),
    ("length and odd coding", b"Content-Length: 5\r\nTransfer-Encoding: xchunked"),
    ("coding twice", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    ("two lengths", b"Content-Length: 5\r\nContent-Length: 6"),
    ("a list of lengths", b"Content-Length: 5, 5"),
] + [(f"length {value!r}", b"Content-Length: " + value) for value in (
    b"", b"+5", b"-5", b"-0", b"0x5", b"5 5", b"5;", b"5.0", b"1e3", b"five", b"\xc2\xb2",
    b"9223372036854775808", b"18446744073709551621", b"99999999999999999999999999999999")]
REFUSED = LIMITS + [(name, lines + b"\r\n\r\n", 400) for name, lines in LINES] + [
    (name, H + fields + b"\r\n\r\n", 400) for name, fields in FIELDS]

def refused(port, data, status):
    """Between two good requests: the first is answered, the second is not."""
    got, head, body = ask(port, request() + data + request())
    equal((got, body[:len(PAGE)]), (200, PAGE))
    head, _, body = body[len(PAGE):].partition(b"\r\n\r\n")
    equal(head[:13], b"HTTP/1.1 %d " % status, "status line")
    true(b"\r\nConnection: close\r\n" in head, f"{head!r}")
    true(b"HTTP/1.1" not in body, "a second answer")
    equal(len(body), int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]), "body length")
    true(status != 405 or b"\r\nAllow: GET, HEAD\r\n" in head, "no Allow")

def accepted(port):
    """What is odd, and allowed."""
    for data in (H + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", H + b"A:\r\nB:\t \r\nC:b\t\r\n\r\n",
                 H + b"A: \xff\tx\r\n\r\n", H + b"F: v\r\n" * 99 + b"\r\n",
                 H + b"Content-Length: 000\r\n\r\n", b"GET / HTTP/1.1\r\nhOST: [::1]:80\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost:\r\n\r\n", H + b"F: " + b"v" * 8000 + b"\r\n\r\n",
                 H + b"!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n"):
        with connect(port) as s:
            s.sendall(data)
            equal((data[:60], Answers(s).next()[0]), (data[:60], 200))

# ---- Cases: clients that leave, stall or see the server go -------------------------------------------

@contextlib.contextmanager
def returned(process):
    """As many descriptors are open after the block as before. A connection of ours makes the server turn."""
    with connect(process.port) as s:
        answers = Answers(s)

        def turn():
            s.sendall(request("/one"))
            answers.next()
            return len(os.listdir(f"/proc/{process.pid}/fd"))

        before = turn()
        yield
        end = time.monotonic() + LIMIT
        while (now := turn()) > before:
            true(time.monotonic() < end, f"{now} descriptors are open, not {before}")

def gone(process, linger):
    big = request("/big")
    with returned(process):
        for sent in (b"", request()[:9], request("/one"), big, big + request("/huge")) * 3:
            with connect(process.port, 4096) as s:
                if linger is not None:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, linger))
                s.sendall(sent)
                if sent.endswith(b"\r\n\r\n"):
                    s.recv(1)

def shortened(process, path):
    """A file that shrinks while it is sent ends in a reset: no padding, and no good end."""
    with connect(process.port, 4096) as s:
        s.sendall(request("/shrinks"))
        start = s.recv(4096)
        true(b"Content-Length: 33554432\r\n" in start, f"{start!r:.200}")
        os.truncate(path, 1000)
        try:
            count = len(start) + len(until_end(s))
        except ConnectionResetError:
            return
        raise AssertionError(f"a good end after {count} bytes")

def stalled(process):
    """Answers are not piled up for a client that does not read."""
    def peak():
        with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

    before = peak()
    with connect(process.port, 4096) as s, connect(process.port) as other:
        s.sendall(request("/small") * 100)
        answers = Answers(other)
        for _ in range(200):
            other.sendall(request("/one"))
            answers.next()
        answers = Answers(s)
        for i in range(100):
            true(answers.next()[2] == files["small"], f"answer {i} is wrong")
    true(peak() - before < 8192, f"the server grew by {peak() - before} KiB")

def terminated(world):
    with server(world) as process, connect(process.port) as idle, connect(process.port) as half:
        idle.sendall(request())
        equal(Answers(idle).next()[0], 200)
        half.sendall(request()[:10])
        process.send_signal(signal.SIGTERM)
        equal((idle.recv(1), half.recv(1)), (b"", b""))
        idle.close()
        half.close()
        equal(process.wait(LIMIT), 0, "exit status")

def finished(world, root):
    """At SIGTERM the answers that are begun go out whole; the next one is the last, and says so."""
    with server(world, root) as process, connect(process.port, 4096) as s, connect(process.port) as download:
        s.sendall(request("/small") * 100)
        download.sendall(request("/huge"))
        first = download.recv(1)
        ask(process.port, request("/one", "Connection: close\r\n"))
        process.send_signal(signal.SIGTERM)
        head, _, body = (first + until_end(download)).partition(b"\r\n\r\n")
        true(head.startswith(b"HTTP/1.1 200 OK\r\n") and len(body) == 64 << 20, f"{len(body)} bytes")
        answers, count, last = Answers(s), 0, False
        while not last:
            status, fields, body = answers.next()
            true(status == 200 and body == files["small"], f"answer {count} is wrong")
            count, last = count + 1, fields.get("connection") == "close"
        equal((s.recv(1), bytes(answers.buf)), (b"", b""))
        true(1 < count < 100, f"{count} answers")
        s.close()
        download.close()
        equal(process.wait(LIMIT), 0, "exit status")

# ---- Cases: other people's clients ---------------------------------------------------------------------

def python_client(port):
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    for name in ("one", "empty", "big", "sub/index.html"):
        client.request("GET", f"/{name}")
        answer = client.getresponse()
        true(answer.status == 200 and answer.read() == files[name], f"{name} came wrong")
    client.request("HEAD", "/big")
    answer = client.getresponse()
    equal((answer.length, answer.read()), (0, b""))
    client.request("GET", "/one", body=b"x" * 1000)
    equal(client.getresponse().read(), files["one"])
    client.close()

def run(*args):
    return subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, check=False)

def curl_client(port):
    base = f"http://127.0.0.1:{port}"
    done = run("curl", "-sS", "--fail", "--max-time", "15", f"{base}/one", f"{base}/big", f"{base}/middle")
    equal((done.returncode, done.stderr), (0, b""))
    true(done.stdout == files["one"] + files["big"] + files["middle"], "the bytes differ")
    done = run("curl", "-sS", "--http1.0", "--max-time", "15", "-I", f"{base}/big")
    true(b"HTTP/1.1 200 OK" in done.stdout, f"{done.stdout!r}")
    done = run("curl", "-sS", "--fail", "--max-time", "15", "--path-as-is", f"{base}/../secret")
    equal(done.returncode, 22, "exit status")

# ---- Cases: get ------------------------------------------------------------------------------------------

def get(world, url, *args):
    return run(f"{build}/perf/get", "--backend", world, *args, url)

def gets(world, url, status, body, *args):
    done = get(world, url, *args)
    equal(done.returncode, status, f"exit status ({done.stderr!r})")
    true(done.stdout == body, f"{len(done.stdout)} bytes came, not {len(body)}: {done.stdout[:80]!r}")
    true((status == 0) == (done.stderr == b""), f"said {done.stderr!r}")

def get_files(world, port):
    for name in SIZES:
        gets(world, f"http://127.0.0.1:{port}/{name}", 0, files[name])
    gets(world, f"localhost:{port}#fragment", 0, files["index.html"])
    gets(world, f"http://127.0.0.1:{port}?q=1#f", 0, files["index.html"])
    gets(world, f"http://127.0.0.1:{port}/nothing", 22, b"Not Found\n")
    done = get(world, f"http://127.0.0.1:{port}/one", "--include")
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    true(head.startswith(b"HTTP/1.1 200 OK\r\n") and body == files["one"], f"{done.stdout!r}")

def get_from(world, status, body, *pieces, reset=False):
    """get against a server of one connection that sends these pieces."""
    asked = []

    def serve():
        s, _ = listener.accept()
        with s:
            s.settimeout(LIMIT)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            data = b""
            while b"\r\n\r\n" not in data:
                data += s.recv(4096)
            asked.append(data)
            with contextlib.suppress(OSError):      # a client that has seen enough goes
                for piece in pieces:
                    s.sendall(piece)
            if reset:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT)
        port = listener.getsockname()[1]
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        done = get(world, f"http://127.0.0.1:{port}/a?b")
        thread.join(LIMIT)
    equal(asked[0].split(b"\r\n")[:2], [b"GET /a?b HTTP/1.1", b"Host: 127.0.0.1:%d" % port])
    equal(done.returncode, status, f"exit status ({done.stderr!r})")
    true(body is None or done.stdout == body, f"{len(done.stdout)} bytes came: {done.stdout[:80]!r}")

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: Chunked\r\n\r\n"

def chunks(data, sizes, extension=b""):
    parts, at = [], 0
    while at < len(data):
        size = random.choice(sizes)
        piece = data[at:at + size]
        parts.append(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece))
        at += size
    return b"".join(parts)

def one_by_one(data):
    return [bytes([byte]) for byte in data]

def get_chunked(world):
    data = files["middle"]
    odd = chunks(data, (1, 2, 7, 255, 4096, 4097, 65537, 100000))
    get_from(world, 0, data, CHUNKED + odd + b"0\r\n\r\n")
    get_from(world, 0, data, CHUNKED, odd[:1000], odd[1000:1001], odd[1001:] + b"000\r\nA: b\r\nC: d\r\n\r\n")
    small = files["thousand"]
    whole = CHUNKED + chunks(small, (1, 3, 100), b' ; a=b;c="d"') + b"0;last\r\nA: b\r\n\r\n"
    get_from(world, 0, small, *one_by_one(whole))
    get_from(world, 0, b"", CHUNKED + b"0\r\n\r\nthis is too much")

def get_plain(world):
    big = files["big"] * 2
    get_from(world, 0, big, OK + b"\r\n" + big)
    get_from(world, 0, b"", b"HTTP/1.0 200\r\n\r\n")
    get_from(world, 0, b"abc", *one_by_one(OK + b"Content-Length: 3\r\n\r\nabc"))
    get_from(world, 0, b"abc", OK + b"Content-Length: 3\r\ncontent-length: 3\r\n\r\nabcdef")
    get_from(world, 0, big, OK + b"Content-Length: %d\r\n\r\n" % len(big), big)
    get_from(world, 0, b"", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n")
    get_from(world, 0, b"x", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\n",
             OK + b"Content-Length: 1\r\n\r\nx")
    get_from(world, 22, b"sorry", b"HTTP/1.1 500 \r\n\r\nsorry")

def get_truncated(world):
    get_from(world, 18, b"abc", OK + b"Content-Length: 4\r\n\r\nabc")
    get_from(world, 18, b"", OK + b"Content-Length: 1\r\n\r\n")
    for end in (b"", b"3", b"3\r\n", b"3\r\nabc", b"3\r\nabc\r\n", b"0\r\n", b"0\r\nA: b\r\n"):
        get_from(world, 18, b"abc" if b"abc" in end else b"", CHUNKED + end)
    get_from(world, 56, None, OK + b"Content-Length: 4\r\n\r\nabc", reset=True)
    get_from(world, 56, None, OK + b"\r\nabc", reset=True)

def get_garbage(world):
    for answer in (b"", b"HTTP/1.1 200", b"not http\r\n\r\n", b"\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n",
                   OK + b"A: b", b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n",
                   b"HTTP/1.1  200 OK\r\n\r\n",
                   b"HTTP/1.1 099 No\r\n\r\n" + OK + b"\r\n", b"HTTP/1.1 600 No\r\n\r\n",
                   b"HTTP/2.0 200 OK\r\n\r\n",
                   b"HTTP/1.1 101 Switching\r\n\r\n" + OK + b"\r\n", b"HTTP/1.1 200 O\0K\r\n\r\n",
                   b"SSH-2.0-x\r\n\r\n",
                   OK + b"A : b\r\n\r\n", OK + b"A: b\r\n c\r\n\r\n", OK + b"A: b\nC: d\r\n\r\n",
                   OK + b"A: \0\r\n\r\n", OK + b"Content-Length: +5\r\n\r\nabcde",
                   OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
                   OK + b"Content-Length: 9223372036854775808\r\n\r\n",
                   OK + b"Transfer-Encoding: gzip\r\n\r\nx",
                   OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
                   OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
                   OK + b"A: b\r\n" * 101 + b"\r\n"):
        get_from(world, 8, b"", answer)
    get_from(world, 8, b"", OK + b"A: b\r\n" * 20000)
    for size in (b"", b" 3", b"-3", b"+3", b"0x3", b"zz", b"3 abc", b"3\0", b"3\n", b"3;\rx",
                 b"fffffffffffffffff", b"8000000000000000", b"3;" + b"e" * 5000):
        get_from(world, 8, b"", CHUNKED + size + b"\r\nabc\r\n0\r\n\r\n")
    get_from(world, 8, b"", CHUNKED + b"\r\n\r\n")
    get_from(world, 8, b"", CHUNKED + b";0\r\n\r\n")
    get_from(world, 8, b"abc", CHUNKED + b"3\r\nabcde0\r\n\r\n")
    get_from(world, 8, b"abc", CHUNKED + b"3\r\nabc0\r\n\r\n")
    get_from(world, 8, b"", CHUNKED + b"0\r\nA : b\r\n\r\n")
    get_from(world, 8, b"", CHUNKED + b"0\r\n" + b"A: b\r\n" * 101 + b"\r\n")

def get_nowhere(world):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))        # taken, and nobody listens
        gets(world, "http://127.0.0.1:%d/" % s.getsockname()[1], 7, b"")
    for url in ("http://example.com/", "https://127.0.0.1/", "ftp://127.0.0.1/", "http:///x",
                "http://u@127.0.0.1/", "http://127.0.0.1:99999/", "http://127.0.0.1:x/",
                "http://127.0.0.1/a b", "http://*:80/", "http://127.0.0.1/\r\nA: b", "http://unix:80/",
                "unix:/x", "http://[::1/", "http://", "", "--what"):
        gets(world, url, 2, b"")

def get_unread(world, port):
    with bounded([f"{build}/perf/get", "--backend", world, f"http://127.0.0.1:{port}/huge"]) as process:
        process.stdout.read(1)
        process.stdout.close()
        equal(process.wait(LIMIT), 23, "exit status")

# ---- All of them -------------------------------------------------------------------------------------------

def make_files(top):
    root = os.path.join(top, "root")
    os.makedirs(os.path.join(root, "sub"))
    os.makedirs(os.path.join(root, "noindex"))
    os.makedirs(os.path.join(top, "outside"))
    made = {name: random.randbytes(size) for name, size in SIZES.items()}
    made.update({"index.html": b"<p>top", "sub/index.html": b"<p>sub", "a #\u00e9.css": b"p {}"})
    for name, data in made.items():
        with open(os.path.join(root, name), "wb") as file:
            file.write(data)
    for name in ("secret", "outside/secret", "outside/index.html"):
        with open(os.path.join(top, name), "wb") as file:
            file.write(b"secret")
    for name, target in {"out": "../secret", "outdir": "../outside", "absolute": os.path.join(top, "secret"),
                         "loop": "loop", "link": "one", "inner": "sub", "proc": "/proc/self/exe",
                         "escape": "sub/../../secret"}.items():
        os.symlink(target, os.path.join(root, name))
    os.mkfifo(os.path.join(root, "fifo"))
    with open(os.path.join(root, "huge"), "wb") as file:
        file.truncate(64 << 20)
    return root, made

def world_cases(world, root):
    def on(name, function, *args):
        case(f"{world}: {name}", function, *args)

    with server(world) as process:
        on("the page", hello, process.port)
        on("the page, 1000 pipelined", pipelined, process.port, "/", PAGE)
        on("odd but allowed", accepted, process.port)
        on("404 without a root", lambda: equal(ask(process.port, request("/x"))[0], 404))
        for name, data, status in REFUSED:
            on(f"refused: {name}", refused, process.port, data, status)
    with server(world, root) as process:
        for name in SIZES:
            on(f"file {name}", whole_file, process.port, name)
        on("a file, 1000 pipelined", pipelined, process.port, "/thousand", files["thousand"])
        for function in (kept_alive, byte_by_byte, head_only, versions, end_of_input, with_body,
                         slow_and_quick, names, refused_names, inner_link, python_client, curl_client):
            on(function.__name__.replace("_", " "), function, process.port)
        on("names are closed", names_are_closed, process)
        on("clients that leave", gone, process, None)
        on("clients that reset", gone, process, 0)
        path = os.path.join(root, "shrinks")
        with open(path, "wb") as file:
            file.truncate(32 << 20)
        on("a file that shrinks", shortened, process, path)
        on("get: files", get_files, world, process.port)
        on("get: nobody reads", get_unread, world, process.port)
    with server(world, root) as process:
        on("a client that stalls", stalled, process)
    on("SIGTERM", terminated, world)
    on("SIGTERM with answers begun", finished, world, root)
    for function in (get_chunked, get_plain, get_truncated, get_garbage, get_nowhere):
        on(function.__name__.replace("_", ": "), function, world)

def main():
    top = tempfile.mkdtemp()
    try:
        root, made = make_files(top)
        files.update(made)
        for world in WORLDS:
            case(f"{world}: all cases ran", world_cases, world, root)
        with server("epoll", root, preexec_fn=refuse_openat2) as process:
            for function in (names, refused_names, refused_link):
                case(f"without openat2: {function.__name__.replace('_', ' ')}", function, process.port)
            case("without openat2: names are closed", names_are_closed, process)
    finally:
        shutil.rmtree(top)
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 else 1

if len(sys.argv) != 2:
    sys.exit("usage: tests/peers/http_peer.py BUILD_DIR")
build = os.path.abspath(sys.argv[1])
files = {}
random.seed(1)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))    # so that nothing is left running
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
sys.exit(main())
