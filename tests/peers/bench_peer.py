#!/usr/bin/env python3
"""What weir is measured beside: the servers perf/peer_*, those on libraries if `make peers` built them, send back what
they were sent, and answer requests however they are cut. And how perf/bench writes down what it has measured.

    tests/peers/bench_peer.py BUILD_DIR"""
import collections
import contextlib
import os
import random
import ssl
import sys
import threading

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, os.pardir), os.path.join(HERE, os.pardir, os.pardir, "perf")]
import bench_table as tables
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

def said(ratio):
    return {"ratio": ratio, "ratio_low": ratio - 0.01, "ratio_high": ratio + 0.01, "cpu_us_per_message": 4.5,
            "messages_per_s": 123456}

def losses_are_marked():
    names = ("by hand", "weir, io_uring", "weir, epoll", "other", "another")
    rows = [("one", dict(zip(names, map(said, (1, 0.9, 1.1, 0.8))))),
            ("two", dict(zip(names[:3] + names[4:], map(said, (1, 1.2, 0.9, 1.3)))))]
    wanted = """### A title

A note.

| workload | by hand | weir, io_uring | weir, epoll | other | another |
|---|---|---|---|---|---|
| one | 1 (4.50 us, 123,456/s) | 0.90 (0.89 to 0.91) | **1.10 (1.09 to 1.11)** | **0.80 (0.79 to 0.81)** | - |
| two | **1 (4.50 us, 123,456/s)** | 1.20 (1.19 to 1.21) | 0.90 (0.89 to 0.91) | - | 1.30 (1.29 to 1.31) |
"""
    equal(tables.matrix("A title", "A note.", rows, tables.lost), wanted, "the table")

def latencies_are_judged_by_the_round():
    def rounds(*p99s):
        return [{"messages_per_s": 1, "p50_us": 2, "p99_us": p99, "cpu_us_per_message": 3} for p99 in p99s]
    first, slower = rounds(10, 20, 30, 40, 50, 60), rounds(11, 22, 33, 44, 55, 66)
    other = rounds(60, 50, 40, 30, 20, 10)
    for said, wanted in ((first, "2.00, 35.0"), (slower, "**2.00, 38.5; 1.10 (1.10 to 1.10)**"),
                         (other, "2.00, 35.0; 1.04 (0.17 to 6.00)")):
        equal(tables.tail(tables.summary(said, first), said is first), wanted, "the cell")

def each_comes_after_each():
    for count in (2, 3, 4, 9):
        after = collections.Counter()
        for turn in range(2 * count):
            order = tables.in_turn(turn, count)
            equal(sorted(order), list(range(count)), f"who has a turn, of {count}")
            after.update(zip(order, order[1:]))
        equal(set(after.values()), {2}, f"how often one of {count} comes after another")

def bounds_are_those_of_the_median():
    for count, low, high in ((6, 0, 5), (9, 1, 7), (20, 5, 14), (21, 5, 15)):    # as tables of the sign test have it
        values = random.sample(range(count), count)
        equal(tables.interval(values), (low, high), f"of {count}")

def prose_stays():
    before, after = "# Measured\n\nBy people.\n\n", "\n\nMore | of | theirs.\n"
    whole = before + f"{tables.BEGIN}\nold\n\n{tables.END}" + after
    written = tables.put(whole, "new \\1\n")
    equal(written, before + f"{tables.BEGIN}\n\nnew \\1\n\n{tables.END}" + after, "what is written")
    equal(tables.put(written, "new \\1\n"), written, "the same written again")
    equal(tables.put("Prose.\n", "new"), f"Prose.\n\n{tables.BEGIN}\n\nnew\n\n{tables.END}\n", "without marks")

def broken_marks_are_refused():
    for text in (tables.BEGIN, tables.END, tables.END + tables.BEGIN, 2 * (tables.BEGIN + tables.END)):
        try:
            tables.put("prose " + text, "new")
        except ValueError:
            continue
        raise AssertionError(f"{text!r} was taken")

def cases(top):
    for check in (losses_are_marked, latencies_are_judged_by_the_round, each_comes_after_each,
                  bounds_are_those_of_the_median, prose_stays,
                  broken_marks_are_refused):
        case(check.__name__, check)
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
