"""The command's processes, forked from one that has loaded it: that takes seconds, and a fork some milliseconds.

What comes of it is a process as any other: a child of the one that asked, with a pid, standard streams, an environment,
a working directory and signals of its own. It is *executed* instead where its start is the point (`executed`), and
wherever a fork could differ: another interpreter, another user, variables that Python reads as it starts, more than
the three standard streams, a measured coverage.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import io
import os
import pickle
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, TextIO

ROOT = Path(__file__).parents[2]
MODULES = frozenset({"rebuilder", "rebuilder.cli.consume"})
CONSUMER = str(Path(sys.executable).with_name("fedora-messaging"))  # a script
STARTING = frozenset({"engine", "run"})  # verbs that start processes of the command themselves, but
ALONE = "--without-publisher"
AS_DEMO = frozenset({"demo"})  # it shows how the command starts
# What they use. Not Twisted's reactor and nothing with threads: neither outlives a fork.
LOADED = (
    "alembic.config", "anyio._backends._asyncio", "consumers", "fedora_messaging.message",
    "fedora_messaging.schema_utils", "koji", "pika", "psycopg", "rebuilder.builders.plugins.buildah",
    "rebuilder.builders.plugins.koji", "rebuilder.builders.plugins.osbs", "rebuilder.builders.plugins.simulated",
    "rebuilder.cli.daemons", "rebuilder.cli.databases", "rebuilder.engine.publisher",
    "rebuilder.inventory.sources.containerfiles", "rebuilder.inventory.sources.file",
    "rebuilder.inventory.sources.koji", "rebuilder.inventory.sources.registry", "rebuilder.web.server",
    "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite",
    "twisted.internet.asyncioreactor", "twisted.internet.endpoints", "twisted.internet.ssl", "twisted.web.server",
    "uvicorn.lifespan.on", "uvicorn.loops.asyncio",
)  # fmt: skip
LOADER = "import sys; paths = sys.path[:]; sys.path[:] = {paths!r}; from support import forks; forks.main(paths)"
REACTOR = "twisted.internet.reactor"
READ_AT_START = ("COVERAGE_", "LANG", "LC_", "LD_", "MALLOC_", "OPENSSL_", "PYTHON", "TZ")
LARGEST = 1 << 17  # bytes of an order
ROOM = 1 << 15  # bytes, for the arguments and the environment that /proc shows
PATIENCE = 20.0
LOADING = 120.0  # seconds until the first answer at the most; whoever has none executes the command
DIES_WITH_PARENT = ["--pdeathsig", "KILL", "--"]  # of setpriv, as rebuilder.demo.process has it
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

_prctl = ctypes.CDLL(None).prctl
_executes: Any = subprocess._fork_exec  # type: ignore[attr-defined]


class Order(NamedTuple):
    """What to start, and for whom."""

    parent: int
    command: list[str]
    program: str
    words: list[str]
    environment: dict[str, str]
    folder: str
    session: bool
    dies_with_parent: bool


class Starter:
    """Stands where `subprocess` forks and executes."""

    def __init__(self, orders: socket.socket | None = None) -> None:
        """With nothing loaded yet; or at the other end of `orders`, of which there is no second."""
        self.executing = False
        self._orders, self._last = orders, orders is not None
        self._lock = threading.Lock()

    def __call__(self, words: Sequence[Any], *others: Any) -> int:
        """The process id of what was started, in whichever way."""
        order = None if self.executing else _order(words, others)
        if order is not None:
            try:
                with self._lock:
                    return self._fork(order, others)
            except OSError:
                self._orders, self.executing = None, self._last  # it has ended, by a signal to the whole group
        pid: int = _executes(words, *others)
        return pid

    def _fork(self, order: Order, others: tuple[Any, ...]) -> int:
        if self._orders is None:
            self._orders = _loading()
        streams = [given if given >= 0 else usual for given, usual in zip(_streams(others), (0, 1, 2), strict=True)]
        _prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # what its own parent leaves behind becomes our child
        try:
            socket.send_fds(self._orders, [pickle.dumps(order)], streams)
            pid = self._orders.recv(16)
        finally:
            _prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        if not pid:
            raise ConnectionResetError
        return int(pid)


STARTER = Starter()


def install(starter: Starter = STARTER) -> None:
    """From now on, `subprocess` starts the command by a fork."""
    subprocess._fork_exec = starter  # type: ignore[attr-defined]


@contextmanager
def executed() -> Iterator[None]:
    """Inside, the command is executed, as it is where it is installed."""
    STARTER.executing = True
    try:
        yield
    finally:
        STARTER.executing = False


def _streams(others: tuple[Any, ...]) -> tuple[int, int, int]:
    """Standard input, output and errors; -1 for one that is ours."""
    return others[5], others[8], others[10]


def _order(words: Sequence[Any], others: tuple[Any, ...]) -> Order | None:
    """What to fork; None for what is to be executed."""
    command = [os.fsdecode(word) for word in words]
    dies_with_parent = command[1:4] == DIES_WITH_PARENT
    if dies_with_parent:
        command = command[4:]
    environment = _environment(others[4])
    folder = os.fsdecode(others[3] or Path.cwd())
    special = len(others[2]) > 1 or others[15:21] != (-1, None, None, None, -1, None)
    program, *arguments = _program(command)
    if special or not program or not AS_DEMO.isdisjoint(arguments) or not _same(environment, folder):
        return None
    return Order(os.getpid(), command, program, arguments, environment, folder, others[14], dies_with_parent)


def _environment(entries: Sequence[bytes] | None) -> dict[str, str]:
    if entries is None:
        return dict(os.environ)
    return dict(os.fsdecode(entry).split("=", 1) for entry in entries)


def _program(command: list[str]) -> list[str]:
    """The module or the script, and its arguments; an empty name for all that is not loaded."""
    if command[0] == CONSUMER:
        return command
    named = command[:2] == [sys.executable, "-m"] and not MODULES.isdisjoint(command[2:3])
    return command[2:] if named else [""]


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    found = {name: value for name, value in environment.items() if name.startswith(READ_AT_START)}
    others = [path for path in _paths(environment) if Path(path).resolve() not in (ROOT, ROOT / "tests")]
    return found | {"PYTHONPATH": os.pathsep.join(others)}  # these sources are loaded anyway


def _paths(environment: Mapping[str, str]) -> list[str]:
    return [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]


def _same(environment: Mapping[str, str], folder: str) -> bool:
    """Whether Python would start as it did here, and find the same command."""
    measured = any(name.startswith("COVERAGE_") for name in environment)
    return not measured and _read_at_start(environment) == _read_at_start(AT_FIRST) and _finds_the_same(Path(folder))


def _finds_the_same(folder: Path) -> bool:
    there = folder / "rebuilder"
    return folder.is_dir() and (not there.exists() or there.samefile(ROOT / "rebuilder"))


AT_FIRST = dict(os.environ)  # of no test


def _loading() -> socket.socket:
    """Start the process that loads the command; it ends with us."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(LOADING)
    paths = [str(Path(path).absolute()) for path in sys.path]
    with theirs:
        loader = subprocess.Popen(
            [sys.executable, "-c", LOADER.format(paths=paths), str(theirs.fileno()), " " * ROOM], cwd="/",
            stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=AT_FIRST | {"ROOM": " " * ROOM},
        )  # fmt: skip

    def end() -> None:
        ours.close()
        loader.wait()

    atexit.register(end)
    return ours


