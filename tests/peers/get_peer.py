#!/usr/bin/env python3
"""perf/get against perf/http, and against servers of one answer that say what they should and what they should not:
tests/peers/get_peer.py BUILD_DIR"""
import sys

import contextlib
import fcntl
import os
import pty
import resource
import select
import signal
import socket
import struct
import termios
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from helpers_http import (BUILD, LIMIT, SIZES, WORLDS, bounded, case, chunks, equal, make_files, obey_file_modes,
                          one_by_one, peak, run, run_suite, server, true)

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: Chunked\r\n\r\n"
files = {}
directory = None    # for what get writes

def arguments(world, *args):
    return [f"{BUILD}/perf/get", "--backend", world, *args]

def outcome(done, status, body):
    """Silent when it succeeds, and only then."""
    equal(done.returncode, status, f"exit status ({done.stderr!r})")
    if body is not None:
        true(done.stdout == body, f"{len(done.stdout)} bytes came, not {len(body)}: {done.stdout[:80]!r}")
    true((status == 0) == (done.stderr == b""), f"said {done.stderr!r}")

def get(world, status, body, *args, **more):
    done = run(*arguments(world, *args), **more)
    outcome(done, status, body)
    return done

# ---- Servers that say what they are told ---------------------------------------------------------------

class Scripted:
    """A server of some connections, one after the other: for each, pieces to send once there is a request. `asked` has
    the requests. A piece that is a function is called with the socket."""

    def __init__(self, *scripts, reset=False):
        self.scripts, self.reset, self.asked = scripts, reset, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(LIMIT)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def serve(self):
        for pieces in self.scripts:
            s, _ = self.listener.accept()
            with s, contextlib.suppress(OSError):       # a client that has seen enough goes
                self.answer(s, pieces)

    def answer(self, s, pieces):
        s.settimeout(LIMIT)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = b""
        while b"\r\n\r\n" not in data:
            data += (piece := s.recv(65536))
            if not piece:
                return
        self.asked.append(data)
        for piece in pieces:
            if callable(piece):
                piece(s)
            else:
                s.sendall(piece)
        if self.reset:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join(LIMIT)
        self.listener.close()

def get_from(world, status, body, *pieces, args=(), reset=False):
    """get against a server of one connection that sends these pieces."""
    with Scripted(pieces, reset=reset) as peer:
        done = get(world, status, body, f"{peer.url}/a?b#c", *args)
    for asked_for in peer.asked:        # none, if time was out before
        equal(asked_for.split(b"\r\n")[:2],
              [(b"HEAD" if "--head" in args else b"GET") + b" /a?b HTTP/1.1", b"Host: 127.0.0.1:%d" % peer.port])
    return done

def until_gone(s):
    """Waits for the client to end the connection."""
    while s.recv(65536):
        pass

# ---- Cases: answers --------------------------------------------------------------------------------------

def from_http(world, port):
    base = f"http://127.0.0.1:{port}"
    for name in SIZES:
        get(world, 0, files[name], f"{base}/{name}")
    get(world, 0, files["index.html"], f"localhost:{port}#fragment")
    get(world, 0, files["index.html"], f"{base}?q=1#f")
    get(world, 0, files["index.html"], f"HTTP://LOCALHOST:{port}/sub/./..//")
    get(world, 0, files["sub/index.html"], f"{base}/sub")
    get(world, 0, files["a #\u00e9.css"], f"{base}/a%20%23\u00e9.css")
    get(world, 0, files["thousand"][-5:], f"{base}/thousand", "--header", "Range: bytes=-5")
    get(world, 0, b"", f"{base}/thousand", "--header", "If-None-Match: *")
    get(world, 0, b"Not Found\n", f"{base}/nothing")
    get(world, 22, b"", f"{base}/nothing", "--fail")
    done = get(world, 0, None, f"{base}/one", "--include")
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    true(head.startswith(b"HTTP/1.1 200 OK\r\n") and body == files["one"], f"{done.stdout!r}")
    done = get(world, 0, None, f"{base}/sub", "--head")
    heads = done.stdout.split(b"\r\n\r\n")
    equal([head.split(b"\r\n")[0] for head in heads], [b"HTTP/1.1 301 Moved Permanently", OK.strip(), b""])
    true(b"\r\nContent-Length: 6" in heads[1], f"{heads!r}")

