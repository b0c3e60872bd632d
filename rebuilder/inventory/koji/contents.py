"""What is in container builds: the RPMs of all their architectures, each with the source build that it came from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rebuilder.domain.image import Manifest
from rebuilder.domain.rpm import Rpm
from rebuilder.inventory.koji.hub import Denied, Hub, ask

log = logging.getLogger(__name__)
ARCHIVES = 40  # read with one round trip, of a few hundred RPMs each
KEPT = 200_000
Origin = tuple[str, str]


class Contents:
    """Reads manifests. What it learns of source builds and RPMs it keeps: images have most of them in common."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._origins: dict[int, Origin] = {}
        self._rpms: dict[tuple[Any, ...], Rpm] = {}

    def read(
        self, builds: Sequence[int], progress: Callable[[int], None] = lambda done: None
    ) -> dict[int, Manifest | None]:
        """The manifest of each build by its id; None where there is none to read. Raises InfrastructureError.

        `progress` hears how many builds have been read.
        """
        archives = list(self._archives(builds))
        found: dict[int, set[Rpm] | None] = dict.fromkeys(builds)
        for start in range(0, len(archives), ARCHIVES):
            part = archives[start : start + ARCHIVES]
            self._take(part, found)
            progress(len({build for build, _ in archives[: start + ARCHIVES]}))
        progress(len(builds))
        return {build: None if rpms is None else Manifest.of(rpms) for build, rpms in found.items()}

    def _archives(self, builds: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Build and archive, one for each architecture."""
        answers = self._hub.many([ask("listArchives", build, type="image") for build in builds])
        for build, answer in zip(builds, answers, strict=True):
            for archive in () if isinstance(answer, Denied) else answer:
                if (archive.get("extra") or {}).get("docker"):
                    yield build, int(archive["id"])

    def _take(self, archives: Sequence[tuple[int, int]], found: dict[int, set[Rpm] | None]) -> None:
        """Add the RPMs of these archives; a build of which one archive cannot be read is not known at all."""
        answers = list(self._hub.many([ask("listRPMs", imageID=archive) for _, archive in archives], ARCHIVES))
        self._learn(answer for answer in answers if not isinstance(answer, Denied))
        unreadable = set()
        for (build, archive), answer in zip(archives, answers, strict=True):
            if isinstance(answer, Denied):
                log.warning("the RPMs of Koji's archive %d cannot be read: %s", archive, answer)
                unreadable.add(build)
                continue
            rpms = found[build] or set()
            rpms.update(map(self._rpm, answer))
            found[build] = rpms
        found.update(dict.fromkeys(unreadable))

    def _learn(self, answers: Iterable[Sequence[Mapping[str, Any]]]) -> None:
        """Ask for the source builds that are not known yet."""
        if len(self._rpms) > KEPT:
            self._rpms.clear()
            self._origins.clear()
        new = sorted({row["build_id"] for rows in answers for row in rows if row["build_id"]} - self._origins.keys())
        for build, told in zip(new, self._hub.many([ask("getBuild", build) for build in new], 300), strict=True):
            if told and not isinstance(told, Denied):
                self._origins[build] = str(told["name"]), f"{told['version']}-{told['release']}"

    def _rpm(self, row: Mapping[str, Any]) -> Rpm:
        """An RPM of which Koji has no source build, as one from elsewhere, is taken for its own source package."""
        key = (row["name"], row["version"], row["release"], row["epoch"], row["arch"], row["build_id"])
        rpm = self._rpms.get(key)
        if rpm is None:
            name, version, release, epoch, arch, build = key
            origin = self._origins.get(build, (name, ""))
            rpm = self._rpms[key] = Rpm(name, int(epoch or 0), version, release, arch, *origin)
        return rpm
