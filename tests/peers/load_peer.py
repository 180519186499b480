#!/usr/bin/env python3
"""perf/load against servers that do what they should, and servers that do not: what it counts, tells and exits with.

    tests/peers/load_peer.py BUILD_DIR

No case depends on how fast the machine is: servers stall, fall silent and end by count, not by the clock."""
import sys

import contextlib
import csv
import io
import json
import os
import pty
import re
import resource
import socket
import ssl
import subprocess
import threading
import time
import xml.dom.minidom

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from helpers_http import BUILD, LIMIT, WORLDS, bounded, case, equal, run, run_suite, true

LOAD = f"{BUILD}/perf/load"
KEYS = ["target", "name", "messages_per_s", "mean_us", "p50_us", "p90_us", "p99_us", "p999_us", "p9999_us", "max_us",
        "cpu_us_per_message", "rss_kib", "ratio", "ratio_low", "ratio_high", "idle_bytes_each", "errors", "error_kinds"]
OK = b"HTTP/1.1 200 OK\r\n"
CHURN = ["--churn", "message", "--rate", "500"]     # so that ports do not run out
directory = None

def path(name):
    return os.path.join(directory, name)

# ---- Servers -------------------------------------------------------------------------------------------

class Peer:
    """A server whose connections are served by serve(peer, socket), each in a thread. Counts them, and messages."""

    def __init__(self, serve, tls=None):
        self.serve, self.tls, self.connections, self.messages = serve, tls, 0, 0
        self.lock, self.sockets, self.noted = threading.Lock(), [], []
        self.resumed, self.dead = 0, False
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.where = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.die()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                s, _ = self.listener.accept()
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self.lock:
                    self.connections += 1
                    self.sockets.append(s)
                    if self.dead:               # it died between the accept and here
                        s.shutdown(socket.SHUT_RDWR)
                threading.Thread(target=self.one, args=(s,), daemon=True).start()

    def one(self, s):
        with contextlib.suppress(OSError):
            if self.tls:
                s = self.tls.wrap_socket(s, server_side=True)
                self.resumed += s.session_reused
            with s:
                self.serve(self, s)
                if self.tls:
                    s.unwrap()

    def count(self):
        """Result: how many messages there have been, this one too."""
        with self.lock:
            self.messages += 1
            return self.messages

    def die(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            self.dead = True
            for s in self.sockets:
                with contextlib.suppress(OSError):
                    s.shutdown(socket.SHUT_RDWR)

def messages(s, size=64):
    """Messages of a size, as they come."""
    buf = b""
    while piece := s.recv(65536):
        buf += piece
        while len(buf) >= size:
            yield buf[:size]
            buf = buf[size:]

def echo(peer, s):
    for message in messages(s):
        peer.count()
        s.sendall(message)

def wrong(peer, s):
    for message in messages(s):
        s.sendall(message[:-1] + bytes([message[-1] ^ (peer.count() == 100)]))

def surplus(peer, s):
    for message in messages(s):
        s.sendall(message + b"!" * (peer.count() == 100))

def closing(peer, s):
    for message in messages(s):
        if peer.count() == 100:
            break
        s.sendall(message)

def cut(peer, s):
    for message in messages(s):
        if peer.count() == 100:
            s.sendall(message[:10])
            break
        s.sendall(message)

def dying(peer, s):
    for message in messages(s):
        if peer.count() == 100:
            peer.die()
        s.sendall(message)

def silent(peer, s):
    for _ in messages(s):
        peer.count()

def silent_later(peer, s):
    for message in messages(s):
        if peer.count() < 100:
            s.sendall(message)

class Stall:
    """Echoes; the message of this number is a second late, and so is all that comes meanwhile."""

    def __init__(self, number):
        self.number, self.gate = number, threading.Lock()

    def __call__(self, peer, s):
        for message in messages(s):
            with self.gate:
                if peer.count() == self.number:
                    time.sleep(1)
            s.sendall(message)

def requests(s):
    buf = b""
    while piece := s.recv(65536):
        buf += piece
        while (end := buf.find(b"\r\n\r\n")) >= 0:
            yield buf[:end + 4]
            buf = buf[end + 4:]

def answering(*answers, each=0):
    """An HTTP server: these answers in turn, for all connections together; so many on each, if not 0."""
    def serve(peer, s):
        for number, request in enumerate(requests(s), 1):
            peer.noted.append(request)
            s.sendall(answers[(peer.count() - 1) % len(answers)])
            if number == each:
                s.shutdown(socket.SHUT_WR)
                nothing(peer, s)        # as a close with something unread is a reset
                break
    return serve

def lines(peer, s):
    buf = b""
    while piece := s.recv(65536):
        buf += piece
        end = buf.rfind(b"\n") + 1
        peer.noted += [len(line) + 1 for line in buf[:end].split(b"\n")[:-1]]
        s.sendall(buf[:end])
        buf = buf[end:]

def nothing(_, s):
    while s.recv(65536):
        pass

def tls_server(tickets=2):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path("cert.pem"), path("key.pem"))
    context.num_tickets = tickets
    return context

