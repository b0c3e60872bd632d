"""Programs that are started for a while, watched, and ended by pid together with all that they started."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from rebuilder.domain.errors import UnreachableError

LOOPBACK = "127.0.0.1"
PAUSE = 0.05
GRACE = 2.0


class Missing(UnreachableError):
    """A program that is needed is not installed."""


class Failed(UnreachableError):
    """A program ended or was not ready in time; after the first line comes the tail of its log."""


class Child:
    """A program in a session of its own that writes its output into a log.

    It gets SIGKILL when its parent dies, strictly: when the thread that made it ends, so that thread must outlive it.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        user: str | None = None,
    ) -> None:
        """Start it, as `user` where one is given (that takes root). Raises Missing."""
        program = shutil.which(command[0])
        if program is None:
            raise Missing(f"{command[0]} is not installed")
        self.name = Path(program).name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*_dies_with_parent(), program, *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=folder,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id; also the id of its session and process group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def wait_for(self, ready: Callable[[], bool], patience: float) -> None:
        """Wait until `ready` holds. Raises Failed when it ends before, or `patience` seconds were not enough."""
        deadline = time.monotonic() + patience
        while not ready():
            if not self.running:
                raise self._failed(f"ended with {self._process.returncode} before it was ready")
            if time.monotonic() > deadline:
                raise self._failed(f"was not ready after {patience:g} s")
            time.sleep(PAUSE)

    def finish(self, patience: float) -> None:
        """Wait for its success. Raises Failed when it exits with something else than 0, or not in time."""
        try:
            code = self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._failed(f"had not ended after {patience:g} s") from None
        if code:
            raise self._failed(f"ended with {code}")

    def stop(self, patience: float = 15.0, politely: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end, and kill whatever of it is left after `patience` seconds. No error where it has ended."""
        members = self._members()
        try:
            if self.running:
                self._process.send_signal(politely)
                self._process.wait(patience)
        except subprocess.TimeoutExpired:
            pass
        else:
            _await_end(members, GRACE)
        finally:
            self._kill(members)

    def kill(self) -> None:
        """End it and all that it started with SIGKILL, as a crash would."""
        self._kill(self._members())

    def _kill(self, members: Iterable[Process]) -> None:
        """Not by the group's id: what made a group of its own would stay."""
        members = {*members, *self._members()}
        for member in members:
            if _alive(member):
                with suppress(ProcessLookupError):
                    os.kill(member.pid, signal.SIGKILL)
        self._process.wait()
        _await_end(members, GRACE)

    def _members(self) -> set[Process]:
        """Its processes. Once waited for, its pid may be another's, but as a session's id it is still its own."""
        if self.running:
            return family(self.pid)
        return {process for process in _processes() if process.session == self.pid}

    def _failed(self, what: str) -> Failed:
        return Failed(f"{self.name} {what}; the end of {self.log}:\n{tail(self.log)}")


class Process(NamedTuple):
    """A process; `started` (in ticks since the machine's start) tells it from a later one with the same pid."""

    pid: int
    parent: int
    session: int
    started: int


def family(pid: int) -> set[Process]:
    """The process, what it started, directly or not, and what is in a session of one of these."""
    everything = list(_processes())
    pids = {pid}
    while more := {
        process.pid for process in everything if not pids.isdisjoint((process.parent, process.session))
    } - pids:
        pids |= more
    return {process for process in everything if process.pid in pids}


def free_port() -> int:
    """A TCP port of the loopback address that nothing uses now; somebody else may take it before it is used."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def port_is_taken(port: int) -> bool:
    """Whether a server could not listen on this port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen()
        except OSError:
            return True
    return False


def accepts(port: int) -> bool:
    """Whether something accepts connections on this port of the loopback address."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log; says so where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 200 * lines))
            content = file.read().decode("utf-8", "replace").splitlines()
    except OSError as error:
        return f"(no log: {error.strerror})"
    return "\n".join(content[-lines:]) or "(the log is empty)"


def _dies_with_parent() -> list[str]:
    """What to put before a command so that it dies with its parent; nothing on a system that has no means for it."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def _processes() -> Iterator[Process]:
    """The processes of this machine."""
    for path in Path("/proc").glob("[0-9]*"):
        if process := _look(int(path.name)):
            yield process


def _look(pid: int) -> Process | None:
    """The process with this id; None also for a dead one that only waits for its parent to notice."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field, in parentheses, is the command's name: it may hold anything.
    state, parent, _group, session, *others = text.rpartition(")")[2].split()
    return None if state in "ZX" else Process(pid, int(parent), int(session), int(others[15]))


def _alive(process: Process) -> bool:
    current = _look(process.pid)
    return current is not None and current.started == process.started


def _await_end(processes: Iterable[Process], patience: float) -> None:
    deadline = time.monotonic() + patience
    while any(map(_alive, processes)) and time.monotonic() < deadline:
        time.sleep(PAUSE)
