"""The logs of runs, each written to a file while the run goes."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice, takewhile
from pathlib import Path
from typing import TextIO

from rebuilder.builders.osbs_client import Client
from rebuilder.domain.build import BuildRejected, InfrastructureError

log = logging.getLogger(__name__)
PAUSE_SECONDS = 30.0  # before a stream that broke is opened again
CLOSE_SECONDS = 10.0
STREAMS, AT_ONCE = 200, 8  # logs of running and of ended runs that are read at a time
KEPT = 1000  # ended runs of which we remember that their logs are complete
MARK = " | "
PART = 100_000  # characters of a log that are in the memory at a time


class RunLog:
    """One file: every line begins with its task's name, so that a stream that begins anew is known by its lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def read(self, offset: int) -> Iterator[str]:
        """What the file has from `offset` characters on, a part at a time."""
        try:
            with self._open() as file:
                while offset > 0 and (skipped := file.read(min(offset, PART))):
                    offset -= len(skipped)
                while part := file.read(PART):
                    yield part
        except FileNotFoundError:
            return

    def _open(self) -> TextIO:
        """Only a line feed ends a line: logs have form feeds, and bytes that are no UTF-8."""
        return self.path.open(encoding="utf-8", errors="replace", newline="\n")

    def write(self, lines: Iterable[tuple[str, str]]) -> None:
        """Add what is not in the file yet: of each task, the lines after those that it has."""
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            had = self._had()
            seen: Counter[str] = Counter()
            with self.path.open("a", encoding="utf-8", errors="replace", newline="\n") as file:
                for task, line in lines:
                    seen[task] += 1
                    if seen[task] > had[task]:
                        file.write(f"{task}{MARK}{line}\n")
                        file.flush()

    def _had(self) -> Counter[str]:
        """How many lines of each task the file has. A line that was cut in two by a crash is taken back."""
        had: Counter[str] = Counter()
        try:
            with self.path.open("rb+") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        file.truncate(file.tell() - len(line))
                        break
                    had[line.partition(MARK.encode())[0].decode(errors="replace")] += 1
        except FileNotFoundError:
            pass
        return had


class Logs:
    """The logs of all builds of a builder, in one folder."""

    def __init__(self, folder: Path, client: Client) -> None:
        self._folder = folder
        self._client = client
        self._streams = ThreadPoolExecutor(STREAMS, "log")
        self._completing = ThreadPoolExecutor(AT_ONCE, "whole-log")
        self._followed: dict[str, tuple[Future[bool], float]] = {}
        self._completed: dict[str, Future[bool]] = {}
        self._closed = False
        self._logs: dict[str, RunLog] = {}

    def of(self, name: str) -> RunLog:
        return self._logs.setdefault(name, RunLog(self.path(name)))

    def path(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def follow(self, name: str) -> None:
        """See to it that what the run writes comes into its file. Returns at once."""
        known, since = self._followed.get(name, (None, 0.0))
        now = time.monotonic()
        if known is None or (known.done() and now - since > PAUSE_SECONDS):
            self._followed[name] = (self._streams.submit(self._copy, name, self._client.follow), now)

    def complete(self, name: str) -> None:
        """The run has ended: what its stream did not bring is fetched. Returns at once."""
        if name in self._completed:
            return
        if (stream := self._followed.pop(name, None)) is not None:
            stream[0].cancel()
        for old in list(islice(self._completed, max(0, len(self._completed) - KEPT))):
            if self._completed[old].done():
                del self._completed[old]
                self._logs.pop(old, None)
        self._completed[name] = self._completing.submit(self._copy, name, self._client.written)

    def is_whole(self, name: str) -> bool:
        """Whether all that the run wrote is in its file, as far as this process knows."""
        known = self._completed.get(name)
        return known is not None and known.done() and not known.cancelled() and known.result()

    def _copy(self, name: str, read: Callable[[str], Iterable[tuple[str, str]]]) -> bool:
        try:
            self.of(name).write(takewhile(lambda _: not self._closed, read(name)))
            return not self._closed
        except (InfrastructureError, BuildRejected, OSError) as error:
            log.warning("the log of %s stops here for now: %s", name, error)
            return False

    def close(self) -> None:
        """Write what is left of the runs that have ended, then nothing more: whoever comes next goes on.

        A stream whose run goes on ends with the process.
        """
        wait(self._completed.values(), CLOSE_SECONDS)
        self._closed = True
        for pool in (self._streams, self._completing):
            pool.shutdown(wait=False, cancel_futures=True)
        wait([future for future, _ in self._followed.values()], CLOSE_SECONDS)