@contextlib.contextmanager
def ours(program, world, *options):
    args = (f"{BUILD}/perf/{program}", "--listen", "127.0.0.1:0", "--backend", world, *options)
    with bounded(args) as process:
        line = process.stdout.readline().decode()
        true(line.startswith("listening on "), f"{program} said {line!r}")
        process.where = line.split()[2]
        yield process

# ---- load ----------------------------------------------------------------------------------------------

def load(world, *args, status=0, **more):
    done = run(LOAD, "--backend", world, *args, **more)
    equal(done.returncode, status, f"exit status ({done.stderr!r})")
    true((status == 0) == (done.stderr == b"") or "stderr" in more, f"said {done.stderr!r}")
    return done

def results(world, *args, status=0):
    """The objects of --json."""
    said = [json.loads(line) for line in load(world, "--json", *args, status=status).stdout.splitlines()]
    for got in said:
        equal(list(got), KEYS)
        equal(got["errors"], sum(got["error_kinds"].values()), "the sum of errors")
    return said

def result(world, peer, *args, status=0):
    return results(world, "--connect", peer.where, "--warmup", "0", *args, status=status)[0]

def failing(world, serve, kinds, *args, tls=None):
    """Against such a server there are these errors, and the run is over soon."""
    with Peer(serve, tls) as peer:
        got = result(world, peer, "--seconds", "60", "--connections", "4", *args, status=1)
        equal(got["error_kinds"], kinds, "the errors")
        return got

# ---- Cases: what goes well -------------------------------------------------------------------------------

def fine(got):
    equal((got["errors"], got["error_kinds"]), (0, {}), "errors")
    true(got["messages_per_s"] > 0 and 0 < got["p50_us"] <= got["p90_us"] <= got["p99_us"] <= got["p999_us"] <=
         got["p9999_us"] <= got["max_us"] and 0 < got["mean_us"] <= got["max_us"], f"{got}")

def protocols(world):
    with ours("echo", world) as plain, ours("echo", world, "--tls-cert", path("cert.pem"), "--tls-key",
                                            path("key.pem")) as tls:
        for protocol in ("echo", "line"):
            for args in (["--size", "1"], ["--size", "100000", "--depth", "3"], ["--think", "1"], ["--rate", "500"],
                         ["--size", "1-5000:9,70000", "--depth", "9"], ["--loops", "3"], CHURN):
                for server, more in ((plain, []), (tls, ["--tls"])):
                    args = ["--protocol", protocol, "--seconds", "0.1", "--connections", "5", *args]
                    fine(result(world, server, *args, *more))

def http(world):
    os.makedirs(path("root"), exist_ok=True)
    with open(path("root/page"), "wb") as file:
        file.write(os.urandom(100000))
    root, tls = ("--root", path("root")), ("--tls-cert", path("cert.pem"), "--tls-key", path("key.pem"))
    with ours("http", world, *root) as plain, ours("http", world, *root, *tls) as over:
        for args in ([], ["--depth", "16"], ["--rate", "500"], ["--loops", "3"], CHURN):
            args = ["--protocol", "http", "--path", "/page", "--seconds", "0.1", "--connections", "5", *args]
            fine(result(world, plain, *args))
            fine(result(world, over, "--tls", *args))
            got = result(world, plain, *args, "--rate", "500", "--path", "/none", status=1)
            equal(list(got["error_kinds"]), ["status"])

