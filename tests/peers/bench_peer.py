#!/usr/bin/env python3
"""What weir is measured beside: the servers perf/peer_*, those on libraries if `make peers` built them, send back what
they were sent, and answer requests however they are cut.

    tests/peers/bench_peer.py BUILD_DIR"""
import contextlib
import os
import random
import ssl
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from helpers_http import BUILD, LIMIT, bounded, case, connect, equal, run, run_suite, true

ALWAYS = [("peer_epoll",), ("peer_uring",)]
RIVALS = [("peer_libuv", "--write", "try"), ("peer_libuv", "--write", "queue"), ("peer_libevent",), ("peer_asio",),
          ("peer_asio_uring",)]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, world!\n"

@contextlib.contextmanager
def serving(*args):
    """A peer that must end in good order."""
    with bounded((f"{BUILD}/perf/{args[0]}", *args[1:], "--listen", "127.0.0.1:0")) as process:
        line = process.stdout.readline().decode()
        true(line.startswith("listening on 127.0.0.1:"), f"it said {line!r}")
        yield int(line.split()[2].rsplit(":", 1)[1])
        process.terminate()
        equal((process.wait(LIMIT), process.stdout.read()), (0, b""), "how it ended")

def read_exactly(s, count):
    data = bytearray()
    while len(data) < count:
        piece = s.recv(count - len(data))
        true(piece, f"it ended after {len(data)} bytes of {count}")
        data += piece
    return bytes(data)

def echoed(sockets, size):
    """All send, and then are read one after the other: of the last ones the kernel has not taken all for some time."""
    texts = [random.randbytes(size) for _ in sockets]
    senders = [threading.Thread(target=s.sendall, args=(text,)) for s, text in zip(sockets, texts)]
    for sender in senders:
        sender.start()
    for s, text in zip(sockets, texts):
        if isinstance(s, ssl.SSLSocket):    # which no two threads may use
            senders[sockets.index(s)].join(LIMIT)
        true(read_exactly(s, size) == text, f"{size} bytes did not come back as they were")
    for sender in senders:
        sender.join(LIMIT)

def echoes(*args, big=4 << 20, wrap=lambda s: s):
    with serving(*args) as port, contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(wrap(connect(port, receive_buffer=4096))) for _ in range(20)]
        for size in (1, 64, 5000, 1):
            echoed(sockets, size)
        echoed(sockets[:5], big)
        sockets[0].close()
        echoed(sockets[1:], 64)

def answers(name):
    request = b"GET /hello.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serving(name, "--http") as port, connect(port) as s:
        for cut in range(1, len(request)):
            s.sendall(request[:cut])
            s.sendall(request[cut:] + request[:cut])
            s.sendall(request[cut:])
            equal(read_exactly(s, 2 * len(ANSWER)), 2 * ANSWER, f"cut at {cut}")
        s.sendall(b"\r\r\n\r" + b"\n\r\n\r\n" + 500 * request)
        equal(read_exactly(s, 502 * len(ANSWER)) == 502 * ANSWER, True, "502 answers at once")

def refuses(*args):
    done = run(f"{BUILD}/perf/{args[0]}", *args[1:], "--nonsense")
    equal((done.returncode, done.stdout, done.stderr[:7]), (2, b"", b"usage: "), "what it says to an option")

def over_tls(top):
    pair = [os.path.join(top, name) for name in ("cert.pem", "cert.key")]
    made = run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
               "/CN=localhost", "-out", pair[0], "-keyout", pair[1])
    true(made.returncode == 0, f"openssl: {made.stderr!r}")
    context = ssl.create_default_context(cafile=pair[0])
    context.check_hostname = False
    options = ("--tls-cert", pair[0], "--tls-key", pair[1])
    for args in (("peer_tls",), ("peer_tls", "--ahead")):
        case(" ".join(args), lambda: echoes(*args, *options, big=64 << 10, wrap=context.wrap_socket))

def cases(top):
    there = ALWAYS + [args for args in RIVALS if os.path.exists(f"{BUILD}/perf/{args[0]}")]
    for args in there:
        # peer_uring does not wait for those who do not read.
        case(" ".join(args), lambda: echoes(*args, big=500000 if args[0] == "peer_uring" else 4 << 20))
        case(" ".join(args) + " refuses", refuses, *args)
    for name, in ALWAYS:
        case(f"{name} --http", answers, name)
    if os.path.exists(f"{BUILD}/perf/peer_tls"):
        over_tls(top)

run_suite(cases)
