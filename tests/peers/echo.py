#!/usr/bin/env python3
"""The echo server from outside: against plain sockets and nc, on io_uring and on epoll.

    tests/peers/echo.py BUILD

Keeps the plain protocol: "ok NAME" or "not ok NAME: why" for each case, and "N passed, N failed" at the end.
A server that exits with anything but 0 after SIGTERM, or prints more than its one line, fails its case."""
import contextlib
import fcntl
import os
import random
import re
import resource
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time

MIB = 1 << 20
WAIT = 20               # seconds that nothing may happen, or that a condition may take to come true
CROWD = 3000
WORLDS = {'uring': 'io_uring', 'epoll': 'epoll'}
program = None


class Failure(Exception):
    """What a case found, in one line."""


def check(good, why):
    if not good:
        raise Failure(why)


def same(got, want, where=''):
    if got == want:
        return
    at = next((i for i, pair in enumerate(zip(got, want)) if pair[0] != pair[1]), min(len(got), len(want)))
    raise Failure(f'{where}{len(got)} bytes of {len(want)} came back, and the first that differs is byte {at}')


def wait_until(condition, what):
    end = time.monotonic() + WAIT
    while not condition():
        check(time.monotonic() < end, f'never came true: {what}')
        time.sleep(0.005)


# ---- The server ---------------------------------------------------------------------------------

class Server:
    """A server that runs as long as the with block, and must then end in good order."""

    def __init__(self, backend, listen='127.0.0.1:0', *options, files=None):
        self.backend, self.listen, self.options, self.files, self.address = backend, listen, options, files, None

    def __enter__(self):
        self.process = subprocess.Popen(
            [program, '--listen', self.listen, '--backend', self.backend, *self.options], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=self.limit)
        try:
            self.read_address()
        except BaseException:
            self.kill()
            raise
        return self

    def limit(self):
        if self.files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.files, self.files))

    def read_address(self):
        line = b''
        while not line.endswith(b'\n'):
            check(select.select([self.process.stdout], [], [], WAIT)[0], 'it does not say where it listens')
            piece = os.read(self.process.stdout.fileno(), 4096)
            if not piece:
                raise Failure(f'it ended at once: {line + self.process.stderr.read()!r}')
            line += piece
        where = re.escape(self.listen[:-1]) + '([1-9][0-9]*)' if self.listen.endswith(':0') else re.escape(self.listen)
        found = re.fullmatch(f'listening on {where} \\(world: {WORLDS[self.backend]}\\)\n', line.decode())
        check(found, f'its first line is {line!r}')
        self.address = self.listen if not found.groups() else ('127.0.0.1', int(found.group(1)))

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.terminate()
                self.ended_well()
        finally:
            self.kill()

    def terminate(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def ended_well(self):
        out, err = self.process.communicate(timeout=WAIT)
        check(self.process.returncode == 0, f'its exit status is {self.process.returncode}')
        check(not out, f'it printed more than its first line: {out!r}')
        check(not err, f'on stderr: {err!r}')

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def connect(self, receive_buffer=0):
        s = socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET)
        s.settimeout(WAIT)
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.connect(unix_path(self.address) if isinstance(self.address, str) else self.address)
        return s

    def files_open(self):
        return len(os.listdir(f'/proc/{self.process.pid}/fd'))

    def memory(self):
        with open(f'/proc/{self.process.pid}/status', encoding='ascii') as status:
            return int(re.search(r'^VmRSS:\s*(\d+) kB$', status.read(), re.M).group(1)) * 1024

    def stat(self):
        with open(f'/proc/{self.process.pid}/stat', encoding='ascii') as stat:
            return stat.read().rpartition(')')[2].split()

    def cpu_seconds(self):
        return sum(int(ticks) for ticks in self.stat()[11:13]) / os.sysconf('SC_CLK_TCK')

    def tcp_row(self, peer):
        """The kernel's line on the socket whose peer has this port, or on the listening one: state, unread."""
        ends = [f'0100007F:{self.address[1]:04X}', f'0100007F:{peer:04X}' if peer else '00000000:0000']
        with open('/proc/net/tcp', encoding='ascii') as table:
            rows = [row for row in map(str.split, table) if row[1:3] == ends]
        if len(rows) != 1:  # gone, or missed because the table changed meanwhile
            return '01', 1
        return rows[0][3], int(rows[0][4].partition(':')[2], 16)

    def backlog(self):
        return self.tcp_row(0)[1]

    def has_read_all(self, s):
        """True if everything that came on this connection has been read, and it sleeps again."""
        if s.family == socket.AF_UNIX:
            unread = struct.unpack('i', fcntl.ioctl(s, termios.TIOCOUTQ, bytes(4)))[0]
        else:
            state, unread = self.tcp_row(s.getsockname()[1])
            unread += state == '01'     # the FIN has not come
        return unread == 0 and self.stat()[0] == 'S'