def http_framing(world):
    """All ways to mark an answer's end, in turn, many in flight."""
    answers = (OK + b"Content-Length: 3\r\n\r\nabc", OK + b"Content-Length: 0\r\n\r\n", b"HTTP/1.1 204 Empty\r\n\r\n",
               OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x\r\nbc\r\n0\r\nA: b\r\n\r\n",
               b"HTTP/1.1 100 Go on\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\na")
    with Peer(answering(*answers)) as peer:
        fine(result(world, peer, "--protocol", "http", "--depth", "7", "--connections", "2", "--seconds", "0.3"))
        equal(peer.connections, 2, "connections")
        equal(set(peer.noted), {f"GET / HTTP/1.1\r\nHost: {peer.where}\r\n\r\n".encode()})

def http_closing(world):
    """A server that ends connections with its answers is connected to anew; and so are those behind, unanswered."""
    last = OK + b"Connection: close\r\nContent-Length: 1\r\n\r\na"
    for answers in ((last,), (OK + b"Content-Length: 0\r\n\r\n", last), (OK + b"\r\nto the end",),
                    (b"HTTP/1.0 200\r\nContent-Length: 1\r\n\r\na",)):
        with Peer(answering(*answers, each=len(answers))) as peer:
            for args in (["--depth", "1"], ["--depth", "4"], *([["--churn", "message"]] * (len(answers) == 1))):
                fine(result(world, peer, "--protocol", "http", "--connections", "1", "--rate", "10000", "--seconds",
                            "0.02", *args))

def think(world):
    """Who thinks for longer than the run says one thing."""
    with Peer(echo) as peer:
        fine(result(world, peer, "--think", "60000", "--connections", "7", "--seconds", "0.1"))
        equal(peer.messages, 7, "messages")
        said = load(world, "--connect", peer.where, "--think", "60000", "--connections", "7", "--seconds", "0.1").stdout
        equal(peer.messages, 21, "messages")
        true(b" messages    7, " in said, f"what was said while warming up does not count: {said!r}")

def loops(world):
    with Peer(echo) as peer:
        fine(result(world, peer, "--loops", "3", "--connections", "7", "--rate", "100", "--seconds", "1"))
        equal((peer.connections, peer.messages), (7, 100), "connections and messages")

def sizes(world):
    """The same seed draws the same sizes, another seed others."""
    noted = []
    for seed in ("1", "1", "2"):
        with Peer(lines) as peer:
            fine(result(world, peer, "--protocol", "line", "--size", "1-100:3,1000", "--connections", "1", "--rate",
                        "500", "--seconds", "0.4", "--seed", seed))
            noted.append(peer.noted)
    equal([len(sizes) for sizes in noted], [200] * 3, "lines")
    true(set(noted[0]) <= {*range(1, 101), 1000} and 1000 in noted[0], f"{noted[0]}")
    true(noted[0] == noted[1] != noted[2], "the seed does not count")

def idle(world):
    """So many more connections, as many before them, and one message on each."""
    with Peer(echo) as peer:
        got = result(world, peer, "--idle", "150", "--connections", "3", "--seconds", "0.1", "--think", "60000")
        equal((peer.connections, peer.messages), (303, 303), "connections and messages")
        equal(got["idle_bytes_each"], None)
        said = load(world, "--connect", peer.where, "--idle", "5", "--connections", "3", "--seconds", "0.1", "--warmup",
                    "0", "--think", "60000").stdout
        true(b" messages    3, " in said, f"those of the silent do not count: {said!r}")
    with ours("echo", world) as server:
        got = result(world, server, "--idle", "500", "--seconds", "0.1", "--pid", str(server.pid))
        fine(got)
        true(got["rss_kib"] > 0 and got["cpu_us_per_message"] > 0, f"{got}")
        true(100 < got["idle_bytes_each"] < 20000, f"{got['idle_bytes_each']} bytes")

def pids(world):
    """The CPU time of several processes is theirs together, and one that is gone has none."""
    with ours("echo", world) as server, ours("echo", world) as other:
        def of(pid):
            return result(world, server, "--seconds", "0.1", "--pid", pid)
        alone, both = of(f"{server.pid}"), of(f"{server.pid}+{other.pid}")
        true(both["rss_kib"] > alone["rss_kib"] > 0, f"{both['rss_kib']} and {alone['rss_kib']}")
        equal(of(f"{other.pid}")["cpu_us_per_message"], 0, "the CPU time of one who does nothing")
        done = load(world, "--connect", server.where, "--pid", f"{server.pid}+99999999", status=1)
        equal((done.stdout, done.stderr), (b"", b"load: there is no process 99999999\n"))

