"""Clients that send half a request, endless bodies, or do not read: others notice nothing. A real server process."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from acceptance.test_server import more
from support import bus
from support.servers import processes_of
from support.users import User, update

from rebuilder.demo.process import free_port
from rebuilder.web import limits, sse

HALF_OPEN, HUGE = 1100, 400_000_000
HEAD = "{method} {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n"
LOG = "/api/v1/images/base:f42/log"
MOST_GROWTH = 500_000_000
PATIENCE = 20.0  # seconds: how soon others are answered is a benchmark's affair; a hang is longer than this


class Site:
    def __init__(self, url: str, port: int, pid: int) -> None:
        self.url, self.port, self.pid = url, port, pid

    @property
    def memory(self) -> int:
        """Bytes that the process has in memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * resource.getpagesize()

    def connect(self, received: int = 0) -> socket.socket:
        """With so small a buffer for what is received that it is soon full."""
        client = socket.socket()
        client.settimeout(10)
        if received:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received)
        client.connect(("127.0.0.1", self.port))
        return client

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Inside the block others are answered, and the process does not grow beyond what it may."""
        before, faults, end = self.memory, [], threading.Event()
        asked = 0

        def ask() -> None:
            nonlocal asked
            while not end.is_set():
                for path in ("/health/live", "/api/v1/images", "/"):
                    try:
                        code = httpx.get(f"{self.url}{path}", timeout=PATIENCE).status_code
                    except httpx.HTTPError as error:
                        faults.append(f"{path}: {error!r}")
                        continue
                    asked += 1
                    if code != 200:
                        faults.append(f"{path}: {code}")
                if self.memory > before + MOST_GROWTH:
                    faults.append(f"{(self.memory - before) / 1e6:.0f} MB more")
                time.sleep(0.1)

        asker = threading.Thread(target=ask)
        asker.start()
        try:
            yield
        finally:
            end.set()
            asker.join()
        assert not faults, faults[:5]
        assert asked >= 3, "each path was answered while others sent"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server, a process of its own, with a log that makes an answer of 6 MB: Linux takes almost 3 MB of it itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    user = User(tmp_path_factory.mktemp("slow"))
    user.types("inventory", "sync")
    user.types("replay", "-", stdin=update())
    user.types("run", "--until-idle")
    (ref, *_) = [rebuild["ref"] for rebuild in user.reads("wave", "1")["rebuilds"]]
    folder = user.folder / "builds" / ref
    folder.mkdir(parents=True)
    (folder / "log").write_text("\x01" * 1_100_000)
    port = free_port()
    user.configure(more=f"{more(port)}\nbuildah = {{state = '{user.folder}/builds'}}")
    path = user.folder / "config.toml"
    path.write_text(path.read_text().replace('builder = "simulated"', 'builder = "buildah"'))
    from acceptance.test_server import serving

    with serving(user) as url:
        (pid,) = [pid for pid in processes_of(user.folder) if b"web" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(httpx.get(url + LOG, timeout=30).content) > 6_000_000
        yield Site(url, port, pid)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def head(path: str, method: str = "GET", more: str = "") -> bytes:
    return HEAD.format(method=method, path=path, more=more).encode()


def test_half_a_request_of_each_of_1100_changes_nothing_for_others(site: Site) -> None:
    with ExitStack() as stack, site.undisturbed():
        for _ in range(HALF_OPEN):
            stack.enter_context(site.connect()).sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        time.sleep(3)


@pytest.mark.parametrize(
    ("method", "path", "headers", "chunk"),
    [
        ("POST", "/api/v1/actions", f"Content-Length: {HUGE}\r\n", b"x" * 1_000_000),
        ("POST", "/api/v1/plan", "Transfer-Encoding: chunked\r\n", b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n"),
        ("GET", "/", "Transfer-Encoding: chunked\r\n", b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n"),
        ("GET", "/health/live", f"Content-Length: {HUGE}\r\n", b"x" * 1_000_000),
        ("POST", "/nowhere", "Transfer-Encoding: chunked\r\n", b"f4240\r\n" + b"x" * 1_000_000 + b"\r\n"),
    ],
)
def test_bodies_of_400_megabytes_change_nothing_for_others(
    site: Site, method: str, path: str, headers: str, chunk: bytes
) -> None:
    sent: list[int] = []

    def send() -> None:
        with site.connect() as client, suppress(OSError):
            client.sendall(head(path, method, headers))
            for _ in range(HUGE // 1_000_000):
                client.sendall(chunk)
                sent.append(1)

    senders = [threading.Thread(target=send) for _ in range(4)]
    with site.undisturbed():
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(20)
            assert not sender.is_alive()
        time.sleep(0.5)


def slow_readers(site: Site, path: str, count: int, at_once: int) -> tuple[ExitStack, list[socket.socket]]:
    """Clients that have asked, some at a time: to make so many answers takes a while, whether they are read or not."""
    stack = ExitStack()
    clients = []
    for number in range(count):
        client = stack.enter_context(site.connect(received=4096))
        client.sendall(head(path))
        clients.append(client)
        if number % at_once == 0:
            time.sleep(0.15)
    return stack, clients


@pytest.mark.parametrize(
    ("path", "count", "at_once"), [(f"{LOG}?offset=1000000", 600, 10), (LOG, 200, 4)], ids=["places", "memory"]
)
def test_many_who_read_a_byte_a_second_change_nothing_for_others(
    site: Site, path: str, count: int, at_once: int
) -> None:
    """600 of 600 kB take all places; 200 of 6 MB would take 1.2 GB."""
    with site.undisturbed():
        stack, clients = slow_readers(site, path, count, at_once)
        with stack:
            for _ in range(4):
                for client in clients:
                    with suppress(OSError):
                        client.settimeout(0.001)
                        client.recv(1)
                time.sleep(1)
    assert ended_within(site, 30)


def test_who_reads_slowly_but_reads_has_the_whole_answer(site: Site) -> None:
    with site.connect(received=4096) as client:
        client.sendall(head(LOG, more="Connection: close\r\n"))
        read = 0
        began = time.monotonic()
        while part := client.recv(8192):
            read += len(part)
            if time.monotonic() < began + limits.READ_SECONDS + 3:
                time.sleep(0.15)  # 50 kB a second
    assert read > 6_000_000
    assert time.monotonic() > began + limits.READ_SECONDS


def test_a_thousand_who_listen_change_nothing_for_others(site: Site) -> None:
    with site.undisturbed():
        stack, clients = slow_readers(site, "/live", 1000, 40)
        with stack:
            time.sleep(3)
            answers = [first_line(client) for client in clients]
    assert 0 < answers.count(b"HTTP/1.1 200 OK") <= sse.MOST_LISTENERS
    assert ended_within(site, 30)


def first_line(client: socket.socket) -> bytes:
    client.settimeout(0.05)
    try:
        return client.recv(65536).partition(b"\r\n")[0]
    except OSError:
        return b""


def ended_within(site: Site, seconds: float) -> bool:
    """Whether all places are free again, and soon."""
    return bool(bus.until(lambda: open_connections(site) == 0, 0.2, seconds))


def open_connections(site: Site) -> int:
    """Established connections at the server's port, on its side."""
    wanted = f":{site.port:04X}"
    found = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        found += local.endswith(wanted) and state == "01"
    return found

