"""Builds as detached processes, each with a folder of its own; they outlive the engine, and are found again.

In the folder: `request.json` (what was asked for), `lock` (held by the process as long as it lives, so that a pid that
was used again is noticed), `started` (its process group), `log`, `exit` (its status), `stopped` (why we ended it),
`proven` (what it made is good).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from rebuilder.config import child_environment, own_folder
from rebuilder.store.sqlite_file import only_ours

# What we write is ours alone; what the command writes, as in an image, has the modes that it would always have. Where
# the folder of all builds hands its group down (g+s), this group may read their logs: the web's, which is not root.
WRAPPER = """(umask 077; echo $$ > "$1/started")
shift_dir="$1"; shift
"$@" > "$shift_dir/log" 2>&1 < /dev/null
status=$?
(umask 077; echo $status > "$shift_dir/exit.new") && mv "$shift_dir/exit.new" "$shift_dir/exit"
"""
GRACE_SECONDS = 3.0
LOOK_SECONDS = 0.5


class Process:
    """The process of one key, whether it runs, has ended, or was never started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def start(self, command: Sequence[str], request: Mapping[str, object]) -> None:
        """Start it detached. What it was asked for is on disk before. Raises OSError, BlockingIOError where it runs."""
        own_folder(self._folder)
        self._write("request.json", json.dumps(request))
        with open(self._folder / "lock", "w", opener=only_ours) as lock:
            self._take(lock)
            self._make_log()
            subprocess.Popen(
                ["/bin/sh", "-c", WRAPPER, "build", str(self._folder), *command],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=child_environment(), start_new_session=True, pass_fds=(lock.fileno(),),
            )

    def forget(self) -> None:
        """Be as one that never ran, so that it can be started once more; nothing happens where it runs."""
        for name in () if self.running else ("started", "exit", "stopped", "log"):
            (self._folder / name).unlink(missing_ok=True)

    def _make_log(self) -> None:
        self.log.touch(mode=0o600)
        if self._folder.stat().st_mode & stat.S_ISGID:
            self._folder.chmod(stat.S_ISGID | 0o710)
            self.log.chmod(0o640)

    def _take(self, lock: IO[str]) -> None:
        """Take the lock. Whoever only looks whether it is held holds it for a moment, so once is not enough."""
        deadline = time.monotonic() + LOOK_SECONDS
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _write(self, name: str, text: str) -> None:
        new = self._folder / f"{name}.new"
        new.touch(mode=0o600)
        new.write_text(text)
        new.replace(self._folder / name)

    def _read(self, name: str) -> str:
        try:
            return (self._folder / name).read_text(errors="replace").strip()
        except FileNotFoundError:
            return ""

    @property
    def request(self) -> Mapping[str, object]:
        """What the process was begun for, as `request.json` has it; empty where that is not there."""
        request: dict[str, object] = json.loads(self._read("request.json") or "{}")
        return request

    @property
    def running(self) -> bool:
        """Whether it lives. What a build leaves behind may still hold the lock, so its exit status comes first."""
        if self.status is not None:
            return False
        try:
            with (self._folder / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    @property
    def started(self) -> bool:
        """Whether it ever ran. Between taking the lock and the first line of the process it counts as running."""
        return self.running or bool(self._read("started"))

    @property
    def begun(self) -> float | None:
        """When it was asked for, in seconds since the epoch; None where it never was."""
        try:
            return (self._folder / "request.json").stat().st_mtime
        except FileNotFoundError:
            return None

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs, and where it vanished without one."""
        status = self._read("exit")
        return int(status) if status else None

    @property
    def stopped(self) -> str:
        """Why we ended it; empty where we did not."""
        return self._read("stopped")

    def mark(self, name: str) -> None:
        """Write down, for good, that something is so."""
        own_folder(self._folder)
        self._write(name, "yes\n")

    def marked(self, name: str) -> bool:
        """Whether that was written down."""
        return (self._folder / name).exists()

    @property
    def log(self) -> Path:
        """The file of what it printed."""
        return self._folder / "log"

    def read_log(self, offset: int) -> Iterator[str]:
        """What it printed, from this character on; nothing where it never ran."""
        with contextlib.suppress(FileNotFoundError):
            yield self.log.read_text(errors="replace")[offset:]

    def stop(self, reason: str) -> None:
        """End it and everything it started, first by asking; nothing happens where it has ended."""
        deadline = time.monotonic() + GRACE_SECONDS
        while self.running and not self._read("started") and time.monotonic() < deadline:
            time.sleep(0.01)  # it has the lock, and is about to say what its group is
        group = self._read("started")
        if not self.running or not group:
            return
        self._write("stopped", reason)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(group), signal.SIGTERM)
            while self.running and time.monotonic() < deadline:
                time.sleep(0.05)
            if self.running:
                os.killpg(int(group), signal.SIGKILL)
