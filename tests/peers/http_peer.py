#!/usr/bin/env python3
"""perf/http against raw sockets, http.client, curl and nc: tests/peers/http_peer.py BUILD_DIR

Requests as they should be, requests to refuse, clients that leave."""
import sys

import contextlib
import http.client
import os
import signal
import socket
import struct
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from helpers_http import (HUGE, LIMIT, SIZES, WORLDS, Answers, ask, case, chunks, connect, equal, make_files,
                          obey_file_modes, one_by_one, peak, refuse_openat2, request, run, run_suite, server, true,
                          until_end)

PAGE = b"Hello, world!\n"
files = {}

# ---- Cases: requests that are well formed -----------------------------------------------------------

def page(port):
    with connect(port) as s:
        answers = Answers(s)
        for _ in range(3):
            s.sendall(request())
            status, fields, body = answers.next()
            equal((status, body), (200, PAGE))
            equal(fields["content-type"], "text/plain")
            time.strptime(fields["date"], "%a, %d %b %Y %H:%M:%S GMT")
            true("server" not in fields and "connection" not in fields, f"{fields}")
    equal(ask(port, request("/x"))[0], 404)

def versions(port, path, wanted):
    """Which answer is the last one of its connection, and which says so."""
    old, kept = f"GET {path} HTTP/1.0\r\n", "Connection: Keep-Alive\r\n"
    for data, connection in ((old + "\r\n", "close"), (old + "Connection: close\r\n\r\n", "close"),
                             (old + kept + "\r\n", "keep-alive"), (old + kept + "Connection: close\r\n\r\n", "close"),
                             (request(path, "Connection: close\r\n").decode(), "close"),
                             (request(path, "connection: foo , CLOSE\r\n").decode(), "close"),
                             (request(path, kept).decode(), None), (request(path).decode(), None)):
        with connect(port) as s:
            s.sendall(data.encode() * 2)
            s.shutdown(socket.SHUT_WR)
            answers = Answers(s)
            for _ in range(1 if connection == "close" else 2):
                status, fields, body = answers.next()
                equal((data, status, body, fields.get("connection")), (data, 200, wanted, connection))
            equal((bytes(answers.buf), s.recv(1)), (b"", b""), "what follows")

def targets(port, path, wanted):
    for target in (path + "?", path + "?a=/../b&%", "http://h" + path, "HTTP://h:80" + path + "?q",
                   "http://[::1]" + path):
        data = b"\r\n" + request(target, "Connection: close\r\n")
        equal((target, ask(port, data)[2]), (target, wanted))

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

def mixed(port):
    """All that does not end a connection, pipelined: at once, and byte by byte."""
    body = b"x" * 300
    in_chunks = chunks(body, (1, 7)) + b"0\r\nA: b\r\n\r\n"
    wanted = (("GET", request("/one"), 200, files["one"]), ("HEAD", request("/one", method="HEAD"), 200, b""),
              ("GET", request("/thousand", "Range: bytes=-3\r\n"), 206, files["thousand"][-3:]),
              ("GET", request("/one", "If-None-Match: *\r\n"), 304, b""), ("GET", request("/sub"), 301, b""),
              ("HEAD", request("/sub", method="HEAD"), 301, b""), ("GET", b"\r\n" + request("/empty"), 200, b""),
              ("OPTIONS", request("*", method="OPTIONS"), 204, b""),
              ("GET", request("/one", "Content-Length: 300\r\n") + body, 200, files["one"]),
              ("GET", request("/one", "Transfer-Encoding: chunked\r\n") + in_chunks, 200, files["one"]),
              ("GET", request("/thousand"), 200, files["thousand"]))
    data = b"".join(sent for _, sent, _, _ in wanted)
    for pieces in ([data], one_by_one(data)):
        with connect(port) as s:
            for piece in pieces:
                s.sendall(piece)
            answers = Answers(s)
            for method, sent, status, content in wanted:
                got = answers.next(method)
                equal((sent[:40], got[0], got[2]), (sent[:40], status, content))

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