def unix_path(address):
    path = address[len('unix:'):]
    return '\0' + path[1:] if path.startswith('@') else path


def run_to_end(*arguments):
    done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=WAIT, check=False)
    return done.returncode, done.stdout, done.stderr


# ---- Talking to it ------------------------------------------------------------------------------

class Talk:
    """One side of a connection: sends data in odd pieces, and collects what comes back."""

    def __init__(self, s, data, rng):
        self.s, self.data, self.rng = s, memoryview(data), rng
        self.sent, self.got = 0, bytearray()
        s.setblocking(False)

    def send(self):
        """True while there is more to send."""
        size = self.rng.randrange(1 << self.rng.randrange(1, 19)) | 1
        self.sent += self.s.send(self.data[self.sent:self.sent + size])
        return self.sent < len(self.data)

    def receive(self):
        """True while there is more to come."""
        piece = self.s.recv(self.rng.randrange(1, 1 << 18))
        self.got += piece
        return piece and len(self.got) < len(self.data)


def converse(talks):
    """All of them at once, until everything came back on each."""
    with selectors.DefaultSelector() as selector:
        for talk in talks:
            selector.register(talk.s, selectors.EVENT_READ | selectors.EVENT_WRITE, talk)
        while selector.get_map():
            ready = selector.select(WAIT)
            check(ready, f'stuck with {len(selector.get_map())} of {len(talks)} connections')
            for key, events in ready:
                if events & selectors.EVENT_WRITE and not key.data.send():
                    selector.modify(key.fileobj, selectors.EVENT_READ, key.data)
                if events & selectors.EVENT_READ and not key.data.receive():
                    selector.unregister(key.fileobj)
    for i, talk in enumerate(talks):
        same(talk.got, talk.data, f'connection {i}: ')


def read_bytes(s, count=sys.maxsize):
    """As many as that, or up to the end."""
    got = bytearray()
    while len(got) < count and (piece := s.recv(min(count - len(got), 1 << 18))):
        got += piece
    return bytes(got)


def echoes(s, text):
    s.sendall(text)
    same(read_bytes(s, len(text)), text)


