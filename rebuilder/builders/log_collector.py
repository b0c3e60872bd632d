"""Collects the logs of runs from the cluster: while they go, and what is missing when they have ended."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from rebuilder.builders.pipeline_run import PipelineRun
from rebuilder.builders.run_log import RunLog, lines_of
from rebuilder.builders.task_run import LogSource, TaskRun, log_sources
from rebuilder.domain.errors import InfrastructureError

log = logging.getLogger(__name__)
STREAMS, AT_ONCE = 200, 8  # containers that are followed, and logs of ended runs that are read, at a time
LOOK_SECONDS, LONGEST_LOOK_SECONDS = 2.0, 8.0  # until a container that has not begun is looked for again
RETRY_SECONDS = 5.0  # until what could not be read of an ended run is read again
GONE_TRIES = 24  # after which a log that the cluster does not have is taken to be gone: a pod may be late
TRIES = 60  # after which an ended run's log is left until the run is tidied up
FRESH_SECONDS = 10.0  # for which the next piece of an ended run's log is waited for
CLOSE_SECONDS = 2.0  # longer than the engine waits for its builder: where a stream goes on, it ends its process itself
KEPT = 5000  # logs of which we remember what we know; the files know the rest


class NoLog(InfrastructureError):
    """The cluster does not have this container's log: not yet, or not any more."""


class Source(Protocol):
    """Where the logs are."""

    def tasks(self, names: Sequence[str]) -> Mapping[str, Sequence[TaskRun]]:
        """The TaskRuns of each of these runs. Raises InfrastructureError."""

    def log(self, source: LogSource, *, follow: bool) -> Iterator[bytes]:
        """What the container has written so far, or until it ends. Raises InfrastructureError, and NoLog of it."""


class _Followed(Struct):
    """A run that goes: what it said when its tasks were read last, and when they are read again in any case."""

    progress: object = None
    again_at: float = 0.0
    pause: float = LOOK_SECONDS


class _Ended(Struct):
    """A run whose log is to become whole, and when something of it was read last."""

    heard: float
    tries: int = 0

    @property
    def fresh(self) -> bool:
        return time.monotonic() - self.heard < FRESH_SECONDS