def denied(port):
    """A request that is in order, but cannot be had, is not the last one; unless a body would follow."""
    wanted = (("/nothing", "", 404), ("/fifo", "", 403), ("/one", "Range: bytes=9-\r\n", 416),
              ("/one", 'If-Match: "x"\r\n', 412))
    with connect(port) as s:
        answers = Answers(s)
        for method in ("GET", "HEAD", "GET"):
            for path, fields, status in wanted:
                status = 200 if status == 416 and method == "HEAD" else status
                s.sendall(request(path, fields, method=method))
                got, said, _ = answers.next(method)
                equal((path, got, said.get("connection")), (path, status, None))
        s.sendall(request("/nothing") * 100 + request("/one"))
        equal([answers.next()[0] for _ in range(101)], [404] * 100 + [200])
    for path, fields in (("/nothing", "Content-Length: 5\r\n"), ("/nothing", "Connection: close\r\n"),
                         ("/nothing", "Transfer-Encoding: chunked\r\n"), ("/../one", "")):
        with connect(port) as s:
            s.sendall(request(path, fields) + request("/one"))
            answers = Answers(s)
            status, said, _ = answers.next()
            equal((status, said["connection"]), (400 if ".." in path else 404, "close"))
            equal((bytes(answers.buf), until_end(s)), (b"", b""), "what follows")

def options(port):
    with connect(port) as s:
        answers = Answers(s)
        for target in ("*", "/", "/nothing", "http://h", "http://h/x"):
            s.sendall(request(target, method="OPTIONS"))
            status, fields, _ = answers.next()
            equal((status, fields["allow"]), (204, "GET, HEAD, OPTIONS"))
            true("content-length" not in fields and "content-type" not in fields, f"{fields}")

def end_of_input(port):
    with connect(port) as s:
        s.sendall(request("/big") * 2)
        s.shutdown(socket.SHUT_WR)
        answers = Answers(s)
        for _ in range(2):
            true(answers.next()[2] == files["big"], "an answer is wrong")
        equal(s.recv(1), b"")

def slow_and_quick(port):
    with connect(port) as slow:
        half = request("/one")
        slow.sendall(half[:20])
        for _ in range(3):
            equal(ask(port, request("/one", "Connection: close\r\n"))[2], files["one"])
        slow.sendall(half[20:])
        equal(Answers(slow).next()[2], files["one"])

# ---- Cases: bodies of requests ------------------------------------------------------------------------

def with_body(port):
    """Is read and dropped; then comes the answer, and then the next request."""
    with connect(port) as s:
        answers = Answers(s)
        for size in (1, 1000, 1 << 20):
            body = b"G" * size
            in_chunks = chunks(body[:900000], (size, 4096), b' ;a="b"') + b"000;c\r\nA: b\r\nC: d\r\n\r\n"
            for field, data in ((f"Content-Length: {size}\r\n", body), ("Transfer-Encoding: chunked\r\n", in_chunks)):
                s.sendall(request("/one", field) + data + request("/thousand"))
                equal(answers.next()[2], files["one"])
                equal(answers.next()[2], files["thousand"])

