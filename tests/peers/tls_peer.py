#!/usr/bin/env python3
"""TLS from outside, on io_uring and on epoll: perf/echo and perf/http against openssl s_client, curl, Python's ssl and
nginx as clients; perf/get and perf/load against openssl s_server, Python's ssl and nginx as servers.

    tests/peers/tls_peer.py BUILD_DIR"""
import contextlib
import os
import select
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from helpers_http import BUILD, LIMIT, WORLDS, bounded, case, equal, run, run_suite, true

CROWD = 300
pki = None

# ---- Certificates ------------------------------------------------------------------------------------

def openssl(*args):
    done = run("openssl", *args)
    true(done.returncode == 0, f"openssl {args}: {done.stderr!r}")

def path(name):
    return os.path.join(pki, name)

def request(name, extensions):
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path(name + ".key"),
            "-out", path("request"), "-subj", "/CN=" + name)
    with open(path("extensions"), "w", encoding="ascii") as f:
        f.write(extensions)

def make_certificate(name, extensions, issuer="ca", days="30"):
    request(name, extensions)
    sign = ["-key" if issuer == name else "-CAkey", path(issuer + ".key")]
    signer = ["-signkey", path(name + ".key")] if issuer == name else ["-CA", path(issuer + ".pem"), *sign]
    openssl("x509", "-req", "-in", path("request"), *signer, "-days", days, "-extfile", path("extensions"), "-out",
            path(name + ".pem"))

SIGNING = """
[ca]
default_ca = signer
[signer]
database = {dir}/index
new_certs_dir = {dir}
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
"""

def make_early_certificate(name, extensions):
    """Good from tomorrow on: an authority can say so, `openssl x509` cannot."""
    request(name, extensions)
    with open(path("signing"), "w", encoding="ascii") as f:
        f.write(SIGNING.format(dir=pki))
    open(path("index"), "w", encoding="ascii").close()
    tomorrow, later = (time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86400)) for days in (1, 30))
    openssl("ca", "-config", path("signing"), "-batch", "-notext", "-startdate", tomorrow, "-enddate", later, "-in",
            path("request"), "-cert", path("ca.pem"), "-keyfile", path("ca.key"), "-extfile", path("extensions"),
            "-out", path(name + ".pem"))