def main(paths: list[str]) -> None:
    """Load the command, and become what is ordered, each time in a process of its own with these paths of modules."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in LOADED:
        import_module(name)
    assert REACTOR not in sys.modules, f"{REACTOR} is loaded: its epoll would be shared"
    assert len(list(Path("/proc/self/task").iterdir())) == 1, "something that is loaded has threads"
    sys.path[:] = paths
    gc.collect()
    gc.freeze()
    order = _served(socket.socket(fileno=int(sys.argv[1])))
    if not STARTING.isdisjoint(order.words) and ALONE not in order.words:
        order = _beside(order)
    sys.argv[1:] = order.words
    if order.program == CONSUMER:
        sys.path[0] = str(Path(CONSUMER).parent)
        runpy.run_path(CONSUMER, run_name="__main__")
    else:
        sys.path[0] = order.folder
        runpy.run_module(order.program, run_name="__main__", alter_sys=True)


def _beside(order: Order) -> Order:
    """Keep one for what this one will start, when it has threads. It returns there, too, with an order."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(LOADING)
    if os.fork():
        theirs.close()
        install(Starter(ours))
        return order
    ours.close()
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    os.close(nowhere)
    os.chdir("/")
    _show([b"forks"], [])
    return _served(theirs)


def _served(orders: socket.socket) -> Order:
    """Fork for each order; returns in what was forked, with its order."""
    while True:
        message, streams, _, _ = socket.recv_fds(orders, LARGEST, 3)
        if not message:
            os._exit(0)
        told, telling = os.pipe()
        between = os.fork()
        if not between:
            if pid := os.fork():
                os.write(telling, str(pid).encode())
                os._exit(0)
            orders.close()
            os.close(told)
            os.close(telling)
            order: Order = pickle.loads(message)
            _become(order, streams)
            return order
        os.close(telling)
        for stream in streams:
            os.close(stream)
        os.waitpid(between, 0)
        orders.send(os.read(told, 16))
        os.close(told)


def _become(order: Order, streams: list[int]) -> None:
    deadline = time.monotonic() + PATIENCE
    while os.getppid() != order.parent:
        if time.monotonic() > deadline:
            os._exit(1)  # who asked has ended
        time.sleep(0.0005)
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL if order.dies_with_parent else 0, 0, 0, 0)
    if order.session:
        os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order.folder)
    os.environ.clear()
    _show([os.fsencode(word) for word in order.command],
          [os.fsencode(f"{name}={value}") for name, value in order.environment.items()])  # fmt: skip
    os.environ.update(order.environment)
    sys.path[1:1] = [path for path in _paths(order.environment) if path not in sys.path]
    sys.stdin, sys.stdout, sys.stderr = (_stream(number, like) for number, like in enumerate(
        (sys.stdin, sys.stdout, sys.stderr)))  # fmt: skip
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr


def _show(*lists: list[bytes]) -> None:
    """Write the arguments and the environment where /proc reads them; Python has copied what was there."""
    first, last, *environment = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:49])
    for entries, (start, end) in zip(lists, ((first, last), tuple(environment)), strict=True):
        text = b"".join(entry + b"\0" for entry in entries)[: end - start - 1]
        ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)


def _stream(number: int, like: TextIO) -> io.TextIOWrapper:
    """A standard stream as Python makes it."""
    raw = io.FileIO(number, "w" if number else "r", closefd=False)
    raw.name = like.name
    buffer = io.BufferedWriter(raw) if number else io.BufferedReader(raw)
    return io.TextIOWrapper(
        buffer, like.encoding, like.errors, line_buffering=number == 2 or raw.isatty(),
        write_through=isinstance(like, io.TextIOWrapper) and like.write_through,
    )  # fmt: skip