def chunked(world):
    data = files["middle"]
    odd = chunks(data, (1, 2, 7, 255, 4096, 4097, 65537, 100000))
    get_from(world, 0, data, CHUNKED + odd + b"0\r\n\r\n")
    get_from(world, 0, data, CHUNKED, odd[:1000], odd[1000:1001], odd[1001:] + b"000\r\nA: b\r\nC: d\r\n\r\n")
    small = files["thousand"]
    whole = CHUNKED + chunks(small, (1, 3, 100), b' ; a=b;c="d"') + b"0;last\r\nA: b\r\n\r\n"
    get_from(world, 0, small, *one_by_one(whole))
    get_from(world, 0, b"", CHUNKED + b"0\r\n\r\nthis is too much")
    get_from(world, 0, b"abc", CHUNKED + b"3\r\nabc\r\n0\r\n\r\n", until_gone)

def plain(world):
    big = files["big"] * 2
    get_from(world, 0, big, OK + b"\r\n" + big)
    get_from(world, 0, b"", b"HTTP/1.0 200\r\n\r\n")
    get_from(world, 0, b"abc", *one_by_one(OK + b"Content-Length: 3\r\n\r\nabc"))
    get_from(world, 0, b"abc", *one_by_one(OK + b"\r\nabc"))
    get_from(world, 0, b"abc", OK + b"Content-Length: 3\r\ncontent-length: 3\r\n\r\nabcdef")
    get_from(world, 0, big, OK + b"Content-Length: %d\r\n\r\n" % len(big), big)
    get_from(world, 0, b"abc", OK + b"Content-Length: 3\r\n\r\nabc", until_gone)
    get_from(world, 0, b"sorry", b"HTTP/1.1 500 \r\n\r\nsorry")