def ended(world):
    """What a server has used that ends within a slice is not known, whether or not anybody has waited for its end."""
    for reaped in (True, False):
        with ours("echo", world) as server:
            def ending(peer, s):
                for message in messages(s):
                    if peer.count() == 1:
                        server.kill()
                        os.waitid(os.P_PID, server.pid, os.WEXITED | (0 if reaped else os.WNOWAIT))
                    s.sendall(message)
            with Peer(ending) as peer:
                got = result(world, peer, "--pid", str(server.pid), "--connections", "4", "--think", "60000",
                             "--seconds", "0.1")
            equal(got["errors"], 0, "errors")
            equal((got["cpu_us_per_message"], got["rss_kib"]), (None, None), f"CPU time and memory, reaped {reaped}")

def threads_end(world):
    """What a thread has used is not lost with it."""
    worked, over = threading.Event(), threading.Event()
    def work():
        sum(range(3000000))
        worked.set()
        over.wait()
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worked.wait()
    def ending(peer, s):
        for message in messages(s):
            if peer.count() == 1:
                over.set()
                worker.join()
            s.sendall(message)
    before = time.process_time()
    with Peer(ending) as peer:
        got = result(world, peer, "--pid", str(os.getpid()), "--connections", "1", "--think", "60000", "--seconds",
                     "0.1")
    equal(got["errors"], 0, "errors")
    true(0 < got["cpu_us_per_message"] < (time.process_time() - before) * 1e6, f"{got['cpu_us_per_message']} us")

def descriptors_run_out(world):
    """What could not be read is not known. Of processor time the kernel tells without a descriptor."""
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    with ours("echo", world) as server:
        args = ("--connect", server.where, "--pid", str(server.pid), "--connections", "60", "--seconds", "0.1",
                "--warmup", "0")
        got = json.loads(load(world, *args, "--json", status=1, preexec_fn=few).stdout)
        true(got["rss_kib"] is None and got["cpu_us_per_message"] > 0, f"{got}")
        head, row = csv.reader(load(world, *args, "--csv", status=1, preexec_fn=few).stdout.decode().splitlines())
        equal(dict(zip(head, row))["rss_kib"], "")
        text = load(world, *args, status=1, preexec_fn=few).stdout.decode()
        true(re.search(r"  server      [0-9.]+ us of CPU per message\n", text), text)

def no_memory(world):
    def little():
        resource.setrlimit(resource.RLIMIT_AS, (128 << 20, 128 << 20))
    for args in (("--connections", "1000000"), ("--connections", "2", "--idle", "1000000"),
                 ("--connections", "1024", "--loops", "1024"), ("--size", "1073741824")):
        done = load(world, "--connect", "127.0.0.1:1", *args, status=1, preexec_fn=little)
        equal((done.stdout, done.stderr), (b"", b"load: there is not enough memory\n"))

def churn(world):
    """A connection for each message."""
    with Peer(echo) as peer:
        fine(result(world, peer, "--churn", "message", "--rate", "100", "--seconds", "1", "--connections", "5"))
        equal((peer.connections, peer.messages), (100, 100), "connections and messages")

def handshakes(world):
    tls = tls_server()
    with Peer(nothing, tls) as peer:
        args = ("--churn", "handshake", "--connections", "2", "--rate", "100", "--seconds", "0.4")
        fine(result(world, peer, *args))
        equal((peer.connections, peer.resumed), (40, 0))
        fine(result(world, peer, *args, "--resume"))
        equal((peer.connections, peer.resumed), (80, 38))
    with Peer(nothing, tls_server(tickets=0)) as peer:
        got = result(world, peer, *args, "--resume", status=1)
        equal(got["error_kinds"], {"resumed": 38})

# ---- Cases: what goes wrong ------------------------------------------------------------------------------

