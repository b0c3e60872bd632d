"""Builds that only take time: for trying things out, and for tests with a clock of their own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from msgspec import Struct, field

from rebuilder.config import SimulatedSettings
from rebuilder.domain.build import BuildRequest, Phase, Status, Submission
from rebuilder.domain.checks import TestRequest
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.image import ImageBuild, Manifest
from rebuilder.domain.rpm import Rpm, is_stale

KEPT = 1000
EVERYTHING = "*"
ManifestOf = Callable[[str], Manifest | None]
Recall = Callable[[Sequence[str]], Mapping[str, tuple[BuildRequest, float]]]


class _Build(Struct):
    order: BuildRequest
    started: float
    ends: float  # monotonic
    outcome: Phase
    canceled: bool = False
    built: ImageBuild | None = field(default=None)


class SimulatedBuilder:
    """Runs each order for its image's estimate; the RPMs that caused it are then updated in its manifest.

    `manifest_of` tells the current manifest of an image. `recall` tells, of refs that this process never saw, what was
    ordered and when (seconds since the epoch): so builds outlive a restart. Its calls take the settings' latencies: a
    submission that hangs has arrived, and its answer never comes; a call about many builds hangs with any of them.
    """

    name = "simulated"

    def __init__(
        self,
        settings: SimulatedSettings,
        manifest_of: ManifestOf,
        clock: Callable[[], float] = time.time,
        recall: Recall = lambda _: {},
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._manifest_of = manifest_of
        self._recall = recall
        self._clock, self._monotonic = clock, monotonic
        self._aborts = dict(settings.aborts)
        self._lock = threading.Lock()
        self._reading = threading.Lock()  # one connection to the database is enough
        self._closed = threading.Event()
        self.builds: dict[str, _Build] = {}

    def _take_time(self, seconds: float, images: Iterable[str] = ()) -> None:
        """As long as a call to a real builder, or until this one is closed."""
        hanging = self._settings.hang
        if hanging and (EVERYTHING in hanging or not set(images).isdisjoint(hanging)):
            self._closed.wait()
            raise InfrastructureError("the builder was closed before it answered")
        if seconds:
            self._closed.wait(seconds)

    def _images(self, refs: Iterable[str]) -> list[str]:
        return [build.order.image.key for ref in refs if (build := self.builds.get(ref)) is not None]

    def submit(self, order: BuildRequest) -> Submission:
        self._take_time(self._settings.submit_seconds)
        with self._lock:
            if order.key in self.builds:
                raise InfrastructureError(f"{order.key} was submitted before")
            self._forget()
            self._begin(order, self._clock(), self._outcome(order.image.key))
        self._take_time(0, [order.image.key])
        return Submission(order.key)

    def _begin(self, order: BuildRequest, started: float, outcome: Phase) -> None:
        seconds = (order.image.estimate or self._settings.duration) / self._settings.speed
        left = seconds - max(0.0, self._clock() - started)
        self.builds[order.key] = _Build(order, started, self._monotonic() + left, outcome)

    def _remember(self, refs: Iterable[str]) -> None:
        """Go on with the builds that an earlier process began."""
        if not (unknown := [ref for ref in refs if ref not in self.builds]):
            return
        with self._reading:
            orders = self._recall(unknown)
        with self._lock:
            for ref, (order, started) in orders.items():
                if ref not in self.builds:
                    failed = order.image.key in self._settings.failures
                    self._begin(order, started, Phase.FAILED if failed else Phase.SUCCEEDED)

    def _forget(self) -> None:
        """The oldest builds whose results were read: they are not asked for again."""
        read = (key for key, build in self.builds.items() if build.built is not None)
        for key in list(islice(read, max(0, len(self.builds) - KEPT))):
            del self.builds[key]

    def _outcome(self, image: str) -> Phase:
        if image in self._settings.failures:
            return Phase.FAILED
        if self._aborts.get(image, 0) > 0:
            self._aborts[image] -= 1
            return Phase.ABORTED
        return Phase.SUCCEEDED

    def find(self, keys: Sequence[str]) -> Mapping[str, Submission]:
        self._take_time(self._settings.call_seconds, self._images(keys))
        return {key: Submission(key) for key in keys if key in self.builds}

    def poll(self, refs: Sequence[str]) -> Mapping[str, Status]:
        self._remember(refs)
        self._take_time(self._settings.call_seconds, self._images(refs))
        return {ref: self._status(ref) for ref in refs}

    def _status(self, ref: str) -> Status:
        build = self.builds.get(ref)
        if build is None:
            return Status(Phase.ABORTED, "the builder does not know this build any more")
        if build.canceled:
            return Status(Phase.CANCELED, "canceled", build.started)
        if self._monotonic() < build.ends:
            return Status(Phase.RUNNING, begun=build.started)
        reasons = {Phase.FAILED: "simulated failure", Phase.ABORTED: "simulated infrastructure error"}
        return Status(build.outcome, reasons.get(build.outcome, ""), build.started)

    def result(self, ref: str) -> ImageBuild:
        self._remember([ref])
        self._take_time(self._settings.result_seconds, self._images([ref]))
        build = self.builds.get(ref)
        if build is None:
            raise InfrastructureError("the builder does not know this build any more")
        if build.built is None:
            order = build.order
            parents = tuple(parent.ident for parent in order.parents)
            content, external = self._manifest(order), order.externals
            build.built = ImageBuild(order.image.key, f"simulated-{ref}", content, parents, externals=external)
        return build.built

    def _manifest(self, order: BuildRequest) -> Manifest | None:
        with self._reading:
            manifest = self._manifest_of(order.image.key)
        return None if manifest is None else Manifest.of(_updated(rpm, order) for rpm in manifest.rpms)

    def cancel(self, ref: str) -> None:
        self._remember([ref])
        self._take_time(self._settings.call_seconds, self._images([ref]))
        build = self.builds.get(ref)
        if build is not None and self._monotonic() < build.ends:
            build.canceled = True

    def test(self, request: TestRequest, *, again: bool = False) -> Status:
        """Tests take no time."""
        self._take_time(self._settings.call_seconds, [request.image])
        if request.image in self._settings.test_failures:
            return Status(Phase.FAILED, "simulated failure")
        return Status(Phase.SUCCEEDED)

    def stop_test(self, key: str, fault: str = "") -> None:
        """Nothing runs."""

    def test_log(self, key: str, offset: int = 0) -> Iterator[str]:
        yield f"simulated test of {key}\n"[offset:]

    def log(self, ref: str, offset: int = 0) -> Iterator[str]:
        build = self.builds.get(ref)
        text = f"simulated build of {build.order.image.key}\n" if build else ""
        yield text[offset:]

    def close(self) -> None:
        """End the calls that hang."""
        self._closed.set()


def _updated(rpm: Rpm, order: BuildRequest) -> Rpm:
    """The RPM as the newest of the order's causes would leave it."""
    for change in order.causes:
        evr = change.build.evr
        if change.build.name == rpm.source and is_stale(rpm, evr):
            epoch = rpm.epoch if evr.epoch is None else evr.epoch
            vr = evr.version_release if rpm.source_evr else ""
            rpm = Rpm(rpm.name, epoch, evr.version, evr.release, rpm.arch, rpm.source, vr)
    return rpm