class Sockets(list):
    """A list of sockets that the with block closes."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self:
            s.close()


# ---- Data ---------------------------------------------------------------------------------------

def big_in_odd_pieces(backend, rng):
    with Server(backend) as server, server.connect() as s:
        converse([Talk(s, rng.randbytes(8 * MIB), rng)])


def half_close(backend, rng):
    data = rng.randbytes(MIB)
    for listen in ('127.0.0.1:0', abstract(backend)):
        with Server(backend, listen) as server, server.connect() as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            same(read_bytes(s), data)


def send_until_stuck(s, data):
    """As much as the other side and the kernel take while nobody reads."""
    sent = 0
    while sent < len(data) and select.select([], [s], [], 0.5)[1]:
        sent += s.send(data[sent:sent + (1 << 16)], socket.MSG_DONTWAIT)
    return sent


def whole_lines(backend, rng):
    """What comes is cut anywhere, and goes back a line at a time; what no newline ends does not."""
    text = b'\n'.join(rng.randbytes(rng.randrange(200)).replace(b'\n', b'') for _ in range(50000))
    whole, rest = text[:text.rindex(b'\n') + 1], text[text.rindex(b'\n') + 1:] + b'no newline'
    with Server(backend, '127.0.0.1:0', '--lines') as server:
        with server.connect() as s:
            converse([Talk(s, whole, rng)])
            s.settimeout(WAIT)
            s.sendall(rest)
            s.shutdown(socket.SHUT_WR)
            same(read_bytes(s), b'')
        with server.connect() as s:
            s.sendall(b'x' * 65537)
            same(read_bytes(s), b'', 'no line is so long: ')


def slow_reader(backend, rng):
    data = memoryview(rng.randbytes(32 * MIB))
    got = bytearray()
    with Server(backend) as server, server.connect(receive_buffer=4096) as s:
        before = server.memory()
        sent = send_until_stuck(s, data)
        grown = server.memory() - before
        check(grown < 16 * MIB, f'it holds {grown} bytes for a client that does not read')
        check(sent < len(data), 'it took everything from a client that does not read')
        while len(got) < sent and (piece := s.recv(min(rng.randrange(1, 3000), sent - len(got)))):
            got += piece
        same(got, data[:sent])


def sixteen_at_once(backend, rng):
    with Server(backend) as server, Sockets(server.connect() for _ in range(16)) as sockets:
        converse([Talk(s, rng.randbytes(MIB), rng) for s in sockets])


def byte_by_byte(backend, rng):
    with Server(backend) as server, server.connect() as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in rng.randbytes(2000):
            echoes(s, bytes([byte]))


def through_nc(backend, rng):
    data = rng.randbytes(MIB)
    with Server(backend) as server:
        done = subprocess.run(['nc', '-N', '127.0.0.1', str(server.address[1])], input=data,
                              capture_output=True, timeout=WAIT, check=False)
        check(done.returncode == 0, f'nc says {done.stderr!r}')
        same(done.stdout, data)


# ---- Many connections ---------------------------------------------------------------------------

def leave(s, way):
    if way == 0:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    elif way == 1:
        s.shutdown(socket.SHUT_WR)
        same(read_bytes(s), b'', 'after the half-close: ')
    s.close()


def crowd_comes_and_goes(server, before):
    with Sockets() as sockets:
        for i in range(CROWD):
            sockets.append(server.connect())
            sockets[-1].sendall(b'this is number %d' % i)
        for i, s in enumerate(sockets):
            same(read_bytes(s, len(b'this is number %d' % i)), b'this is number %d' % i, f'connection {i}: ')
        check(server.files_open() == before + CROWD, f'it has {server.files_open()} files open for {CROWD} clients')
        for i, s in enumerate(sockets):
            leave(s, i % 3)
    wait_until(lambda: server.files_open() == before, f'back to {before} open files from {server.files_open()}')
    return server.memory()


def crowd(backend, _):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    check(hard == resource.RLIM_INFINITY or hard >= 8192, f'the hard limit on open files is {hard}; 8192 are needed')
    with Server(backend) as server:
        before = server.files_open()
        first = crowd_comes_and_goes(server, before)
        second = crowd_comes_and_goes(server, before)
        check(second <= first + MIB, f'its memory grew from {first} to {second} bytes in the second round')


def answered(sockets, text):
    """How many have got their answer by now. The others wait, or were shed."""
    count = 0
    for s in select.select(sockets, [], [], 0)[0]:
        with contextlib.suppress(ConnectionError):
            count += s.recv(len(text), socket.MSG_PEEK) == text
    return count


def meet_the_limit(server, text):
    """A hundred clients for forty files: the first are served; the others wait, at no cost, until those leave."""
    with Sockets(server.connect() for _ in range(100)) as sockets:
        early, rest = sockets[:25], sockets[25:]
        for s in early:
            echoes(s, text)
        wait_until(lambda: server.backlog() > 0 and server.files_open() >= 39, 'it meets the limit on files')
        before = server.cpu_seconds()
        time.sleep(1)
        spent = server.cpu_seconds() - before
        check(spent < 0.5, f'it spent {spent} s of 1 s while it could not accept')
        for s in early:
            echoes(s, text)
            s.close()
        for s in rest:
            with contextlib.suppress(ConnectionError):
                s.sendall(text)
        wait_until(lambda: answered(rest, text) >= len(early), 'as many as left are served')


def limit_on_files(backend, _):
    with Server(backend, files=40) as server:
        before = server.files_open()
        meet_the_limit(server, b'one of many')
        wait_until(lambda: server.backlog() == 0 and server.files_open() == before, 'all have left')
        with Sockets(server.connect() for _ in range(25)) as late:
            for s in late:
                echoes(s, b'came later')


# ---- Life ---------------------------------------------------------------------------------------

def term_without_clients(backend, _):
    with Server(backend) as server:
        server.terminate()
        server.ended_well()


def term_with_idle_clients(backend, _):
    with Server(backend) as server, Sockets(server.connect() for _ in range(8)) as sockets:
        for s in sockets:
            echoes(s, b'here')
        server.terminate()
        for s in sockets:
            same(read_bytes(s), b'', 'after SIGTERM: ')
            s.close()
        server.ended_well()


def term_before_all_is_read(server, s, data):
    """The server has read it all when SIGTERM comes; the client has sent its FIN and read nothing."""
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
    wait_until(lambda: server.has_read_all(s), 'it has read what was sent')
    server.terminate()
    same(read_bytes(s), data)
    s.close()
    server.ended_well()


def term_while_the_kernel_sends(backend, rng):
    with Server(backend) as server, server.connect(receive_buffer=16384) as s:
        term_before_all_is_read(server, s, rng.randbytes(MIB))


def term_while_bytes_are_queued(backend, rng):
    """The kernel takes less than half of this from the server while the client does not read."""
    with Server(backend, abstract(backend)) as server, server.connect() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        term_before_all_is_read(server, s, rng.randbytes(MIB))


def abstract(backend):
    return f'unix:@weir-echo-{os.getpid()}-{backend}'


def unix_path_address(backend, rng):
    with tempfile.TemporaryDirectory() as directory:
        address = f'unix:{directory}/echo'
        for _ in range(2):      # the second finds the file that the first left
            with Server(backend, address) as server, server.connect() as s:
                converse([Talk(s, rng.randbytes(MIB), rng)])
                refused(address, backend)


def unix_abstract_address(backend, rng):
    with Server(backend, abstract(backend)) as server, server.connect() as s:
        converse([Talk(s, rng.randbytes(MIB), rng)])
        refused(abstract(backend), backend)


# ---- The command line ---------------------------------------------------------------------------

def refused(address, backend):
    status, out, err = run_to_end('--listen', address, '--backend', backend)
    check(status == 1, f'{address}: exit status {status}')
    check(not out, f'{address}: on stdout: {out!r}')
    check(re.fullmatch(re.escape(address) + ': [^\n]+\n', err), f'{address}: on stderr: {err!r}')
    return err


def address_in_use(backend, _):
    with Server(backend) as server:
        err = refused('%s:%d' % server.address, backend)
        check(err.endswith(': Address already in use\n'), f'on stderr: {err!r}')


def bad_address(backend, _):
    for address in ('nonsense', '127.0.0.1', '127.0.0.1:99999', '127.0.0.1:-1', '256.0.0.1:80', '[::1:80',
                    'no.such.name:80', 'unix:', 'unix:@', 'unix:/' + 200 * 'x', 'unix:/no/such/directory/at/all',
                    '192.0.2.1:80', ':80', ''):
        refused(address, backend)


def bad_option(backend, _):
    for arguments in (['--nonsense'], ['extra'], ['--listen'], ['--backend'], ['--backend', 'iocp'],
                      ['--root', '.'], ['--backend', backend, '']):
        status, out, err = run_to_end(*arguments)
        check(status == 2, f'{arguments}: exit status {status}')
        check(not out, f'{arguments}: on stdout: {out!r}')
        check(f'\nusage: {program} ' in err, f'{arguments}: on stderr: {err!r}')


def help_option(backend, _):
    for arguments in (['--help'], ['--backend', backend, '--help']):
        status, out, err = run_to_end(*arguments)
        check(status == 0, f'{arguments}: exit status {status}')
        check(out.startswith(f'usage: {program} '), f'{arguments}: on stdout: {out!r}')
        check(not err, f'{arguments}: on stderr: {err!r}')


# ---- Running them -------------------------------------------------------------------------------

CASES = [big_in_odd_pieces, half_close, whole_lines, slow_reader, sixteen_at_once, byte_by_byte, through_nc, crowd,
         limit_on_files, term_without_clients, term_with_idle_clients, term_while_the_kernel_sends,
         term_while_bytes_are_queued, unix_path_address, unix_abstract_address, address_in_use, bad_address,
         bad_option, help_option]


def run(case, backend):
    name = f'{backend} {case.__name__}'
    try:
        case(backend, random.Random(name))
    except (Failure, OSError, subprocess.SubprocessError) as why:
        print(f'not ok {name}: {why or type(why).__name__}', flush=True)
        return False
    print(f'ok {name}', flush=True)
    return True


def main():
    global program
    if len(sys.argv) != 2:
        sys.exit('usage: tests/peers/echo.py BUILD')
    program = os.path.join(sys.argv[1], 'perf', 'echo')
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    results = [run(case, backend) for backend in WORLDS for case in CASES]
    print(f'{results.count(True)} passed, {results.count(False)} failed')
    sys.exit(0 if all(results) else 1)


if __name__ == '__main__':
    main()