def make_pki(directory):
    global pki
    pki = directory
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
    make_certificate("ca", "basicConstraints=critical,CA:TRUE\n", issuer="ca")
    make_certificate("server", names)
    make_certificate("old", names, days="-1")
    make_certificate("other", "subjectAltName=DNS:example.org\n")
    make_certificate("self", names, issuer="self")
    make_early_certificate("early", names)
    make_certificate("client", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=clientAuth\n")
    make_certificate("wild", "subjectAltName=DNS:*,DNS:*.localhost,DNS:local*,DNS:*host,IP:127.0.0.2\n")
    make_certificate("text", "subjectAltName=DNS:localhost,DNS:127.0.0.1\n")
    make_certificate("middle", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n")
    make_certificate("leaf", names, issuer="middle")
    make_certificate("child", names, issuer="leaf")
    with open(path("chain.pem"), "wb") as chain:
        for name in ("leaf", "middle"):
            with open(path(name + ".pem"), "rb") as part:
                chain.write(part.read())

# ---- Our servers -------------------------------------------------------------------------------------

@contextlib.contextmanager
def ours(world, program, *options):
    """A server of ours that must end in good order."""
    args = [f"{BUILD}/perf/{program}", "--listen", "127.0.0.1:0", "--backend", world, "--tls-cert", path("server.pem"),
            "--tls-key", path("server.key"), *options]
    with bounded(args, stderr=subprocess.PIPE) as process:
        line = process.stdout.readline().decode()
        true(line.startswith("listening on 127.0.0.1:"), f"the server said {line!r}")
        process.port = int(line.split()[2].rsplit(":", 1)[1])
        yield process
        process.terminate()
        out, err = process.communicate(timeout=LIMIT)
        equal((process.returncode, out, err), (0, b"", b""), "how the server ended")

def client_context(lowest=ssl.TLSVersion.TLSv1_2, highest=ssl.TLSVersion.TLSv1_3):
    context = ssl.create_default_context(cafile=path("ca.pem"))
    context.minimum_version, context.maximum_version = lowest, highest
    return context

def dial(port, context=None, **more):
    s = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
    return (context or client_context()).wrap_socket(s, server_hostname="localhost", suppress_ragged_eofs=False, **more)

def read_exactly(s, n):
    data = bytearray()
    while len(data) < n:
        piece = s.recv(n - len(data))
        true(piece, f"an end after {len(data)} bytes")
        data += piece
    return bytes(data)

def talk(s, data):
    """Not more at a time than the kernel holds: Python lets no two threads use one of its TLS sockets."""
    for at in range(0, len(data), 1 << 16):
        piece = data[at:at + (1 << 16)]
        s.sendall(piece)
        true(read_exactly(s, len(piece)) == piece, "what comes back is not what was sent")

# ---- echo: Python's ssl ------------------------------------------------------------------------------

def echo_python(port, version):
    with dial(port, client_context(version, version)) as s:
        for size in (1, 100, 16384, 16385, 1 << 20):
            talk(s, os.urandom(size))
        s.unwrap().close()

def echo_half_closed(port):
    """Our close_notify comes after all the bytes, and after theirs."""
    with dial(port) as s:
        s.sendall(b"x" * 100000)
        incoming = read_exactly(s, 100000)
        true(incoming == b"x" * 100000, "other bytes")
        s.unwrap().close()

def echo_resumed_python(port):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context, session = client_context(version, version), None
        for again in (False, True, True):
            with dial(port, context, session=session) as s:
                talk(s, b"hello")
                equal(s.session_reused, again, "session_reused")
                session = s.session
                s.unwrap().close()

def echo_cut(port):
    """A client that goes without a word harms nobody."""
    with dial(port) as s:
        talk(s, b"hello")
        socket.socket(fileno=s.detach()).close()
    with dial(port) as s:
        talk(s, b"hello")

# ---- echo: openssl s_client --------------------------------------------------------------------------

def client(port, *args, say=b"Q\n"):
    """What s_client says, and its exit status."""
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", path("ca.pem"),
                           "-servername", "localhost", "-verify_hostname", "localhost", "-verify_return_error", *args],
                          input=say, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT, check=False)
    return done.returncode, done.stdout

