"""The servers that perf/bench measures, and how each is started: on one core, on a port that the kernel chooses."""
import collections
import contextlib
import multiprocessing
import os
import re
import resource
import shutil
import socket
import subprocess
import tempfile
import time

FILES = 262144          # descriptors, where root may ask for them
WORLDS = {"uring": "io_uring", "epoll": "epoll"}
PAGE = b"Hello, world!\n"
# As little as nginx and haproxy can do: one worker, no log, nothing asked of the file system again and again.
NGINX = """
worker_processes 1;
daemon off;
pid {top}/pid;
error_log {top}/error.log;
events {{ worker_connections 65536; }}
http {{
    access_log off;
    server_tokens off;
    default_type text/plain;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    open_file_cache max=1000 inactive=600s;
    open_file_cache_valid 600s;
    client_body_temp_path {top}/body;
    proxy_temp_path {top}/proxy;
    fastcgi_temp_path {top}/fastcgi;
    uwsgi_temp_path {top}/uwsgi;
    scgi_temp_path {top}/scgi;
    server {{ {server} }}
}}
"""
NGINX_PLAIN = "listen 127.0.0.1:{port} backlog=4096;"
NGINX_TLS = """listen 127.0.0.1:{port} ssl backlog=4096;
        ssl_certificate {cert};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_ecdh_curve X25519:prime256v1:secp384r1;
        ssl_session_tickets on;"""
NGINX_RETURNS = "location / {{ return 200 'Hello, world!\\n'; }}"
NGINX_SENDS = "root {root}; sendfile on; tcp_nopush on;"
NGINX_READS = "root {root}; sendfile off;"
HAPROXY = """
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 600s
    timeout client 600s
    timeout server 600s
frontend all
    bind 127.0.0.1:{port} backlog 4096
    http-request return status 200 content-type text/plain string "Hello, world!\\n"
"""

Server = collections.namedtuple("Server", "name pid port")

def pinned(core, *args):
    return ("taskset", "-c", str(core), *args) if os.cpu_count() > 1 else args

def more_files():
    """Descriptors for ten thousand connections to each of several servers. Result: how many there may be."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for limit in (FILES, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, max(limit, hard)))
            return limit
        except (ValueError, OSError):
            pass
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]

def make_key(top, name, *how):
    """Result: the files of a certificate and its key."""
    cert, key = os.path.join(top, f"{name}.pem"), os.path.join(top, f"{name}.key")
    subprocess.run(("openssl", "req", "-x509", *how, "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj",
                    "/CN=localhost"), check=True, capture_output=True)
    return cert, key

class Servers(list):
    """Those that run, until the end of the with block. One that cannot be started is named and left out."""
    def __init__(self, build, top, core=0):
        super().__init__()
        self.build, self.top, self.core, self.processes = build, top, core, []

    def __enter__(self):
        return self

    def __exit__(self, *why):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)

    def popen(self, args, **more):
        process = subprocess.Popen(pinned(self.core, *args), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   **more)
        self.processes.append(process)
        return process

    def left_out(self, name, why):
        print(f"left out: {name}: {why}", flush=True)

    def program(self, name, program, *args):
        """One of ours: it listens where it likes, and says where."""
        path = f"{self.build}/perf/{program}"
        if not os.path.exists(path):
            return self.left_out(name, f"{program} is not built (make deps-bench peers)")
        process = self.popen((path, *args, "--listen", "127.0.0.1:0"), stdout=subprocess.PIPE)
        line = process.stdout.readline().decode()
        if not line.startswith("listening on "):
            return self.left_out(name, f"{program} does not start")
        return self.append(Server(name, process.pid, int(line.split()[2].rsplit(":", 1)[1])))

    def configured(self, name, program, serves, text, *args, **values):
        """One of theirs: it is told where to listen, by a file in a directory of its own. serves(pid): who does."""
        path = shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin")
        if not path:
            return self.left_out(name, f"there is no {program} (make deps-bench)")
        top, port = tempfile.mkdtemp(dir=self.top), free_port()
        os.chmod(top, 0o755)    # its worker may be another user
        conf = os.path.join(top, "conf")
        with open(conf, "w", encoding="ascii") as file:
            file.write(text.format(top=top, port=port, **values))
        process = self.popen((path, *(arg.format(top=top, conf=conf) for arg in args)), stdout=subprocess.DEVNULL)
        pid = in_time(listens, port) and in_time(serves, process.pid)
        if not pid:
            return self.left_out(name, f"{program} does not start")
        return self.append(Server(name, pid, port))

    def nginx(self, name, listen, serve, **values):
        text = NGINX.replace("{server}", listen + " " + serve)
        self.configured(name, "nginx", only_child, text, "-c", "{conf}", "-e", "{top}/error.log", **values)

    def haproxy(self, name):
        self.configured(name, "haproxy", itself, HAPROXY, "-db", "-f", "{conf}")

def in_time(ask, *about):
    """What it says once that is something; None if it is not in time."""
    for _ in range(200):
        if answer := ask(*about):
            return answer
        time.sleep(0.02)
    return None

def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False

def itself(pid):
    return pid

def only_child(pid):
    """A worker is forked after its master listens, perhaps some time after."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        children = file.read().split()
    return children and int(children[0])

