"""What the suites about HTTP in tests/peers/ share: the protocol of a suite, the server, clients of one socket.

A suite is started as SUITE.py BUILD_DIR. One line per case, "ok NAME" or "not ok NAME: why"; the last line is
"N passed, N failed"."""
import contextlib
import ctypes
import os
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading

LIMIT = 20          # seconds, for every wait
WORLDS = ("uring", "epoll")
SIZES = {"empty": 0, "one": 1, "thousand": 1000, "small": 256 * 1024, "middle": 300000, "big": 3 << 20}
HUGE = 64 << 20
BUILD = os.path.abspath(sys.argv[1]) if len(sys.argv) == 2 else sys.exit(f"usage: {sys.argv[0]} BUILD_DIR")
counts = {"passed": 0, "failed": 0}

# ---- The protocol of a suite ----------------------------------------------------------------------

def case(name, function, *args):
    try:
        function(*args)
    except Exception as why:    # a case that fails says so, and the next one runs
        counts["failed"] += 1
        print(f"not ok {name}: {type(why).__name__}: {str(why)[:300]}", flush=True)
    else:
        counts["passed"] += 1
        print(f"ok {name}", flush=True)

def equal(got, wanted, what="value"):
    if got != wanted:
        raise AssertionError(f"{what} is {got!r:.120}, not {wanted!r:.120}")

def true(fact, what):
    if not fact:
        raise AssertionError(what)

def run_suite(cases):
    """Calls cases(directory), and ends the program."""
    random.seed(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))    # so that nothing is left running
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    top = tempfile.mkdtemp()
    try:
        cases(top)
    finally:
        shutil.rmtree(top)
    print(f"{counts['passed']} passed, {counts['failed']} failed")
    sys.exit(0 if counts["failed"] == 0 else 1)

# ---- Processes ---------------------------------------------------------------------------------------

def system_call(number, *args):
    true(ctypes.CDLL(None).prctl(number, *args) == 0, f"prctl {number} failed")

def refuse_openat2():
    """As on a kernel before 5.6: a seccomp filter that answers ENOSYS to system call 437."""
    rules = [(0x20, 0, 0, 0), (0x15, 0, 1, 437), (0x06, 0, 0, 0x00050000 | 38), (0x06, 0, 0, 0x7fff0000)]
    code = b"".join(struct.pack("HBBI", *rule) for rule in rules)
    buf = ctypes.create_string_buffer(code)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules), ctypes.addressof(buf)))
    system_call(38, 1, 0, 0, 0)
    system_call(22, 2, program, 0, 0)

def obey_file_modes():
    """Also as root: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH do not survive the exec."""
    if os.geteuid() == 0:
        system_call(24, 1, 0, 0, 0)
        system_call(24, 2, 0, 0, 0)

@contextlib.contextmanager
def bounded(args, **popen):
    """A process with a pipe to read from, which ends with the block, or after a while."""
    process = subprocess.Popen(args, stdin=subprocess.DEVNULL, **{"stdout": subprocess.PIPE, **popen})
    timer = threading.Timer(LIMIT * 5, process.kill)
    timer.start()
    try:
        yield process
    finally:
        timer.cancel()
        process.kill()
        process.wait(LIMIT)
        if process.stdout:
            process.stdout.close()

@contextlib.contextmanager
def server(world, root=None, *options, **popen):
    args = [f"{BUILD}/perf/http", "--listen", "127.0.0.1:0", "--backend", world, *options]
    with bounded(args + (["--root", root] if root else []), **popen) as process:
        line = process.stdout.readline().decode()
        true(line.startswith("listening on 127.0.0.1:"), f"the server said {line!r}")
        process.port = int(line.split()[2].rsplit(":", 1)[1])
        yield process

def run(*args, **more):
    return subprocess.run(args, timeout=LIMIT, check=False,
                          **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more})

def peak(process):
    """The most memory it ever had, in KiB."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

# ---- Clients of one socket ----------------------------------------------------------------------------

def connect(port, receive_buffer=0):
    s = socket.socket()
    s.settimeout(LIMIT)
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.connect(("127.0.0.1", port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s

def one_by_one(data):
    return [bytes([byte]) for byte in data]

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
        status = int(lines[0].split()[1])
        fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
        size = 0 if method == "HEAD" or status in (100, 204, 304) else int(fields["content-length"])
        while len(self.buf) < size:
            self.more()
        body = bytes(self.buf[:size])
        del self.buf[:size]
        return status, fields, body

def ask(port, data):
    """Sends data, and that there is no more, and reads the one answer."""
    with connect(port) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        whole = until_end(s)
    head, _, body = whole.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, head, body

def request(path="/", fields="", method="GET", version="1.1"):
    return f"{method} {path} HTTP/{version}\r\nHost: x\r\n{fields}\r\n".encode()

def chunks(data, sizes, extension=b""):
    parts, at = [], 0
    while at < len(data):
        size = random.choice(sizes)
        piece = data[at:at + size]
        parts.append(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece))
        at += size
    return b"".join(parts)

# ---- Files to serve -----------------------------------------------------------------------------------

def make_files(top):
    """Result: the directory to serve, and what each file in it holds."""
    root = os.path.join(top, "root")
    os.makedirs(os.path.join(root, "sub"))
    os.makedirs(os.path.join(root, "noindex"))
    os.makedirs(os.path.join(root, "oddindex", "index.html"))
    os.makedirs(os.path.join(top, "outside"))
    made = {name: random.randbytes(size) for name, size in SIZES.items()}
    made.update({"index.html": b"<p>top", "sub/index.html": b"<p>sub", "a #\u00e9.css": b"p {}", "...": b"dots"})
    for name, data in made.items():
        with open(os.path.join(root, name), "wb") as file:
            file.write(data)
    for name in ("secret", "outside/secret", "outside/index.html", "root/unreadable"):
        with open(os.path.join(top, name), "wb") as file:
            file.write(b"secret")
    os.chmod(os.path.join(root, "unreadable"), 0)
    for name, target in {"out": "../secret", "outdir": "../outside", "absolute": os.path.join(top, "secret"),
                         "loop": "loop", "link": "one", "inner": "sub", "proc": "/proc/self/exe",
                         "escape": "sub/../../secret"}.items():
        os.symlink(target, os.path.join(root, name))
    os.mkfifo(os.path.join(root, "fifo"))
    with open(os.path.join(root, "huge"), "wb") as file:
        file.truncate(HUGE)
    return root, made