def accepted(port):
    for args, said in ((("-tls1_2",), b"TLSv1.2"), (("-tls1_3",), b"TLSv1.3"), ((), b"TLSv1.3"),
                       (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"), b"ECDHE-ECDSA-AES256-GCM-SHA384"),
                       (("-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"), b"ECDHE-ECDSA-CHACHA20-POLY1305"),
                       (("-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"), b"TLS_CHACHA20_POLY1305_SHA256"),
                       (("-groups", "P-384"), b"TLSv1.3"), (("-groups", "X25519"), b"X25519")):
        status, out = client(port, *args)
        true(status == 0 and said in out and b"Verify return code: 0 (ok)" in out, f"{args}: {status}, {out!r}")
        true(b"Compression: NONE" in out, "compressed")

def refused(port):
    for args in (("-tls1",), ("-tls1_1",), ("-tls1_2", "-cipher", "AES128-GCM-SHA256"),
                 ("-tls1_2", "-cipher", "AES128-SHA"), ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"),
                 ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"), ("-tls1_2", "-cipher", "eNULL"),
                 ("-tls1_2", "-cipher", "aNULL"), ("-tls1_2", "-cipher", "DHE"),
                 ("-ciphersuites", "TLS_AES_128_CCM_SHA256"), ("-groups", "P-521"), ("-groups", "ffdhe2048")):
        low = ("-cipher", "ALL:@SECLEVEL=0") if "-cipher" not in args else ()
        args = [arg + ":@SECLEVEL=0" if args[i - 1] == "-cipher" else arg for i, arg in enumerate(args)]
        status, out = client(port, *args, *low)
        true(status != 0 and b" alert " in out, f"{args}: {status}, {out[:300]!r}")

def renegotiated(port):
    status, out = client(port, "-tls1_2", say=b"R\n")
    true(b"RENEGOTIATING" in out and status != 0 and b"no renegotiation" in out, f"{status}, {out[-300:]!r}")

def read_line(pipe):
    line = b""
    while not line.endswith(b"\n"):
        true(select.select([pipe], [], [], LIMIT)[0], f"nothing comes after {line!r}")
        piece = os.read(pipe.fileno(), 1)
        if not piece:
            break
        line += piece
    return line

def new_keys(port):
    """Asked for and not asked for, with data around them."""
    process = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3", "-quiet",
                                "-no_ign_eof", "-CAfile", path("ca.pem")],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        for line in (b"one\n", b"K\n", b"two\n", b"k\n", b"three\n"):
            process.stdin.write(line)
            process.stdin.flush()
            wanted = b"KEYUPDATE\n" if line[0] in b"Kk" else line
            while said := read_line(process.stdout):    # of certificates, before
                if said == wanted:
                    break
            equal(said, wanted, f"the answer to {line!r}")
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()

def resumed(port):
    for version in ("-tls1_2", "-tls1_3"):
        session = path("session")
        process = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", version, "-CAfile",
                                    path("ca.pem"), "-sess_out", session], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        process.stdin.write(b"hello\n")     # the tickets come before its echo
        process.stdin.flush()
        while said := read_line(process.stdout):
            if said == b"hello\n":
                break
        process.communicate(b"Q\n", timeout=LIMIT)
        status, out = client(port, version, "-sess_in", session)
        true(status == 0 and b"Reused, TLSv1" in out, f"{version}: {out[-400:]!r}")

# ---- echo: strangers ---------------------------------------------------------------------------------

GARBAGE = (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00" + b"\x00" * 512, b"\x16\x03\x01\xff\xff", b"\x80\x2e\x01",
           os.urandom(300), b"\x15\x03\x01\x00\x02\x02\x28", b"\x16", b"\x16\x03\x03\x00\x00" * 100)

def first_words():
    """A client hello, whole."""
    out = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    return out.read()

