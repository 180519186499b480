"""Instructions per message in user space, counted by callgrind while a server serves a number of messages. Little is
left to chance: several connections send while the server stands still, and again once all answers are there. So one
run is like the other, and what a change costs can be seen."""
import concurrent.futures
import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile

MESSAGES = 3200         # for a connection's depth and for all connections, a multiple
REQUEST = b"GET /hello.txt HTTP/1.1\r\nHost: localhost\r\n\r\n"
LINE = b"x" * 63 + b"\n"
SERVERS = ["weir, io_uring", "weir, epoll", "by hand, io_uring", "by hand, epoll"]
SHAPES = [("", 1, 1), (", 50 connections", 50, 1), (", depth 16", 1, 16)]   # connections, depth

def connect(port, tls):
    s = socket.create_connection(("127.0.0.1", port), timeout=60)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not tls:
        return s
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(s)

def receive(s, size):
    while size > 0:
        size -= len(s.recv(size)) or size

def answer_size(s, message):
    s.sendall(message)
    data = s.recv(65536)
    while message == REQUEST and not data.endswith(b"Hello, world!\n"):
        data += s.recv(65536)
    return len(data)

def stand_still(pid):
    os.kill(pid, signal.SIGSTOP)
    while True:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            if file.read().rpartition(")")[2].split()[0] in "tT":
                return

def exchange(pid, sockets, message, size, rounds):
    for _ in range(rounds):
        if len(sockets) > 1:
            stand_still(pid)
        for s in sockets:
            s.sendall(message)
        if len(sockets) > 1:
            os.kill(pid, signal.SIGCONT)
        for s in sockets:
            receive(s, size)

def dump(pid, path):
    """Result: instructions since the last time."""
    subprocess.run(("vgdb", f"--pid={pid}", "--wait=10", "dump"), check=True, capture_output=True, timeout=60)
    newest = max((name for name in os.listdir(path) if name.startswith("out.")), key=lambda name: int(name[4:]))
    with open(os.path.join(path, newest), encoding="utf-8") as file:
        return int(re.search(r"^totals: (\d+)$", file.read(), re.M).group(1))

def counted(program, message, connections, depth, tls):
    """Instructions for a message."""
    with tempfile.TemporaryDirectory() as path, contextlib.ExitStack() as stack:
        args = ("valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={path}/out", *program, "--listen",
                "127.0.0.1:0")
        process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        stack.callback(process.wait)
        stack.callback(process.kill)
        port = int(process.stdout.readline().split()[2].rsplit(b":", 1)[1])
        sockets = [stack.enter_context(connect(port, tls)) for _ in range(connections)]
        size = [answer_size(s, message) for s in sockets][0] * depth
        exchange(process.pid, sockets, message * depth, size, 10)
        dump(process.pid, path)
        exchange(process.pid, sockets, message * depth, size, MESSAGES // depth // connections)
        return dump(process.pid, path) / MESSAGES

def workloads(build, root, pair):
    """Each: its name, its message, whether it is TLS, and the programs by the servers' names."""
    def weir(name, *args):
        return {"weir, io_uring": (f"{build}/perf/{name}", "--backend", "uring", *args),
                "weir, epoll": (f"{build}/perf/{name}", "--backend", "epoll", *args)}
    def by_hand(*args):
        return {"by hand, io_uring": (f"{build}/perf/peer_uring", *args),
                "by hand, epoll": (f"{build}/perf/peer_epoll", *args)}
    tls = ("--tls-cert", pair[0], "--tls-key", pair[1])
    return [("echo", LINE, False, {**weir("echo"), **by_hand()}),
            ("lines", LINE, False, weir("echo", "--lines")),
            ("http", REQUEST, False, {**weir("http", "--root", root), **by_hand("--http")}),
            ("TLS", LINE, True, {**weir("echo", *tls), "by hand, epoll": (f"{build}/perf/peer_tls", *tls)})]

def instructions(build, root, pair):
    """Result: rows of cells."""
    if not shutil.which("vgdb"):
        print("left out: instructions: there is no valgrind (make deps-bench)")
        return []
    rows = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, message, tls, programs in workloads(build, root, pair):
            for shape, connections, depth in SHAPES:
                waiting = {server: pool.submit(counted, program, message, connections, depth, tls)
                           for server, program in programs.items() if os.path.exists(program[0])}
                cells = [f"{waiting[s].result():,.0f}" if s in waiting else "-" for s in SERVERS]
                rows.append([name + shape, *cells])
                print(f"[instructions] {', '.join(rows[-1])}", flush=True)
    return rows