def without_body(world):
    get_from(world, 0, b"", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", until_gone)
    get_from(world, 0, b"", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", until_gone)
    for framing in (b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""):
        answer = OK + framing + b"\r\n"
        get_from(world, 0, answer, answer, until_gone, args=["--head"])
    answer = b"HTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\n"
    get_from(world, 0, answer, answer, until_gone, args=["--head"])
    get_from(world, 22, answer, answer, until_gone, args=["--head", "--fail"])

def interim(world):
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\nContent-Length: 9\r\n\r\n"
    last = OK + b"Content-Length: 1\r\n\r\nx"
    get_from(world, 0, b"x", early, last)
    get_from(world, 0, b"x", *one_by_one(early + last))
    get_from(world, 0, early + last, early, last, args=["--include"])
    get_from(world, 0, b"x", b"HTTP/1.1 100 \r\n\r\n" * 100 + last)
    get_from(world, 8, b"", b"HTTP/1.1 100 \r\n\r\n" * 101 + last)
    get_from(world, 52, b"", b"HTTP/1.1 100 Continue\r\n\r\n")

def cut_short(world):
    get_from(world, 18, b"abc", OK + b"Content-Length: 4\r\n\r\nabc")
    get_from(world, 18, b"", OK + b"Content-Length: 1\r\n\r\n")
    for end in (b"", b"3", b"3\r\n", b"3\r\nabc", b"3\r\nabc\r\n", b"0\r\n", b"0\r\nA: b\r\n"):
        get_from(world, 18, b"abc" if b"abc" in end else b"", CHUNKED + end)
    get_from(world, 56, None, OK + b"Content-Length: 4\r\n\r\nabc", reset=True)
    get_from(world, 56, None, OK + b"\r\nabc", reset=True)
    get_from(world, 56, b"", OK, reset=True)
    get_from(world, 56, b"", reset=True)
    get_from(world, 52, b"")

def garbage(world):
    """What is wrong in a line is found at once: these servers wait, and do not end the connection."""
    for answer in (b"not http\r\n", b"\r\n", b"\n", b"HTTP/1.1 200 OK\nA: b\n\n", b"SSH-2.0-x\r\n", b"220 mail\r\n",
                   b"HTTP/1.1 2x0 OK\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n",
                   b"ICY 200 OK\r\n",
                   b"HTTP/1.1  200 OK\r\n\r\n", b"http/1.1 200 OK\r\n\r\n", b"HTTP/1.1 099 No\r\n\r\n" + OK + b"\r\n",
                   b"HTTP/1.1 600 No\r\n\r\n", b"HTTP/2.0 200 OK\r\n\r\n", b"HTTP/1.1\t200 OK\r\n\r\n",
                   b"HTTP/1.1\r\n\r\n",
                   b"HTTP/1.1 101 Switching\r\n\r\n" + OK + b"\r\n", b"HTTP/1.1 200 O\0K\r\n\r\n",
                   OK + b"A : b\r\n\r\n", OK + b" A: b\r\n\r\n", OK + b"A: b\r\n c\r\n\r\n", OK + b"A: b\nC: d\r\n\r\n",
                   OK + b"A: b\rC: d\r\n\r\n", OK + b"A: b\r\r\n\r\n", OK + b"A\r\n\r\n", OK + b": b\r\n\r\n",
                   OK + b"A: \0\r\n\r\n", OK + b"A\0: b\r\n\r\n", OK + b"Content-Length: +5\r\n\r\nabcde",
                   OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
                   OK + b"Content-Length: 5, 5\r\n\r\nabcde",
                   OK + b"Content-Length: 9223372036854775808\r\n\r\n", OK + b"Content-Length:\r\n\r\n",
                   OK + b"Transfer-Encoding: gzip\r\n\r\nx", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\nx",
                   OK + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
                   OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
                   b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                   OK + b"A: b\r\n" * 101 + b"\r\n", OK + b"A: %s\r\n\r\n" % (b"b" * 8300), OK + b"A: b\r\n" * 20000):
        get_from(world, 8, b"", answer, until_gone)
    for answer in (b"HTTP/1.1 200", OK + b"A: b", b"x", OK):
        get_from(world, 8, b"", answer)

def bad_chunks(world):
    for size in (b"", b" 3", b"-3", b"+3", b"0x3", b"zz", b"3 abc", b"3\0", b"3\n", b"3;\rx", b"3;\0",
                 b"fffffffffffffffff", b"8000000000000000", b"3;" + b"e" * 5000, b"3;" + b"e" * 50000):
        get_from(world, 8, b"", CHUNKED + size + b"\r\nabc\r\n0\r\n\r\n", until_gone)
    for rest in (b"\r\n\r\n", b";0\r\n", b"0\r\nA : b\r\n", b"0\n", b"0\r\nA: b\n",
                 b"0\r\n" + b"A: b\r\n" * 101 + b"\r\n"):
        get_from(world, 8, b"", CHUNKED + rest, until_gone)
    for rest in (b"3\r\nabcde0\r\n\r\n", b"3\r\nabc0\r\n\r\n", b"3\r\nabc\n0\r\n"):
        get_from(world, 8, b"abc", CHUNKED + rest, until_gone)

# ---- Cases: requests ---------------------------------------------------------------------------------------

def asked(world):
    last = [OK + b"\r\n"]
    with Scripted(last) as peer:
        get(world, 0, b"", peer.url)
    fields = [b"Host: 127.0.0.1:%d" % peer.port, b"User-Agent: weir-get/0.1.0", b"Accept: */*", b"Connection: close"]
    equal(peer.asked, [b"\r\n".join([b"GET / HTTP/1.1"] + fields) + b"\r\n\r\n"])
    with Scripted(last) as peer:
        get(world, 0, b"", "--header", "Host: x", "--header=accept:", "--header", "A:  \xe9", f"{peer.url}/a/../b?c")
    equal(peer.asked, [b"\r\n".join([b"GET /b?c HTTP/1.1"] + fields[1:2] + fields[3:] +
                                    [b"Host: x", b"accept:", b"A:  \xc3\xa9"]) + b"\r\n\r\n"])

def redirected(world):
    def to(location, status=302):
        return [b"HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 9\r\n\r\nnot this\n" % (status, location)]

    def targets(peer):
        return [data.split(b" ")[1] for data in peer.asked]

    last = [OK + b"Content-Length: 4\r\n\r\nlast"]
    for status in (301, 302, 303, 307, 308):
        with Scripted(to(b"/there", status), last) as peer:
            get(world, 0, b"last", peer.url)
        equal(targets(peer), [b"/", b"/there"])
    for status in (300, 304, 305, 306):
        with Scripted(to(b"/there", status)) as peer:
            get(world, 0, b"" if status == 304 else b"not this\n", peer.url)
    with Scripted([b"HTTP/1.1 302 Found\r\n\r\nhere"]) as peer:
        get(world, 0, b"here", peer.url)
    def elsewhere(s):
        s.sendall(to(b"//localhost:%d/w \xc3\xa9" % peer.port)[0])

    with Scripted(to(b"../x/./y/../z?a=../b#f"), to(b"?c"), [elsewhere], last) as peer:
        get(world, 0, b"last", peer.url + "/a/b/c?d")
    equal(targets(peer), [b"/a/b/c?d", b"/a/x/z?a=../b", b"/a/x/z?c", b"/w%20%C3%A9"])
    with Scripted(to(b"/there"), last) as peer:
        get(world, 0, to(b"/there")[0][:-9] + last[0], "--include", peer.url)
    with Scripted(to(b"/there"), last) as peer:
        get(world, 0, to(b"/there")[0][:-9] + last[0][:-4], "--head", peer.url)
    equal([data[:5] for data in peer.asked], [b"HEAD ", b"HEAD "])

def too_often(world):
    turn, last = [b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"], [OK + b"\r\nlast"]
    for allowed, args in ((10, ()), (0, ("--max-redirs", "0")), (3, ("--max-redirs=3",))):
        with Scripted(*[turn] * allowed, last) as peer:
            get(world, 0, b"last", *args, peer.url)
        with Scripted(*[turn] * (allowed + 1)) as peer:
            get(world, 47, b"", *args, peer.url)
        equal(len(peer.asked), allowed + 1)

def redirected_badly(world):
    for location, status in ((b"ftp://x", 1), (b"javascript:x", 1),
                             (b"file:///etc/passwd", 1),
                             (b"http://", 3), (b"http:x", 3), (b"//u@127.0.0.1/", 3), (b"//127.0.0.1:x/", 3),
                             (b"http://a b/", 3), (b"/" + b"x" * 8000, 3), (b"", 8), (b"/\r\nLocation: /", 8),
                             (b"http://example.com/", 6)):
        with Scripted([b"HTTP/1.1 302 Found\r\nLocation: %s\r\n\r\n" % location]) as peer:
            get(world, status, b"", peer.url)

def secrets(world):
    """Which of the user's fields go to a server that the first one named."""
    fields = ["Cookie: c", "authorization: a", "Host: h", "X: y"]
    args = [word for field in fields for word in ("--header", field)]
    last = [OK + b"\r\n"]
    with Scripted(last) as other, \
            Scripted([b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n"],
                     [b"HTTP/1.1 302 Found\r\nLocation: %s\r\n\r\n" % other.url.encode()]) as first:
        get(world, 0, b"", *args, first.url)
    for data in first.asked:
        true(all(b"\r\n%s\r\n" % field.encode() in data for field in fields), f"{data!r}")
        equal(data.count(b"Host:"), 1)
    data = other.asked[0]
    true(b"Cookie" not in data and b"uthorization" not in data and b"\r\nX: y\r\n" in data, f"{data!r}")
    true(b"\r\nHost: 127.0.0.1:%d\r\n" % other.port in data, f"{data!r}")

# ---- Cases: the command line, and connections -----------------------------------------------------------------

def bad_urls(world):
    for url in ("ftp://127.0.0.1/", "gopher://x"):
        true(b"only http" in get(world, 1, b"", url).stderr, url)
    for url in ("http:///x", "http://u@127.0.0.1/", "http://127.0.0.1:99999/", "http://127.0.0.1:x/", "http://[::1/",
                "http://127.0.0.1/a b", "http://*:80/", "http://127.0.0.1/\r\nA: b", "http://", "", "http://[::g]/"):
        get(world, 3, b"", url)
    for url in ("http://example.com/", "unix:/x", "http://unix:80/", "http://127.1/", "nobody", "http://1.2.3.256/"):
        true(b"names are not looked up" in get(world, 6, b"", url).stderr, url)

def usage(world):
    url = "http://127.0.0.1:1/"
    for args in ((), ("--what", url), (url, url), ("-x", url), ("--output",), ("--backend", "kqueue", url),
                 *(("--max-time", value, url) for value in ("0", "-1", "1x", "1.2.3", "", "inf", "1e3", "9" * 400)),
                 ("--connect-timeout", ".", url), ("--max-redirs", "x", url), ("--max-redirs", "-1", url),
                 *(("--header", value, url) for value in ("A", "A : b", "A: b\r\nC: d", "A: b\n", ": b", "")),
                 (*["--header", "A: " + "b" * 8000] * 9, url)):
        get(world, 2, b"", *args)
    done = run(f"{BUILD}/perf/get", "--help")
    equal((done.returncode, done.stderr), (0, b""))
    for word in (b"--head", b"--include", b"--header", b"--output", b"--fail", b"--max-redirs", b"--connect-timeout",
                 b"--max-time", b"--silent", b"--backend", b"Exit status"):
        true(word in done.stdout, f"--help does not tell of {word}")
    done = run(*arguments(world, "--silent", url))
    equal((done.returncode, done.stderr), (7, b""))

def not_connected(world):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))        # taken, and nobody listens
        port = s.getsockname()[1]
        get(world, 7, b"", f"http://127.0.0.1:{port}/")
        with Scripted([b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\n\r\n" % port]) as peer:
            get(world, 7, b"", peer.url)

def out_of_time(world):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(0)
        with contextlib.ExitStack() as stack:       # its queue is full: the next one is not answered
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(s.getsockname())
            url = f"http://127.0.0.1:{s.getsockname()[1]}/"
            get(world, 28, b"", "--connect-timeout", "0.2", url)
            get(world, 28, b"", "--max-time", ".2", url)
    for sent, body in ((b"", b""), (OK, b""), (OK + b"\r\nabc", b"abc"), (CHUNKED + b"3\r\nabc\r\n", b"abc"),
                       (OK + b"Content-Length: 9\r\n\r\nabc", b"abc")):
        done = get_from(world, 28, None, sent, until_gone, args=["--max-time", "0.3"])
        true(done.stdout in (b"", body), f"{done.stdout!r}")
    with Scripted([b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"], [until_gone]) as peer:
        get(world, 28, b"", "--max-time", "0.3", peer.url)
    get_from(world, 0, b"abc", OK + b"Content-Length: 3\r\n\r\nabc", args=["--max-time=20", "--connect-timeout=20"])

def as_curl(world):
    """Whatever comes, curl's exit status is ours."""
    found = b"HTTP/1.1 302 Found\r\nLocation: "
    for status, args, *pieces in (
            (0, (), OK + b"Content-Length: 3\r\n\r\nabc"), (0, ("--head",), OK + b"Content-Length: 3\r\n\r\n"),
            (0, (), b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), (0, (), CHUNKED + b"3\r\nabc\r\n0\r\n\r\n"),
            (22, ("--fail",), b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
            (22, ("--fail", "--head"), b"HTTP/1.1 500 No\r\n\r\n"), (18, (), OK + b"Content-Length: 4\r\n\r\nabc"),
            (18, (), CHUNKED + b"3\r\nabc\r\n"), (52, (), b""), (8, (), OK + b"Content-Length: x\r\n\r\n"),
            (23, ("-o", "/dev/full"), OK + b"Content-Length: 3\r\n\r\nabc"),
            (23, ("-o", "/nowhere/x"), OK + b"Content-Length: 3\r\n\r\nabc"),
            (28, ("--max-time", "0.3"), OK + b"Content-Length: 4\r\n\r\nabc", until_gone),
            (28, ("--max-time", "0.3"), until_gone), (47, ("--max-redirs", "0"), found + b"/\r\n\r\n"),
            (1, (), found + b"gone://127.0.0.1/\r\n\r\n"), (3, (), found + b"http://127.0.0.1:99999/\r\n\r\n"),
            (7, (), found + b"http://127.0.0.1:1/\r\n\r\n")):
        with Scripted(pieces, pieces) as peer:
            curl = run("curl", "-sSL", *args, peer.url)
            equal((args, pieces, curl.returncode), (args, pieces, status), "what curl does")
            get(world, status, None, *args, peer.url)

# ---- Cases: what is written -----------------------------------------------------------------------------------

def read(path):
    with open(path, "rb") as file:
        return file.read()

@contextlib.contextmanager
def empty_directory():
    """Where nothing but what the block returns a name for may be left."""
    path = os.path.join(directory, "out")
    os.mkdir(path)
    try:
        yield path
    finally:
        for name in os.listdir(path):
            os.unlink(os.path.join(path, name))
        os.rmdir(path)

def to_file(world, port):
    url = f"http://127.0.0.1:{port}/middle"
    with empty_directory() as path:
        name = os.path.join(path, "file")
        for args in (("-o", name), ("--output", name), (f"--output={name}",), ("-o", "file")):
            get(world, 0, b"", *args, url, cwd=path, umask=0o027)
            true(read(name) == files["middle"], "the file differs")
            equal((os.listdir(path), os.stat(name).st_mode & 0o777), (["file"], 0o640))
            os.unlink(name)
        with open(name, "wb"):
            os.chmod(name, 0o604)
        os.symlink("file", os.path.join(path, "link"))
        get(world, 0, b"", "-o", os.path.join(path, "link"), url)
        true(read(name) == files["middle"] and os.path.islink(os.path.join(path, "link")), "the link is gone")
        equal((sorted(os.listdir(path)), os.stat(name).st_mode & 0o777), (["file", "link"], 0o604))
        get_from(world, 0, b"", OK + b"Content-Length: 0\r\n\r\n", args=["-o", name])
        equal(read(name), b"")
        get_from(world, 0, b"", OK + b"A: b\r\n\r\nc", args=["-o", name, "--include"])
        equal(read(name), OK + b"A: b\r\n\r\nc")
        get_from(world, 0, b"", OK + b"A: b\r\n\r\n", args=["-o", name, "--head"])
        equal(read(name), OK + b"A: b\r\n\r\n")
    get(world, 0, files["middle"], "-o", "-", url)
    get(world, 0, files["middle"], "-o", "/dev/stdout", url)
    get(world, 0, b"", "-o", "/dev/null", url)
    true(os.path.exists("/dev/null") and not os.path.isfile("/dev/null"), "/dev/null is gone")

def incomplete_file(world):
    """What is not complete is never seen, nor left behind; what was there before stays."""
    def nothing_yet(_):
        equal(read(name), b"before")

    for status, pieces, args in ((18, [OK + b"Content-Length: 9\r\n\r\nabc", nothing_yet], []),
                                 (8, [CHUNKED + b"3\r\nabcxy"], []),
                                 (28, [OK + b"\r\nabc", until_gone], ["--max-time", "0.3"]),
                                 (22, [b"HTTP/1.1 404 No\r\n\r\nabc"], ["--fail", "--include"]), (52, [], [])):
        with empty_directory() as path:
            name = os.path.join(path, "file")
            with open(name, "wb") as file:
                file.write(b"before")
            get_from(world, status, b"", *pieces, args=[*args, "-o", name])
            equal((os.listdir(path), read(name)), (["file"], b"before"))

def interrupted(world):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        arrived = threading.Event()

        def hold(s):
            while not any(name.startswith(".get.") for name in os.listdir(path)):
                time.sleep(0.001)
            arrived.set()
            until_gone(s)

        with empty_directory() as path, Scripted([OK + b"\r\nabc", hold]) as peer, \
                bounded(arguments(world, "-o", os.path.join(path, "file"), peer.url)) as process:
            true(arrived.wait(LIMIT), "no file is being written")
            process.send_signal(number)
            equal((process.wait(LIMIT), os.listdir(path)), (-number, []))

def not_written(world, port):
    url = f"http://127.0.0.1:{port}/middle"
    with open("/dev/full", "wb") as full:
        true(b"No space left" in run(*arguments(world, url), stdout=full).stderr, "no word of it")
        equal(run(*arguments(world, url), stdout=full).returncode, 23)
    true(b"No space left" in get(world, 23, b"", "-o", "/dev/full", url).stderr, "no word of it")
    equal(run("sh", "-c", 'exec "$@" >&-', "sh", *arguments(world, url)).returncode, 23)
    equal(run("sh", "-c", 'exec "$@" >&-', "sh", *arguments(world, url.replace("middle", "empty"))).returncode, 0)
    get(world, 23, b"", "-o", os.path.join(directory, "none", "file"), url)
    get(world, 23, b"", "-o", directory, url)
    with empty_directory() as path:
        def small_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

        get(world, 23, b"", "-o", os.path.join(path, "file"), url, preexec_fn=small_files)
        equal(os.listdir(path), [])
        os.chmod(path, 0o500)
        get(world, 23, b"", "-o", os.path.join(path, "file"), url, preexec_fn=obey_file_modes)
        os.chmod(path, 0o700)

def nobody_reads(world, port):
    """A closed pipe ends it, without a word; also one that is closed while it waits for the pipe, or for the server."""
    with bounded(arguments(world, f"http://127.0.0.1:{port}/huge"), stderr=-1) as process:
        process.stdout.read(1)
        process.stdout.close()
        equal((process.wait(LIMIT), process.stderr.read()), (23, b""))
        process.stderr.close()

def slow_reader(world):
    """A pipe that is not read holds back the server, stops no clock, and loses nothing."""
    piece, count = os.urandom(1 << 20), 128
    sent = []

    def send(s):
        view, done = memoryview(piece), 0
        s.setblocking(False)
        while done < len(piece) * count:
            if select.select([], [s], [], None if released.is_set() else 0.3)[1]:
                done += s.send(view[done % len(piece):])
            else:
                sent.append(done)
                released.wait(LIMIT)

    for framing in (OK + b"Content-Length: %d\r\n\r\n" % (len(piece) * count), OK + b"\r\n"):
        released = threading.Event()
        sent.clear()
        with Scripted([framing, send]) as peer, bounded(arguments(world, peer.url)) as process:
            end = time.monotonic() + LIMIT
            while not sent:
                true(time.monotonic() < end, "the server is never held back")
                time.sleep(0.01)
            true(sent[0] < 32 << 20, f"{sent[0]} bytes were taken that nobody reads")
            released.set()
            for i in range(count):
                true(process.stdout.read(len(piece)) == piece, f"MiB {i} differs")
                if i == count - 2:
                    true(peak(process) < 24 << 10, f"it took {peak(process)} KiB")
            equal((process.stdout.read(), process.wait(LIMIT)), (b"", 0))
    with Scripted([OK + b"\r\n", lambda s: s.sendall(piece * 16)]) as peer, \
            bounded(arguments(world, "--max-time", "0.5", peer.url), stderr=-1) as process:
        equal(process.wait(LIMIT), 28, "exit status with a pipe that is not read")
        process.stderr.close()
    with Scripted([OK + b"Content-Length: 1000000\r\n\r\n" + piece[:1000000]]) as peer, \
            bounded(arguments(world, "--max-time", "0.5", peer.url), stderr=-1) as process:
        equal(process.wait(LIMIT), 28, "exit status with all received, and not all written")
        process.stderr.close()

def reset_while_paused(world):
    """The connection is reset while get waits for its pipe: that is told once the pipe is read, and nothing crashes."""
    piece = os.urandom(1 << 20)

    def send(s):
        s.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while select.select([], [s], [], 0.3)[1]:
                s.send(piece)

    with Scripted([OK + b"\r\n", send], reset=True) as peer, bounded(arguments(world, peer.url), stderr=-1) as process:
        peer.thread.join(LIMIT)
        process.stdout.read()
        equal(process.wait(LIMIT), 56)
        true(b"receiving" in process.stderr.read(), "no word of it")
        process.stderr.close()

def much(world):
    """More than a GiB, in each framing: the last byte is held back until it is known how much memory that took."""
    piece, count = bytes(1 << 20), 1100
    for head, body, tail in ((OK + b"\r\n", piece, b""), (CHUNKED, b"100000\r\n" + piece + b"\r\n", b"0\r\n\r\n"),
                             (OK + b"Content-Length: %d\r\n\r\n" % ((count << 20) + 1), piece, b"x")):
        measured = []
        with Scripted([head, *[body] * count, lambda _: measured.append(peak(process)), tail]) as peer, \
                bounded(arguments(world, "-o", "/dev/null", peer.url)) as process:
            equal(process.wait(LIMIT), 0)
        true(measured[0] < 24 << 10, f"it took {measured[0]} KiB")

def on_terminal(world, args, columns, stdout_too=False, pieces=(OK + b"Content-Length: 3\r\n\r\n", b"abc")):
    """Result: what get shows on a terminal that is its stderr, and perhaps its stdout."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    try:
        with Scripted(pieces) as peer:
            done = run(*arguments(world, *args, peer.url), stderr=slave, **({"stdout": slave} if stdout_too else {}))
        os.close(slave)
        shown = b""
        with contextlib.suppress(OSError):
            while data := os.read(master, 65536):
                shown += data
        return done.returncode, shown
    finally:
        os.close(master)

def progress(world):
    for args, stdout_too in (([], False), (["-o", "/dev/null"], False), (["-o", "/dev/null"], True)):
        status, shown = on_terminal(world, args, 80, stdout_too)
        lines = shown.replace(b"\x1b[K", b"").split(b"\r")
        equal((status, shown[:1]), (0, b"\r"))
        equal(lines[-2][:6], b"100% [", "the last line")
        equal(lines[-1], b"\n")
        true(b"3 B" in lines[-2] and b"/s" in lines[-2] and b"0:00 left" in lines[-2], f"{lines!r}")
        true(all(len(line) < 80 for line in lines), f"{lines!r}")
    status, shown = on_terminal(world, [], 80, pieces=(CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",))
    true(status == 0 and b"3 B" in shown and b"%" not in shown, f"{shown!r}")
    status, shown = on_terminal(world, [], 30, pieces=(OK + b"Content-Length: 9\r\n\r\nabc",))
    true(status == 18 and b" 33% [" in shown and b"\nget: the connection ended" in shown, f"{shown!r}")
    true(all(len(line) < 30 for line in shown.replace(b"\x1b[K", b"").split(b"\n")[0].split(b"\r")), f"{shown!r}")
    equal(on_terminal(world, ["--silent"], 80), (0, b""))
    equal(on_terminal(world, [], 80, stdout_too=True), (0, b"abc"))
    equal(on_terminal(world, ["--head"], 80), (0, b""))

# ---- All of them -------------------------------------------------------------------------------------------------

def world_cases(world, root):
    def on(function, *args):
        case(f"{world}: {function.__name__.replace('_', ' ')}", function, world, *args)

    with server(world, root) as process:
        for function in (from_http, to_file, not_written, nobody_reads):
            on(function, process.port)
    for function in (chunked, plain, without_body, interim, cut_short, garbage, bad_chunks, asked, redirected,
                     too_often, redirected_badly, secrets, bad_urls, usage, not_connected, out_of_time, as_curl,
                     incomplete_file, interrupted, slow_reader, reset_while_paused, much, progress):
        on(function)

def all_cases(top):
    global directory
    directory = top
    root, made = make_files(top)
    files.update(made)
    for world in WORLDS:
        case(f"{world}: all cases ran", world_cases, world, root)

run_suite(all_cases)