class LogCollector:
    """The logs of all builds of a builder, in one folder. Threads may share it; no call of it waits for the cluster."""

    def __init__(self, folder: Path, source: Source) -> None:
        self._folder = folder
        self._source = source
        self._streams = ThreadPoolExecutor(STREAMS, "log")
        self._readers = ThreadPoolExecutor(AT_ONCE, "whole-log")
        self._looks = ThreadPoolExecutor(2, "log-look")  # one may be waiting to try again
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._logs: dict[str, RunLog] = {}
        self._followed: dict[str, _Followed] = {}
        self._following: dict[tuple[str, tuple[str, str, str]], Future[bool]] = {}
        self._ended: dict[str, _Ended] = {}
        self._again: set[str] = set()  # ended runs that are tried again after a pause
        self._looking: Future[None] | None = None

    def of(self, name: str) -> RunLog:
        """The log of a run, which may have none yet."""
        with self._lock:
            if len(self._logs) > KEPT:
                self._logs = {run: its for run, its in self._logs.items() if self._busy_with(run)}
            return self._logs.setdefault(name, RunLog(self.path(name)))

    def _busy_with(self, name: str) -> bool:
        return name in self._followed or name in self._ended

    def path(self, name: str) -> Path:
        """The file of the log of the run of this name."""
        return self._folder / f"{name}.log"

    def follow(self, runs: Iterable[PipelineRun]) -> None:
        """See to it that what these runs write comes into their files. Returns at once."""
        now = time.monotonic()
        with self._lock:
            due = {run.name: run.progress for run in runs if self._is_due(run, now)}
            if due and (self._looking is None or self._looking.done()) and not self._closed.is_set():
                self._looking = self._looks.submit(self._look, due)

    def _is_due(self, run: PipelineRun, now: float) -> bool:
        followed = self._followed.setdefault(run.name, _Followed())
        return run.name not in self._ended and (followed.progress != run.progress or now >= followed.again_at)

    def _look(self, due: Mapping[str, object]) -> None:
        """Read the tasks of these runs, and follow the containers that have begun."""
        try:
            tasks = self._source.tasks(list(due))
        except InfrastructureError as error:
            log.debug("the tasks of %d runs cannot be read for their logs: %s", len(due), error)
            return
        with self._lock:
            for name, progress in due.items():
                if (followed := self._followed.get(name)) is not None and not self._closed.is_set():
                    self._follow(name, followed, progress, tasks[name])

    def _follow(self, name: str, followed: _Followed, progress: object, tasks: Sequence[TaskRun]) -> None:
        complete = all(task.begun for task in tasks)
        longer = min(followed.pause * 2, LONGEST_LOOK_SECONDS)
        followed.pause = LOOK_SECONDS if progress != followed.progress else longer
        followed.progress, followed.again_at = progress, math.inf if complete else time.monotonic() + followed.pause
        for source in log_sources(tasks):
            stream = self._following.get((name, source.key))
            if stream is None or (stream.done() and not (source.ended and stream.result())):
                stream = self._following[name, source.key] = self._streams.submit(self._copy, name, source)
                stream.add_done_callback(lambda _: self._look_again(name))

    def _look_again(self, name: str) -> None:
        """A stream of the run has ended, which may be before its container does."""
        with self._lock:
            if (followed := self._followed.get(name)) is not None:
                followed.again_at = min(followed.again_at, time.monotonic() + followed.pause)

    def _copy(self, name: str, source: LogSource) -> bool:
        """Write what the container says until the stream ends; whether it did not break."""
        try:
            if self._busy_with(name):
                self._write(name, source, follow=True)
            return True
        except (InfrastructureError, OSError) as error:
            if not self._closed.is_set():
                log.info("the log of %s stops here for now: %s", name, error)
            return False

    def _write(self, name: str, source: LogSource, *, follow: bool) -> None:
        for insist in (False, True):
            chunks = self._until_closed(name, self._source.log(source, follow=follow))
            if self.of(name).write(source.label, lines_of(chunks, ended=not follow), insist=insist) or follow:
                return

    def _until_closed(self, name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The chunks; raises where we are closed, because the line that has come in part is not to be written."""
        for chunk in chunks:
            if self._closed.is_set():
                raise InfrastructureError("rebuilder is ending")
            if (ended := self._ended.get(name)) is not None:
                ended.heard = time.monotonic()
            yield chunk

    def complete(self, names: Collection[str]) -> None:
        """These runs have ended: what is missing of their logs is read. Returns at once."""
        unread = [name for name in names if not self.of(name).is_whole]
        with self._lock:
            for name in unread:
                if name not in self._ended and not self._closed.is_set():
                    self._ended[name] = _Ended(time.monotonic())
                    self._forget(name)
                    self._readers.submit(self._complete, name)

    def _forget(self, name: str) -> None:
        self._followed.pop(name, None)
        for key in [key for key in self._following if key[0] == name]:
            self._following.pop(key).cancel()

    def lost(self, name: str) -> None:
        """The run is gone: there is nothing to be read of it any more."""
        with self._lock:
            self._forget(name)

    def _complete(self, name: str) -> None:
        try:
            whole = self._read(name)
        except Exception:
            log.exception("the log of %s", name)
            whole = False
        with self._lock:
            ended = self._ended[name]
            ended.tries += 1
            if whole or ended.tries >= TRIES or self._closed.is_set():
                del self._ended[name]
            else:
                self._retry(name)

    def _read(self, name: str) -> bool:
        """Read the run's log once; whether it is whole then."""
        missing: list[str] = []
        tries = self._ended[name].tries
        try:
            for source in log_sources(self._source.tasks([name])[name]):
                try:
                    self._write(name, source, follow=False)
                except NoLog as error:  # the others are read all the same
                    missing.append(str(error))
        except (InfrastructureError, OSError) as error:
            report = log.warning if tries == 0 and not self._closed.is_set() else log.debug
            report("the log of %s is not whole yet; trying again: %s", name, error)
            return False
        if self._closed.is_set() or (missing and tries < GONE_TRIES):
            return False
        for gone in missing:
            log.warning("a part of the log of %s is lost: %s", name, gone)
        with suppress(OSError):
            self.of(name).mark_whole()
        return True

    def _retry(self, name: str) -> None:
        self._again.add(name)
        if len(self._again) == 1:
            self._looks.submit(self._retry_all)

    def _retry_all(self) -> None:
        self._closed.wait(RETRY_SECONDS)
        with self._lock:
            names, self._again = self._again, set()
            for name in names:
                if not self._closed.is_set():
                    self._readers.submit(self._complete, name)

    @property
    def busy(self) -> bool:
        """Whether the log of an ended run is being read, and something came a moment ago."""
        with self._lock:
            return any(ended.fresh for ended in self._ended.values())

    def is_coming(self, name: str) -> bool:
        """Whether more of the log of this ended run is being read, and something came a moment ago."""
        with self._lock:
            return (ended := self._ended.get(name)) is not None and ended.fresh

    def is_whole(self, name: str) -> bool:
        """Whether all that the run wrote is in its file."""
        return self.of(name).is_whole

    def close(self) -> None:
        """Write nothing more: whoever comes next goes on. A stream whose run goes on ends with the process."""
        self._closed.set()
        for pool in (self._streams, self._readers, self._looks):
            pool.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            streams = list(self._following.values())
        wait(streams, CLOSE_SECONDS)