# ---- Connections that wait ----------------------------------------------------------------------------

def hold(port, count, pipe):
    """Connections that have had one exchange, from many addresses, since each has no more than 28,000 ports."""
    sockets = []
    for i in range(count):
        sockets.append(socket.create_connection(("127.0.0.1", port), 20, (f"127.0.0.{2 + i % 100}", 0)))
        sockets[-1].sendall(b"silent from now on")
    for s in sockets:
        s.recv(100)
    pipe.send(True)
    pipe.recv()

@contextlib.contextmanager
def silent(servers, count):
    """So many for each server as long as the with block, each in a process of its own: descriptors are per process."""
    pipes = []
    with contextlib.ExitStack() as stack:
        for server in servers:
            ours, theirs = multiprocessing.Pipe()
            holder = multiprocessing.Process(target=hold, args=(server.port, count, theirs))
            holder.start()
            stack.callback(holder.join)
            stack.callback(holder.terminate)
            pipes.append(ours)
        for pipe in pipes:
            if not pipe.poll(60):
                raise RuntimeError(f"{count} connections take too long")
            pipe.recv()
        yield

def charged(group):
    """Bytes of the kernel's that a group of processes has been charged with."""
    for name, pattern in (("memory.kmem.usage_in_bytes", r"(\d+)"), ("memory.stat", r"(?m)^kernel (\d+)$")):
        path = os.path.join(group, name)
        if os.path.exists(path):
            with open(path, encoding="ascii") as file:
                return int(re.search(pattern, file.read()).group(1))
    raise FileNotFoundError(f"{group} does not count memory")

def move(pid, group):
    with open(os.path.join(group, "cgroup.procs"), "w", encoding="ascii") as file:
        file.write(str(pid))

def in_the_kernel(servers, count):
    """What the kernel charges each server for a silent connection, beyond the same number before. Result: as compare's;
    {} where a process's part is not counted."""
    top = "/sys/fs/cgroup/memory" if os.path.isdir("/sys/fs/cgroup/memory") else "/sys/fs/cgroup"
    groups = [(server.pid, os.path.join(top, f"weir-bench-{server.pid}")) for server in servers]
    try:
        for pid, group in groups:
            os.mkdir(group)
            move(pid, group)
        with silent(servers, count):
            before = [charged(group) for _, group in groups]
            with silent(servers, count):
                grown = [charged(group) - size for (_, group), size in zip(groups, before)]
        return {server.name: {"idle_bytes_each": size / count} for server, size in zip(servers, grown)}
    except (OSError, AttributeError) as why:
        print(f"left out: what idle connections take in the kernel: {why}", flush=True)
        return {}
    finally:
        for pid, group in groups:
            if os.path.isdir(group):
                move(pid, top)
                os.rmdir(group)

# ---- Who is measured ----------------------------------------------------------------------------------

def weir(run, program, *args):
    for world, says in WORLDS.items():
        run.program(f"weir, {says}", program, "--backend", world, *args)

def by_hand(run, *args):
    run.program("by hand, epoll", "peer_epoll", *args)
    run.program("by hand, io_uring", "peer_uring", *args)

def echoes(run):
    by_hand(run)
    weir(run, "echo")

def echoes_and_rivals(run):
    echoes(run)
    run.program("libuv, try", "peer_libuv", "--write", "try")
    run.program("libuv, queue", "peer_libuv", "--write", "queue")
    run.program("libevent", "peer_libevent")
    run.program("Asio, epoll", "peer_asio")
    run.program("Asio, io_uring", "peer_asio_uring")

def lines(run, world):
    run.program("weir_read_start", "echo", "--backend", world)
    run.program("weir_read_until", "echo", "--backend", world, "--lines")

def pages(run, root):
    by_hand(run, "--http")
    weir(run, "http", "--root", root)
    run.nginx("nginx, return", NGINX_PLAIN, NGINX_RETURNS)
    run.nginx("nginx, read", NGINX_PLAIN, NGINX_READS, root=root)
    run.nginx("nginx, sendfile", NGINX_PLAIN, NGINX_SENDS, root=root)
    run.haproxy("haproxy, return")

def tls_echoes(run, cert, key):
    pair = ("--tls-cert", cert, "--tls-key", key)
    run.program("by hand, epoll", "peer_tls", *pair)
    run.program("by hand, reading ahead", "peer_tls", "--ahead", *pair)
    weir(run, "echo", *pair)

def handshakes(run, cert, key):
    pair = ("--tls-cert", cert, "--tls-key", key)
    run.nginx("nginx", NGINX_TLS, NGINX_RETURNS, cert=cert, key=key)
    run.program("by hand, epoll", "peer_tls", *pair)
    weir(run, "echo", *pair)

def tls_pages(run, root, cert, key):
    run.nginx("nginx, return", NGINX_TLS, NGINX_RETURNS, cert=cert, key=key)
    weir(run, "http", "--root", root, "--tls-cert", cert, "--tls-key", key)
