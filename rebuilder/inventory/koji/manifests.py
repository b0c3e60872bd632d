"""What is in container builds: the RPMs of all their architectures, each with the source build that it came from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any

from msgspec import Struct, field

from rebuilder.domain.image import Manifest
from rebuilder.domain.rpm import Rpm
from rebuilder.inventory.koji.session import Call, Denied, KojiSession, ask

log = logging.getLogger(__name__)
ARCHIVES = 40  # read with one round trip, of a few hundred RPMs each
AT_ONCE = 4  # round trips: the hub looks for the next ones while we read these
BUILDS = 300  # source builds asked for with one round trip
KEPT = 200_000
COLUMNS = ("id", "name", "epoch", "version", "release", "arch", "build_id")
Origin = tuple[str, str]
Row = tuple[Any, ...]  # of COLUMNS
Pick = Callable[[Any], Row]


class _Memory(Struct, frozen=True):
    """What is known of source builds and RPMs by their ids. Threads add to it, and take nothing away."""

    origins: dict[int, Origin] = field(default_factory=dict)
    rpms: dict[int, Rpm] = field(default_factory=dict)


class Contents:
    """Reads manifests. What it learns of source builds and RPMs it keeps: images have most of them in common.

    Threads may share it.
    """

    def __init__(self, hub: KojiSession) -> None:
        self._hub = hub
        self._memory = _Memory()
        self._columns: tuple[str, ...] | None = None

    def read(
        self, builds: Sequence[int], progress: Callable[[int], None] = lambda done: None
    ) -> dict[int, Manifest | None]:
        """The manifest of each build by its id; None where there is none to read. Raises InfrastructureError.

        `progress` hears how many builds have been read.
        """
        archives = list(dict.fromkeys(self._archives(builds)))
        by_build: dict[int, set[Rpm] | None] = dict.fromkeys(builds)
        calls, pick = self._calls([archive for _, archive in archives])
        answers = self._hub.many(calls, ARCHIVES, AT_ONCE)
        for start in range(0, len(archives), ARCHIVES):
            part = archives[start : start + ARCHIVES]
            self._take(part, list(islice(answers, len(part))), pick, by_build)
            progress(len({build for build, _ in archives[: start + ARCHIVES]}))
        progress(len(builds))
        return {build: None if rpms is None else Manifest.of(rpms) for build, rpms in by_build.items()}

    def _archives(self, builds: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Build and archive, one for each architecture."""
        answers = self._hub.many([ask("listArchives", build, type="image") for build in builds], at_once=AT_ONCE)
        for build, answer in zip(builds, answers, strict=True):
            for archive in () if isinstance(answer, Denied) else answer:
                if (archive.get("extra") or {}).get("docker"):
                    yield build, int(archive["id"])

    def _calls(self, archives: Sequence[int]) -> tuple[list[Call], Pick]:
        """How to ask for the RPMs of each archive, and what takes COLUMNS from a row of the answers.

        Rows without the names of their columns are half as large, and most of the time goes into reading them.
        """
        if self._columns is None:
            self._columns = self._learned_columns(archives)
        if self._columns:
            options = {"asList": True}
            pick = itemgetter(*(self._columns.index(column) for column in COLUMNS))
            return [ask("listRPMs", imageID=archive, queryOpts=options) for archive in archives], pick
        return [ask("listRPMs", imageID=archive) for archive in archives], itemgetter(*COLUMNS)

    def _learned_columns(self, archives: Sequence[int]) -> tuple[str, ...] | None:
        """The columns in the order in which this version of the hub lists them; none where that is not certain.

        They are in the order of their names; a row asked for in both forms proves it. None without any row to look at.
        """
        for archive in archives[:ARCHIVES]:
            options = {"order": "id", "limit": 1}
            named, listed = self._hub.many([
                ask("listRPMs", imageID=archive, queryOpts=options),
                ask("listRPMs", imageID=archive, queryOpts={**options, "asList": True}),
            ])
            if isinstance(named, Denied) or isinstance(listed, Denied) or not (named and listed):
                continue
            columns = tuple(sorted(named[0]))
            return columns if list(listed[0]) == [named[0][column] for column in columns] else ()
        return None

    def _take(
        self, archives: Sequence[tuple[int, int]], answers: Sequence[Any], pick: Pick,
        by_build: dict[int, set[Rpm] | None],
    ) -> None:  # fmt: skip
        """Add the RPMs of these archives; a build of which one archive cannot be read is not known at all."""
        rows = [None if isinstance(answer, Denied) else list(map(pick, answer)) for answer in answers]
        memory = self._learn(row for part in rows if part for row in part)
        unreadable = set()
        for (build, archive), part, answer in zip(archives, rows, answers, strict=True):
            if part is None:
                log.warning("the RPMs of Koji's archive %d cannot be read: %s", archive, answer)
                unreadable.add(build)
                continue
            rpms = by_build[build] or set()
            rpms.update(_rpm(memory, row) for row in part)
            by_build[build] = rpms
        by_build.update(dict.fromkeys(unreadable))

    def _learn(self, rows: Iterable[Row]) -> _Memory:
        """What is known once the source builds have been asked for that are not known yet."""
        memory = self._memory
        if len(memory.rpms) > KEPT:
            memory = self._memory = _Memory()
        new = sorted({row[-1] for row in rows if row[-1]} - memory.origins.keys())
        calls = [ask("getBuild", build) for build in new]
        for build, answer in zip(new, self._hub.many(calls, BUILDS, AT_ONCE), strict=True):
            if answer and not isinstance(answer, Denied):
                memory.origins[build] = str(answer["name"]), f"{answer['version']}-{answer['release']}"
        return memory


def _rpm(memory: _Memory, row: Row) -> Rpm:
    """An RPM of which Koji has no source build, as one from elsewhere, is taken for its own source package."""
    ident, name, epoch, version, release, arch, build = row
    rpm = memory.rpms.get(ident)
    if rpm is None:
        origin = memory.origins.get(build, (name, ""))
        rpm = Rpm(name, int(epoch or 0), version, release, arch, *origin)
        if not build or build in memory.origins:
            memory.rpms[ident] = rpm
    return rpm