def half_open(port):
    """Some say nothing, some stop in the middle of their hello, some let it drip: each has its time to begin, and then
    is gone, while others are served."""
    hello, end = first_words(), time.monotonic() + LIMIT
    waiting = {socket.create_connection(("127.0.0.1", port), timeout=LIMIT): i for i in range(CROWD)}
    try:
        for s, i in waiting.items():
            s.sendall(hello[:(0, len(hello) // 2, 1)[i % 3]])
        at = 1
        while waiting:
            true(time.monotonic() < end, f"{len(waiting)} are still there")
            with dial(port) as honest:
                talk(honest, os.urandom(1000))
                honest.unwrap().close()
            for s in select.select(waiting, [], [], 0.2)[0]:
                with contextlib.suppress(ConnectionResetError):
                    equal(s.recv(100), b"", "what is said to it")
                del waiting[s]
                s.close()
            for s, i in waiting.items():
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    s.sendall(hello[at:at + 1] if i % 3 == 2 and at < len(hello) - 1 else b"")
            at += 1
    finally:
        for s in waiting:
            s.close()

def crowd(port):
    """Half of them say nothing, half of them something wrong; nobody else feels it."""
    idle, wrong = [], []
    try:
        for i in range(CROWD):
            s = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
            (idle if i % 2 else wrong).append(s)
            if i % 2 == 0:
                s.sendall(GARBAGE[i // 2 % len(GARBAGE)])
            elif i % 4 == 1:
                s.sendall(b"\x16\x03\x01\x02")
            if i % 20 == 0:
                with dial(port) as honest:
                    talk(honest, os.urandom(1000))
                    honest.unwrap().close()
        for i, s in enumerate(wrong):
            if GARBAGE[i % len(GARBAGE)] in (b"\x16", b"\x80\x2e\x01", b"\x16\x03\x01\xff\xff"):
                continue    # it may yet become something
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := s.recv(1000):
                    answer += piece
            true(len(answer) < 10, f"{answer!r}")
        with dial(port) as honest:
            talk(honest, os.urandom(1000))
    finally:
        for s in idle + wrong:
            s.close()

def flood_of_handshakes(port):
    """Many at once, all of them honest."""
    context, done = client_context(), []
    def one():
        with contextlib.suppress(OSError):
            for _ in range(10):
                with dial(port, context) as s:
                    talk(s, b"hello")
                    done.append(1)
    threads = [threading.Thread(target=one, daemon=True) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(LIMIT)
    equal(len(done), 80, "how many were served")

# ---- http --------------------------------------------------------------------------------------------

def curl(*args):
    return run("curl", "-sS", "--max-time", str(LIMIT), *args)

def http_curl(port, page):
    for args in ((), ("--tls-max", "1.2"), ("--tlsv1.3",)):
        urls = (f"https://{host}:{port}/page" for host in ("localhost", "127.0.0.1"))
        done = curl("--cacert", path("ca.pem"), *args, *urls)
        true(done.returncode == 0 and done.stdout == page * 2, f"{args}: {done.returncode} {done.stderr!r}")
    equal(curl(f"https://localhost:{port}/page").returncode, 60, "without our root")
    equal(curl("--cacert", path("ca.pem"), "--resolve", f"other:{port}:127.0.0.1", f"https://other:{port}/").returncode,
          60, "by another name")
    equal(curl(f"http://localhost:{port}/page").returncode in (52, 56), True, "in plain")

NGINX_BEFORE = """
daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 200; }}
http {{
    access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
    uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
    server {{
        listen 127.0.0.1:{port} {listen};
        {server}
    }}
}}
"""

def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]

@contextlib.contextmanager
def nginx(directory, server, listen=""):
    port = free_port()
    os.makedirs(directory, exist_ok=True)
    with open(f"{directory}/nginx.conf", "w", encoding="ascii") as f:
        f.write(NGINX_BEFORE.format(dir=directory, port=port, server=server, listen=listen))
    with bounded(["nginx", "-c", f"{directory}/nginx.conf", "-p", directory, "-e", f"{directory}/error.log"]):
        end = time.monotonic() + LIMIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=LIMIT).close()
                break
            except ConnectionRefusedError:
                true(time.monotonic() < end, "nginx does not listen")
                time.sleep(0.02)
        yield port

def http_behind_nginx(port, page):
    """nginx takes us for its upstream, and verifies us."""
    server = f"""
        location / {{
            proxy_pass https://127.0.0.1:{port}; proxy_ssl_verify on; proxy_ssl_name localhost;
            proxy_ssl_server_name on; proxy_ssl_trusted_certificate {path("ca.pem")}; proxy_ssl_session_reuse on;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
        }}"""
    with nginx(path("before"), server) as front:
        for _ in range(5):
            done = curl(f"http://127.0.0.1:{front}/page")
            true(done.returncode == 0 and done.stdout == page, f"{done.returncode} {done.stdout[:200]!r}")

# ---- get ---------------------------------------------------------------------------------------------

def get(world, url, *args, cacert="ca.pem"):
    return run(f"{BUILD}/perf/get", "--backend", world, *(("--cacert", path(cacert)) if cacert else ()), *args, url)

def get_is(world, status, body, url, *args, **more):
    done = get(world, url, *args, **more)
    true(done.returncode == status and (body is None or done.stdout == body),
         f"{url}: {done.returncode} {done.stderr!r} {done.stdout[:100]!r}")
    return done.stderr

def get_from_http(world, port, page):
    for host in ("localhost", "127.0.0.1"):
        get_is(world, 0, page, f"https://{host}:{port}/page")
    get_is(world, 0, page, f"https://localhost:{port}/page", "--insecure", cacert=None)
    true(b"unable to get local issuer" in get_is(world, 60, b"", f"https://localhost:{port}/page", cacert=None), "why")
    true(b"cannot open" in get_is(world, 77, b"", f"https://localhost:{port}/page", cacert="none.pem"), "why")
    true(b"EOF" not in get_is(world, 52, b"", f"http://localhost:{port}/page"), "in plain")

@contextlib.contextmanager
def s_server(certificate, *args):
    port = free_port()
    with bounded(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", path(certificate + ".pem"), "-key",
                  path(certificate + ".key"), "-www", *args], stderr=subprocess.DEVNULL) as process:
        while line := process.stdout.readline():
            if line == b"ACCEPT\n":
                break
        yield port

def get_from_s_server(world):
    for args, status, said in ((("-tls1_2",), 0, b"TLSv1.2"), (("-tls1_3",), 0, b"TLSv1.3"),
                               (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), 35, b""),
                               (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"), 35, b""),
                               (("-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"), 35, b"")):
        with s_server("server", *args) as port:
            done = get(world, f"https://localhost:{port}/")
            true(done.returncode == status and said in done.stdout, f"{args}: {done.returncode} {done.stderr!r}")

UNKNOWN = b"unable to get local issuer certificate"

def get_believes(world):
    """Whom it believes, and why not. Only what `text` has is a name for some, and none for an address."""
    for certificate, more, whys in (
            ("old", (), {"localhost": b"expired", "127.0.0.1": b"expired"}),
            ("early", (), {"localhost": b"not yet valid"}), ("self", (), {"localhost": b"self-signed"}),
            ("client", (), {"localhost": b"unsuitable certificate purpose"}),
            ("other", (), {"localhost": b"hostname mismatch", "127.0.0.1": b"IP address mismatch"}),
            ("wild", (), {"localhost": b"hostname mismatch", "127.0.0.1": b"IP address mismatch"}),
            ("text", (), {"localhost": None, "127.0.0.1": b"IP address mismatch"}),
            ("server", (), {"localhost": None, "127.0.0.1": None}), ("leaf", (), {"localhost": UNKNOWN}),
            ("leaf", ("-cert_chain", path("middle.pem")), {"localhost": None, "127.0.0.1": None}),
            ("child", ("-cert_chain", path("chain.pem")), {"localhost": b"invalid CA certificate"})):
        with s_server(certificate, *more) as port:
            for host, why in whys.items():
                url = f"https://{host}:{port}/"
                said = get_is(world, 60 if why else 0, b"" if why else None, url)
                true(not why or why in said, f"{certificate}: {said!r}, not {why!r}")
            if any(whys.values()):
                get_is(world, 0, None, url, "--insecure")

class Speaker(threading.Thread):
    """A server for one connection, made with Python's ssl, that ends as it is told."""

    def __init__(self, answer, goodbye):
        super().__init__(daemon=True)
        self.answer, self.goodbye = answer, goodbye
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(path("server.pem"), path("server.key"))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        s, _ = self.listener.accept()
        self.listener.close()
        s.settimeout(LIMIT)
        s = self.context.wrap_socket(s, server_side=True)
        s.recv(10000)
        s.sendall(self.answer)
        if self.goodbye:
            with contextlib.suppress(OSError):
                s.unwrap()
        socket.socket(fileno=s.detach()).close()

def get_to_the_end(world):
    """A body without a length ends with its server's word, and with nothing else."""
    for goodbye, status in ((True, 0), (False, 56)):
        speaker = Speaker(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 50000, goodbye)
        said = get_is(world, status, b"x" * 50000, f"https://localhost:{speaker.port}/")
        true(goodbye or b"ended before" in said, f"{said!r}")
        speaker.join(LIMIT)

def get_from_nginx(world, port, page):
    for _ in range(3):
        get_is(world, 0, page, f"https://localhost:{port}/page")

# ---- load --------------------------------------------------------------------------------------------

def loaded(world, port):
    for size in ("1", "1000", "100000"):
        done = run(f"{BUILD}/perf/load", "--connect", f"127.0.0.1:{port}", "--tls", "--connections", "10", "--size",
                   size, "--seconds", "0.3", "--backend", world, "--depth", "3")
        equal((done.returncode, done.stderr), (0, b""), f"load, size {size}")

def handshakes(world, port, fresh):
    """The first of a config is a full one, and each after it goes on: load takes any other for an error."""
    done = run(f"{BUILD}/perf/load", "--connect", f"127.0.0.1:{port}", "--churn", "handshake", "--connections", "1",
               "--seconds", "0.2", "--warmup", "0", "--backend", world, *(() if fresh else ("--resume",)))
    equal((done.returncode, done.stderr), (0, b""), f"handshakes, each {'new' if fresh else 'going on'}")

def resumed_by_us(world):
    keys = f"ssl_certificate {path('server.pem')}; ssl_certificate_key {path('server.key')}; return 204;"
    for version, option in (("TLSv1.2", "-tls1_2"), ("TLSv1.3", "-tls1_3")):
        for fresh in (False, True):
            with s_server("server", option) as port:
                handshakes(world, port, fresh)
            with nginx(path("resumed"), f"ssl_protocols {version}; {keys}", "ssl") as port:
                handshakes(world, port, fresh)

# ---- The suite ---------------------------------------------------------------------------------------

def usage(world):
    for args in (("--tls-key", path("server.key")), ("--tls-cert", path("none")), ("--tls-cert", path("server.pem")),
                 ("--tls-cert", path("server.pem"), "--tls-key", path("ca.key"))):
        done = run(f"{BUILD}/perf/echo", "--listen", "127.0.0.1:0", "--backend", world, *args)
        true(done.returncode == 1 and done.stderr.startswith(b"TLS: "), f"{args}: {done.returncode} {done.stderr!r}")

def cases(top):
    root = os.path.join(top, "root")
    os.makedirs(root)
    page = os.urandom(3 << 20)
    with open(os.path.join(root, "page"), "wb") as f:
        f.write(page)
    os.mkdir(os.path.join(top, "pki"))
    make_pki(os.path.join(top, "pki"))
    shutil.copy(os.path.join(root, "page"), path("page"))
    for world in WORLDS:
        def on(function, *args, name=None):
            case(f"{name or function.__name__} {world}", function, *args)
        on(usage, world)
        with ours(world, "echo") as process:
            on(echo_python, process.port, ssl.TLSVersion.TLSv1_2, name="echo_python_1_2")
            on(echo_python, process.port, ssl.TLSVersion.TLSv1_3, name="echo_python_1_3")
            for function in (echo_half_closed, echo_resumed_python, echo_cut, accepted, refused, renegotiated, new_keys,
                             resumed, half_open, crowd, flood_of_handshakes):
                on(function, process.port)
            on(loaded, world, process.port)
        with ours(world, "http", "--root", root) as process:
            on(http_curl, process.port, page)
            on(http_behind_nginx, process.port, page)
            on(get_from_http, world, process.port, page)
        on(get_from_s_server, world)
        on(get_believes, world)
        on(resumed_by_us, world)
        on(get_to_the_end, world)
        server = f"ssl_certificate {path('server.pem')}; ssl_certificate_key {path('server.key')}; root {root};"
        with nginx(path("behind"), server, "ssl") as port:
            on(get_from_nginx, world, port, page)

run_suite(cases)