def expectation(port):
    """Leave is given where the body is waited for, and only there."""
    go_on = request("/one", "Expect: 100-Continue\r\nContent-Length: 5\r\n")
    chunked = request("/one", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n")
    with connect(port) as s:
        answers = Answers(s)
        for head, body in ((go_on, b"12345"), (chunked, b"5\r\n12345\r\n0\r\n\r\n")):
            s.sendall(head)
            equal(answers.next()[0], 100)
            equal(bytes(answers.buf), b"", "what follows")
            s.sendall(body)
            equal(answers.next()[2], files["one"])
        old = b"GET /one HTTP/1.0\r\nConnection: keep-alive\r\n"
        for data in (request("/one", "Expect: 100-continue\r\n"),
                     request("/one", "Expect: 100-continue\r\nContent-Length: 0\r\n"),
                     old + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx", old + b"Expect: tea\r\n\r\n"):
            s.sendall(data)
            equal(answers.next()[::2], (200, files["one"]))
    for path, status in (("/nothing", 404), ("/%00", 400), ("/fifo", 403)):
        equal(ask(port, request(path, "Expect: 100-continue\r\nContent-Length: 5\r\n"))[0], status)
    equal(ask(port, request("/sub", "Expect: 100-continue\r\nContent-Length: 5\r\n"))[0], 301)

def too_much(port):
    """The answer survives, though the client goes on sending before it reads."""
    body = b"x" * (1 << 22)
    chunked = request(fields="Transfer-Encoding: chunked\r\n")
    for data in (request(fields=f"Content-Length: {len(body)}\r\n") + body, chunked + b"400000\r\n" + body,
                 chunked + b"1;%s\r\nx\r\n" % (b"x" * 4000) * 1000,
                 request(method="POST", fields=f"Content-Length: {len(body)}\r\n") + body):
        status, head, _ = ask(port, data)
        equal(status, 405 if data.startswith(b"POST") else 413)
        true(b"\r\nConnection: close" in head, f"{head!r}")

def cut(port):
    """A client that ends within a request is told so, and one that ends between requests is not."""
    for data in (b"G", b"GET / HTTP/1.1\r\nHost: x\r\n", request(fields="Content-Length: 5\r\n") + b"1234",
                 request(fields="Transfer-Encoding: chunked\r\n") + b"5\r\n12345\r\n0\r\n"):
        for before in (b"", request()):
            with connect(port) as s:
                s.sendall(before + data)
                s.shutdown(socket.SHUT_WR)
                answers = Answers(s)
                equal([answers.next()[0] for _ in range(2 if before else 1)], [200, 400] if before else [400])
                equal((bytes(answers.buf), s.recv(1)), (b"", b""))
    with connect(port) as s:
        s.shutdown(socket.SHUT_WR)
        equal(s.recv(1), b"")

# ---- Cases: versions of a file, and parts of it ----------------------------------------------------------

def validators(port, name):
    status, fields, _ = one_answer(port, f"/{name}")
    equal(status, 200)
    return fields["etag"], fields["last-modified"]

def changed(port, name, etag):
    """Asks until the file is another one, which shows within a second or so."""
    end = time.monotonic() + LIMIT
    while (now := validators(port, name)[0]) == etag:
        true(time.monotonic() < end, "a file that changed has the same tag")
    return now

def one_answer(port, path, fields="", method="GET"):
    with connect(port) as s:
        s.sendall(request(path, fields, method))
        return Answers(s).next(method)

def conditional(port, root):
    path = os.path.join(root, "changes")
    with open(path, "wb") as file:
        file.write(b"first")
    os.utime(path, (784111777, 784111777))
    etag, modified = validators(port, "changes")
    equal(modified, "Sun, 06 Nov 1994 08:49:37 GMT")
    for field in (f"If-None-Match: {etag}", f"If-None-Match: \"x\", W/{etag}", f"If-Modified-Since: {modified}",
                  "If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT"):
        for method in ("GET", "HEAD"):
            status, fields, body = one_answer(port, "/changes", field + "\r\n", method)
            equal((field, status, body, fields["etag"]), (field, 304, b"", etag))
            true("content-length" not in fields and "content-type" not in fields and "date" in fields, f"{fields}")
    for field in (f"If-Match: {etag}", f"If-None-Match: W/\"x\"", "If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT"):
        equal((field, one_answer(port, "/changes", field + "\r\n")[0]), (field, 200))
    for field in ("If-Match: \"x\"", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT"):
        equal((field, ask(port, request("/changes", field + "\r\n"))[0]), (field, 412))
    with open(path, "wb") as file:
        file.write(b"other")
    changed(port, "changes", etag)
    equal(one_answer(port, "/changes", f"If-None-Match: {etag}\r\n")[2], b"other")
    equal(one_answer(port, "/changes", f"If-Modified-Since: {modified}\r\n")[2], b"other")
    equal(one_answer(port, "/changes", f"Range: bytes=0-0\r\nIf-Range: {etag}\r\n")[2], b"other")
    equal(one_answer(port, "/changes", f"Range: bytes=0-0\r\nIf-Range: {modified}\r\n")[2], b"other")
    os.unlink(path)
    end = time.monotonic() + LIMIT
    while (status := one_answer(port, "/changes")[0]) != 404:
        true(status == 200 and time.monotonic() < end, f"a file that is gone: {status}")

def ranges(port):
    """All kinds of ranges of a small file and of one that goes out in pieces."""
    for name in ("thousand", "big"):
        data = files[name]
        size = len(data)
        etag, _ = validators(port, name)
        for value, first, end in (("0-0", 0, 1), ("1-", 1, size), (f"{size - 1}-", size - 1, size),
                                  ("-7", size - 7, size), ("5-99999999999999999999", 5, size),
                                  (f"-{size * 2}", 0, size), ("0-", 0, size),
                                  (f"{size // 3}-{size // 3 * 2}", size // 3, size // 3 * 2 + 1)):
            for more in ("", f"If-Range: {etag}\r\n"):
                status, fields, body = one_answer(port, f"/{name}", f"Range: bytes={value}\r\n{more}")
                equal((value, status, fields.get("content-range")), (value, 206, f"bytes {first}-{end - 1}/{size}"))
                true(body == data[first:end], f"{value}: {len(body)} bytes came")
                equal(fields["etag"], etag)
        for value in ("bytes=0-0,2-2", "bytes=5-4", "bytes=x", "lines=0-1", "bytes=0-0\r\nRange: bytes=0-0",
                      "bytes=0-0\r\nIf-Range: \"x\""):
            status, fields, body = one_answer(port, f"/{name}", f"Range: {value}\r\n")
            true((status, fields.get("accept-ranges"), body) == (200, "bytes", data), f"{value}: {status}")
        status, fields, _ = one_answer(port, f"/{name}", "Range: bytes=0-0\r\n", "HEAD")
        equal((status, fields["content-length"]), (200, str(size)))
        for value in (f"{size}-", "-0"):
            status, head, _ = ask(port, request(f"/{name}", f"Range: bytes={value}\r\n"))
            equal(status, 416)
            true(b"\r\nContent-Range: bytes */%d\r\n" % size in head, f"{head!r}")
    equal(ask(port, request("/empty", "Range: bytes=0-\r\n"))[0], 416)

# ---- Cases: names ---------------------------------------------------------------------------------------

def names(port):
    def is_file(path, name, content_type=None):
        status, head, body = ask(port, request(path, "Connection: close\r\n"))
        equal((path, status), (path, 200))
        true(body == files[name], f"{path} came wrong")
        true(not content_type or f"Content-Type: {content_type}\r\n".encode() in head + b"\r\n", f"{head!r}")

    is_file("/", "index.html", "text/html; charset=utf-8")
    is_file("http://h", "index.html")
    is_file("http://h?/x", "index.html")
    is_file("/sub/index.html", "sub/index.html", "text/html; charset=utf-8")
    is_file("/sub/", "sub/index.html")
    is_file("/./one", "one")
    is_file("/%6fne?a=/../b", "one", "application/octet-stream")
    is_file("/a%20%23%c3%A9.css", "a #\u00e9.css", "text/css")
    is_file("///one", "one")
    is_file("/...", "...")

def redirected(port):
    """To the slash that a directory's name lacks: never to another host."""
    for path, location in (("/sub", "/sub/"), ("/s%75b?a=b", "/s%75b/?a=b"), ("//sub", "/sub/"), ("///sub", "/sub/"),
                           ("/.", "/./"), ("/noindex", "/noindex/"), ("http://h/sub", "/sub/"), ("/sub?" + "x" * 8000,
                            "/sub/?" + "x" * 8000)):
        status, fields, body = one_answer(port, path)
        equal((path, status, fields["location"], body), (path, 301, location, b""))

def refused_names(port):
    for path in ("/../secret", "/sub/../../secret", "/%2e%2e/secret", "/sub/%2E%2e/%2e./secret", "/..",
                 "/sub/..", "/..%2fsecret", "/sub%2findex.html", "/%00", "/one%00.html", "/one%0a", "/%",
                 "/%4", "/%zz", "/one#x", "one", "*", "**", "http://", "http:///one", "http://u@h/one", "https://h/one",
                 "h:80", "//../secret", "http://h/../secret", "/" + "x" * 5000 + "/.%zz"):
        equal((path[:20], ask(port, request(path))[0]), (path[:20], 404 if len(path) > 5000 else 400))
    for path in ("/nothing", "/one/", "/one/x", "/out", "/outdir/secret", "/outdir/", "/absolute", "/noindex/", "/loop",
                 "/" + "x" * 300, "/" + "x/" * 2500, "/proc", "/escape"):
        equal((path[:20], ask(port, request(path))[0]), (path[:20], 404))
    for path in ("/fifo", "/unreadable", "/oddindex/"):
        equal((path, ask(port, request(path))[0]), (path, 403))

def names_are_closed(process):
    with returned(process):
        names(process.port)
        redirected(process.port)
        refused_names(process.port)

def inner_link(port):
    equal(ask(port, request("/link", "Connection: close\r\n"))[2], files["one"])
    equal(ask(port, request("/inner/index.html", "Connection: close\r\n"))[2], files["sub/index.html"])

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
    ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("an unknown coding", request(fields="Transfer-Encoding: gzip, chunked\r\n") + b"0\r\n\r\n", 501),
    ("an expectation", request(fields="Expect: 200-ok\r\n"), 417),
    ("two expectations", request(fields="Expect: 100-continue\r\nExpect: 100-continue\r\n"), 417),
    ("an expectation of more", request(fields="Expect: 100-continue, tea\r\nContent-Length: 5\r\n"), 417),
    ("TRACE", request(method="TRACE"), 405), ("CONNECT", request("h:80", method="CONNECT"), 405),
    ("a POST to *", request("*", method="POST"), 405),
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
    b"x, y", b"x,y", b"x/y", b"x y", b"u@x", b"x\\y", b"<x>", b"x:y", b"x:8:8", b"[::1", b"[::1]x", b"::1", b"x?",
    b"\xc3\xa9")
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
    ("lengths in two cases", b"content-length: 5\r\nCONTENT-LENGTH: 4"),
    ("coding over two lines", b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked"),
] + [(f"coding {value!r}", b"Transfer-Encoding: " + value) for value in (
    b"", b"gzip", b"identity", b"xchunked", b"chunkedx", b"chunked, gzip", b"chunked, chunked", b"chunked,",
    b",chunked", b"chunked;q=1", b'"chunked"', b"chunked\x00", b"\x0bchunked", b"chun ked")
] + [(f"length {value!r}", b"Content-Length: " + value) for value in (
    b"", b"+5", b"-5", b"-0", b"0x5", b"5 5", b"5;", b"5.0", b"1e3", b"five", b"\xc2\xb2",
    b"9223372036854775808", b"18446744073709551621", b"99999999999999999999999999999999")]
CHUNKS = [      # after a good head that says chunked
    (f"chunk {data!r:.20}", data) for data in (
        b"\r\n", b" 3\r\nabc\r\n", b"-3\r\nabc\r\n", b"+3\r\nabc\r\n", b"0x3\r\nabc\r\n", b"g\r\n", b"3 abc\r\nabc\r\n",
        b"3\0\r\nabc\r\n", b"3\nabc\r\n", b"3;\rx\r\nabc\r\n", b"3;\0\r\nabc\r\n", b"10000000000000000\r\n",
        b"8000000000000000\r\n", b"3\r\nabcd\r\n", b"3\r\nabc\n", b"3\r\nabc0\r\n\r\n", b"0\r\nA : b\r\n\r\n",
        b"0\r\nA\r\n\r\n", b"0\r\n b\r\n\r\n", b"0\r\nA: b\n\r\n", b"0\n\r\n", b"0\r\nA: \0\r\n\r\n", b";a\r\n",
        b"3;" + b"e" * 5000 + b"\r\nabc\r\n", b"0\r\n" + b"A: b\r\n" * 101 + b"\r\n")]
REFUSED = LIMITS + [(name, lines + b"\r\n\r\n", 400) for name, lines in LINES] + [
    (name, H + fields + b"\r\n\r\n", 400) for name, fields in FIELDS] + [
    (name, H + b"Transfer-Encoding: chunked\r\n\r\n" + data, 400) for name, data in CHUNKS]

def refused(port, data, status):
    """Between two good requests, at once and byte by byte: the first is answered, the one after it is not."""
    whole = request() + data + request()
    for pieces in ([whole], one_by_one(whole)):
        with connect(port) as s:
            for piece in pieces:
                s.sendall(piece)
            answers = Answers(s)
            equal(answers.next()[::2], (200, PAGE))
            got, fields, body = answers.next()
            equal((got, fields["connection"]), (status, "close"))
            true(body.endswith(b"\n") and fields["content-type"] == "text/plain", f"{body!r}")
            equal((bytes(answers.buf), until_end(s)), (b"", b""), "what follows")
            equal(fields.get("allow"), "GET, HEAD, OPTIONS" if status == 405 else None)

def without_end(port):
    """However long a head is, the answer is the same."""
    for data in (H + b"F: " + b"v" * 8000 + b"\r\nG: " + b"v" * 9000, b"GET /" + b"x" * (1 << 17),
                 H + b"A: b\r\n" * 20000, b"\0" * 16385):
        status, head, _ = ask(port, data)
        equal(status, 431)
        true(b"\r\nConnection: close" in head, f"{head!r}")

def accepted(port):
    """What is odd, and allowed."""
    for data in (H + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", H + b"A:\r\nB:\t \r\nC:b\t\r\n\r\n",
                 H + b"A: \xff\tx\r\n\r\n", H + b"F: v\r\n" * 99 + b"\r\n",
                 H + b"Content-Length: 000\r\n\r\n", b"GET / HTTP/1.1\r\nhOST: [::1]:80\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost:\r\n\r\n", H + b"F: " + b"v" * 8000 + b"\r\n\r\n",
                 H + b"!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n",
                 H + b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
                 H + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 4000 + b"3 ; a=\"\xff\"\r\nabc\r\n0\r\nA:\r\n\r\n"):
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
    before = peak(process)
    with connect(process.port, 4096) as s, connect(process.port) as other:
        s.sendall(request("/small") * 100)
        answers = Answers(other)
        for _ in range(200):
            other.sendall(request("/one"))
            answers.next()
        answers = Answers(s)
        for i in range(100):
            true(answers.next()[2] == files["small"], f"answer {i} is wrong")
    true(peak(process) - before < 8192, f"the server grew by {peak(process) - before} KiB")

def terminated(world):
    body = request(fields="Expect: 100-continue\r\nContent-Length: 9\r\n") + b"some"
    with server(world) as process, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(process.port)) for _ in range(3)]
        for s, sent in zip(clients, (request(), request()[:10], body)):
            s.sendall(sent)
        for s, status in zip((clients[0], clients[2]), (200, 100)):
            equal(Answers(s).next()[0], status)
        process.send_signal(signal.SIGTERM)
        for s in clients:
            equal(s.recv(1), b"")
            s.close()
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
        true(head.startswith(b"HTTP/1.1 200 OK\r\n") and len(body) == HUGE, f"{len(body)} bytes")
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

def curl_client(port):
    def curl(status, *args):
        done = run("curl", "-sS", "--max-time", "15", *args)
        equal((args, done.returncode, done.stderr if status == 0 else b""), (args, status, b""))
        return done.stdout

    base = f"http://127.0.0.1:{port}"
    true(curl(0, "--fail", f"{base}/one", f"{base}/big") == files["one"] + files["big"], "the bytes differ")
    true(b"HTTP/1.1 200 OK" in curl(0, "--http1.0", "-I", f"{base}/big"), "no head")
    curl(22, "--fail", "--path-as-is", f"{base}/../secret")
    equal(curl(0, "--fail", "-L", f"{base}/sub"), files["sub/index.html"])
    true(curl(0, "--fail", "-r", "1000-2000000", f"{base}/big") == files["big"][1000:2000001], "the range differs")
    etag, modified = validators(port, "one")
    equal(curl(0, "-o", "/dev/null", "-w", "%{http_code}", "-H", f"If-None-Match: {etag}", f"{base}/one"), b"304")
    equal(curl(0, "-o", "/dev/null", "-w", "%{http_code}", "-z", modified, f"{base}/one"), b"304")
    equal(curl(0, "-X", "GET", "-H", "Transfer-Encoding: chunked", "-d", "@" + __file__, f"{base}/one"), files["one"])
    equal(curl(0, "-X", "GET", "-H", "Expect: 100-continue", "-d", "x" * 2000, f"{base}/one"), files["one"])
    equal(curl(0, "-o", "/dev/null", "-w", "%{http_code}", "-d", "x" * 2000, f"{base}/one"), b"405")
    equal(curl(0, "-o", "/dev/null", "-w", "%{http_code}", "-X", "OPTIONS", "--request-target", "*", base), b"204")

def nc_client(port):
    def nc(data):
        done = run("nc", "-N", "127.0.0.1", str(port), input=data, stdin=None)
        equal((done.returncode, done.stderr), (0, b""))
        return done.stdout

    true(nc(b"GET /one HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\n" + files["one"]), "the file differs")
    true(nc(b"GET /one HTTP/1.0\n\n").startswith(b"HTTP/1.1 400 Bad Request\r\n"), "LF is not refused")
    equal(nc(b""), b"")

# ---- All of them -------------------------------------------------------------------------------------------

def world_cases(world, root):
    def on(name, function, *args):
        case(f"{world}: {name}", function, *args)

    with server(world) as process:
        on("the page", page, process.port)
        on("the page, versions", versions, process.port, "/", PAGE)
        on("the page, targets", targets, process.port, "/", PAGE)
        on("the page, 1000 pipelined", pipelined, process.port, "/", PAGE)
        on("odd but allowed", accepted, process.port)
        for name, data, status in REFUSED:
            on(f"refused: {name}", refused, process.port, data, status)
        for function in (too_much, cut, without_end):
            on(function.__name__.replace("_", " "), function, process.port)
    with server(world, root, preexec_fn=obey_file_modes) as process:
        for name in SIZES:
            on(f"file {name}", whole_file, process.port, name)
        on("a file, versions", versions, process.port, "/one", files["one"])
        on("a file, targets", targets, process.port, "/one", files["one"])
        on("a file, 1000 pipelined", pipelined, process.port, "/thousand", files["thousand"])
        for function in (kept_alive, mixed, head_only, denied, options, end_of_input, with_body, expectation,
                         slow_and_quick, ranges, names, redirected, refused_names, inner_link, python_client,
                         curl_client, nc_client):
            on(function.__name__.replace("_", " "), function, process.port)
        on("conditional", conditional, process.port, root)
        on("names are closed", names_are_closed, process)
        on("clients that leave", gone, process, None)
        on("clients that reset", gone, process, 0)
        path = os.path.join(root, "shrinks")
        with open(path, "wb") as file:
            file.truncate(32 << 20)
        on("a file that shrinks", shortened, process, path)
    with server(world, root) as process:
        on("a client that stalls", stalled, process)
    on("SIGTERM", terminated, world)
    on("SIGTERM with answers begun", finished, world, root)

def all_cases(top):
    root, made = make_files(top)
    files.update(made)
    for world in WORLDS:
        case(f"{world}: all cases ran", world_cases, world, root)

    def as_on_an_old_kernel():
        obey_file_modes()
        refuse_openat2()

    with server("epoll", root, preexec_fn=as_on_an_old_kernel) as process:
        for function in (names, redirected, refused_names, refused_link):
            case(f"without openat2: {function.__name__.replace('_', ' ')}", function, process.port)
        case("without openat2: names are closed", names_are_closed, process)

run_suite(all_cases)