def wrong_answers(world):
    """One connection goes; the others go on, until they have been told enough by the end of the run."""
    for serve, kind in ((wrong, "mismatch"), (surplus, "mismatch"), (closing, "closed"), (cut, "short")):
        with Peer(serve) as peer:
            got = result(world, peer, "--connections", "4", "--rate", "400", "--seconds", "0.5", status=1)
            equal(got["error_kinds"], {kind: 1}, f"{serve.__name__}")
            true(peer.messages in (199, 200, 201), f"{peer.messages} messages")

def wrong_lines(world):
    def serve(answer):
        def one(peer, s):
            for message in messages(s):
                s.sendall(answer(message))
        return one
    for answer, kind in ((lambda m: m[:-2] + b"!\n", "mismatch"), (lambda m: m[:-2] + b"\n", "mismatch"),
                         (lambda m: m[:-1] + b"!\n", "mismatch"), (lambda m: m[:-1] + m, "mismatch")):
        failing(world, serve(answer), {kind: 4}, "--protocol", "line")

def wrong_http(world):
    for serve, kind in ((answering(b"what?\r\n\r\n"), "malformed"),
                        (answering(OK + b"Content-Length: 5\r\n\r\nabc", each=1), "short"),
                        (answering(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", each=1), "short"),
                        (answering(OK + b"Content-Length: 1\r\n\r\nabc"), "malformed"),
                        (answering(b"", each=1), "closed")):
        failing(world, serve, {kind: 4}, "--protocol", "http")

def statuses(world):
    """Each counts, and none ends a connection."""
    bad = b"HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nbad"
    with Peer(answering(OK + b"Content-Length: 0\r\n\r\n", bad)) as peer:
        got = result(world, peer, "--protocol", "http", "--connections", "2", "--rate", "200", "--seconds", "0.5",
                     status=1)
        equal((got["error_kinds"], peer.messages, peer.connections), ({"status": 50}, 100, 2))

def silence(world):
    """Every message that waits counts."""
    failing(world, silent, {"timeout": 4}, "--timeout", "0.2")
    failing(world, silent, {"timeout": 12}, "--timeout", "0.2", "--depth", "3")
    failing(world, silent_later, {"timeout": 4}, "--timeout", "0.2")
    failing(world, silent, {"timeout": 4}, "--timeout", "0.2", "--churn", "message")
    failing(world, nothing, {"timeout": 4}, "--timeout", "0.2", "--tls")
    failing(world, nothing, {"timeout": 4}, "--timeout", "0.2", "--protocol", "http")

def unsent(world):
    """What was due, and could not be sent, is not forgotten."""
    with Peer(silent) as peer:
        got = result(world, peer, "--rate", "100", "--seconds", "0.2", "--connections", "2", "--timeout", "0.5",
                     status=1)
        equal(got["error_kinds"], {"timeout": 2, "unsent": 18})

def refused(world):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
    for args, count in (([], 3), (["--churn", "message"], 3), (["--rate", "100"], 3), (["--loops", "3"], 3)):
        got = results(world, "--connect", where, "--connections", "3", "--seconds", "60", "--warmup", "0", *args,
                      status=1)[0]
        equal(got["error_kinds"].get("connect"), count)

def deaths(world):
    """A server that is gone ends the run."""
    for args in ([], ["--rate", "500"], ["--depth", "5"], ["--loops", "2"], ["--think", "1"]):
        with Peer(dying) as peer:
            got = result(world, peer, "--connections", "4", "--seconds", "600", *args, status=1)
            true(got["errors"] >= 4, f"{args}: {got['error_kinds']}")
    with Peer(dying) as one, Peer(echo) as other:
        results(world, "--compare", one.where, "--compare", other.where, "--slices", "1000", "--slice-ms", "1000",
                status=1)

def idle_deaths(world):
    """The silent ones are watched, too."""
    def once(peer, s):
        for message in messages(s):
            s.sendall(message)
            if peer.count() > 4:
                break
    with Peer(once) as peer:
        got = result(world, peer, "--idle", "100", "--connections", "2", "--seconds", "0.1", "--think", "60000",
                     status=1)
        true(got["error_kinds"]["closed"] >= 196, f"{got['error_kinds']}")

def not_tls(world):
    def greet(_, s):
        s.sendall(b"220 hello\r\n")
        nothing(_, s)
    failing(world, greet, {"tls": 4}, "--tls")
    failing(world, greet, {"tls": 4}, "--churn", "handshake")

def stalls(world):
    """A second in which nothing is served: a closed loop asks for less then; an open one has waited for it all."""
    args = ("--connections", "4", "--seconds", "0.5")
    with Peer(Stall(1)) as peer:
        got = result(world, peer, *args)
        equal(peer.messages, 4, "messages of a closed loop")
    with Peer(Stall(1)) as peer:
        got = result(world, peer, *args, "--rate", "200")
        equal(peer.messages, 100, "messages of an open loop")
        true(got["p50_us"] >= 500000 and got["max_us"] >= 990000, f"{got}")
    with Peer(Stall(50)) as peer:
        got = result(world, peer, *args, "--rate", "400")
        equal(peer.messages, 200, "messages of an open loop")
        true(got["p99_us"] >= 900000, f"{got}")

# ---- Cases: what is told -----------------------------------------------------------------------------------

def compared(world):
    with ours("echo", "uring") as one, ours("echo", "epoll") as two:
        def compare(*args, pids):
            targets = [(s.where, f",{s.pid}" if pids else ",", name) for s, name in ((one, "one"), (two, "the other"))]
            return load(world, *(arg for t in targets for arg in ("--compare", f"{t[0]}{t[1]},{t[2]}")), "--slices",
                        "8", "--slice-ms", "20", "--warmup", "0.05", *args).stdout.decode()
        for pids in (True, False):
            first, second = map(json.loads, compare("--json", pids=pids).splitlines())
            equal([(r["target"], r["name"]) for r in (first, second)], [(one.where, "one"), (two.where, "the other")])
            equal((first["ratio"], first["ratio_low"], first["ratio_high"]), (1, 1, 1))
            true(0 < second["ratio_low"] <= second["ratio"] <= second["ratio_high"], f"{second}")
            equal(second["cpu_us_per_message"] is None, not pids)
            fine(second)
            text = compare(pids=pids)
            true(("CPU" if pids else "throughput") in text.split("the other")[1], text)
        few = results(world, "--compare", one.where, "--compare", two.where, "--slices", "5", "--slice-ms", "10")[1]
        true(few["ratio"] > 0 and few["ratio_low"] is few["ratio_high"] is None, f"{few}")

def turns(world):
    """Neither of two is always behind the other."""
    order = []
    def noting(name):
        def serve(_, s):
            for message in messages(s):
                order.append(name)
                s.sendall(message)
        return serve
    with Peer(noting("a")) as one, Peer(noting("b")) as two:
        results(world, "--compare", one.where, "--compare", two.where, "--connections", "1", "--think", "60000",
                "--warmup", "0", "--slices", "4", "--slice-ms", "50")
    equal("".join(order), "abbabaab", "the order of slices")

def tables(world):
    with Peer(answering(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")) as peer:
        name = 'a "name", with a comma'
        args = ("--connect", f"{peer.where},,{name}", "--protocol", "http", "--rate", "100", "--seconds", "0.2",
                "--warmup", "0")
        head, row, *more = csv.reader(io.StringIO(load(world, "--csv", *args, status=1).stdout.decode()))
        equal((more, len(head)), ([], len(row)))
        got = dict(zip(head, row))
        equal(head[:len(KEYS) - 1], KEYS[:-1])
        equal((got["name"], got["errors"], got["errors_status"], got["errors_timeout"], got["rss_kib"]),
              (name, "20", "20", "0", ""))
        equal(results(world, *args, status=1)[0]["name"], name)
        text = load(world, *args, status=1).stdout.decode()
        true(f"{peer.where} {name}" in text and re.search(r"errors +20: status 20\n", text), text)

def pictures(world):
    def plot(*args, status=0):
        load(world, *args, "--plot", path("out.svg"), status=status)
        return xml.dom.minidom.parse(path("out.svg"))
    def points(picture):
        return [len(line.getAttribute("points").split()) for line in picture.getElementsByTagName("polyline")]
    with ours("echo", world) as one, ours("echo", world) as two:
        picture = plot("--connect", one.where, "--seconds", "0.5")
        latency, throughput = points(picture)
        true(latency > 50 and throughput >= 1, f"{latency} and {throughput} points")
        picture = plot("--compare", f"{one.where},,<a&\"b\">", "--compare", two.where, "--slices", "3", "--slice-ms",
                       "20")
        equal(points(picture)[2:], [3, 3], "points of throughput")
        words = [text.firstChild.data for text in picture.getElementsByTagName("text")]
        true('<a&"b">' in words and two.where in words, f"{words}")
        load(world, "--connect", one.where, "--seconds", "0.1", "--plot", "/nowhere/out.svg", status=1)
    with Peer(silent) as peer:
        equal(points(plot("--connect", peer.where, "--timeout", "0.1", status=1)), [0], "points without an answer")

def many_lines(world):
    """All that are compared look different, in the legend as in the drawing."""
    with ours("echo", world) as server:
        targets = [arg for i in range(16) for arg in ("--compare", f"{server.where},,{i}")]
        load(world, *targets, "--connections", "1", "--slices", "1", "--slice-ms", "10", "--plot", path("out.svg"))
    picture = xml.dom.minidom.parse(path("out.svg"))
    style = picture.getElementsByTagName("style")[0].firstChild.data
    drawn = [line.getAttribute("class") for line in picture.getElementsByTagName("polyline")]
    legend = [line.getAttribute("class") for line in picture.getElementsByTagName("line")]
    legend = [name for name in legend if "line" in name.split()]
    true(len(set(legend)) == 16 and drawn == legend + legend, f"{legend} and {drawn}")
    for name in " ".join(legend).split():
        true(f".{name}{{" in style, f"{name} has no style")

def no_picture(world):
    """A picture that cannot be written is told of before anything is sent; what is there already is replaced."""
    with Peer(echo) as peer:
        args = ("--connect", peer.where, "--connections", "1", "--seconds", "0.1", "--warmup", "0", "--plot")
        done = load(world, *args, "/nowhere/out.svg", status=1)
        equal((done.stdout, done.stderr), (b"", b"load: /nowhere/out.svg: No such file or directory\n"))
        equal(peer.connections, 0, "connections")
        with open(path("old.svg"), "w", encoding="ascii") as file:
            file.write("old" * 10000)
        load(world, "--connect", peer.where, "--pid", "99999999", "--plot", path("old.svg"), status=1)
        equal(os.path.getsize(path("old.svg")), 30000, "bytes of the picture before")
        load(world, *args, path("old.svg"))
        xml.dom.minidom.parse(path("old.svg"))

def progress(world):
    master, slave = pty.openpty()
    with Peer(echo) as peer:
        load(world, "--connect", peer.where, "--seconds", "0.3", stderr=slave)
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):
        while data := os.read(master, 65536):
            shown += data
    os.close(master)
    true(re.search(rb"\r[0-9.]+ of 0.3 s  127.0.0.1:\d+  \d+ messages/s", shown), f"{shown!r}")
    true(shown.endswith(b"\r\x1b[K"), f"{shown!r}")

def usage(world):
    done = load(world, "--help")
    known = set(re.findall(rb"--[a-z-]+", done.stdout))
    true(all(len(line) <= 100 for line in done.stdout.splitlines()), "a line of --help is long")
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../perf/load_args.c"), "rb") as source:
        equal(set(re.findall(rb'"(--[a-z-]+)"', source.read())), known, "what is read, and what --help tells of,")
    for args in ((), ("--connect", "127.0.0.1"), ("--connect", "127.0.0.1:1", "--depth", "none"),
                 ("--compare", "127.0.0.1:1"), ("--connect", "127.0.0.1:1", "--what")):
        done = load(world, *args, status=2)
        equal((done.stdout, done.stderr[:6]), (b"", b"load: "))

# ---- The suite -----------------------------------------------------------------------------------------------

def cases(top):
    global directory
    directory = top
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", path("key.pem"), "-out", path("cert.pem"), "-days", "2", "-subj", "/CN=localhost"],
                   check=True, capture_output=True, timeout=LIMIT)
    for world in WORLDS:
        for function in (protocols, http, http_framing, http_closing, think, loops, sizes, idle, pids, ended,
                         threads_end, descriptors_run_out, no_memory, churn, handshakes, wrong_answers, wrong_lines,
                         wrong_http, statuses, silence, unsent, refused, deaths, idle_deaths, not_tls, stalls,
                         compared, turns, tables, pictures, many_lines, no_picture, progress, usage):
            case(f"{world}: {function.__name__.replace('_', ' ')}", function, world)

run_suite(cases)
