"""Is the fix everywhere? For each image that carries the package: what it has of it, and what is done about it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from msgspec import Struct
from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.change import Change, Severity
from rebuilder.domain.errors import RequestError
from rebuilder.domain.external import ExternalDigest
from rebuilder.domain.image_name import stream_of
from rebuilder.domain.impact import InstalledPackages, merge
from rebuilder.domain.lifecycle import OPEN, RebuildRecord
from rebuilder.domain.rpm import MODULE, Rpm, SourceBuild, is_stale, that_count
from rebuilder.engine import ingest
from rebuilder.engine.plan_preview import AskedUpdates, changes_from, meant
from rebuilder.queries import forecast
from rebuilder.queries.answer import Answer
from rebuilder.queries.moment import Moment, moment
from rebuilder.queries.packages import StoredPackages, refuse_other_epoch, refuse_untold
from rebuilder.registry.document import DIGEST
from rebuilder.registry.pull_spec import check_digest
from rebuilder.store import bases, coverage, holds, rebuild_progress
from rebuilder.store.changes import StoredChange
from rebuilder.store.read_cache import cached

CURRENT, STALE, UNKNOWN, HELD = "current", "stale", "unknown", "held"
ALL = slice(None)


class ImageCoverage(Answer):
    """An image that carries the package, or of which that is unknown.

    `state` is current, unknown, the state of the rebuild that is open or did not succeed, held, or stale: then nothing
    is done about it. `eta` is when its rebuild is expected to end.
    """

    image: str
    installed: tuple[str, ...]
    state: str
    reason: str
    wave: int | None
    eta: Moment | None


class Fix(Answer):
    """A source build that is, or should be, in the images of a stream. `of` are the images that carry the package.

    Of an external parent, `source` is the pull spec and `evr` its digest, and `of` are the images that stand on it.
    """

    source: str
    evr: str
    stream: str
    severity: str
    update: str
    url: str
    cves: tuple[str, ...]
    current: int
    of: int
    images: tuple[ImageCoverage, ...]

    @property
    def is_base(self) -> bool:
        """Whether it is a digest of an external parent rather than a source build."""
        return DIGEST.fullmatch(self.evr) is not None

    @property
    def title(self) -> str:
        """What it is, as people write it."""
        return f"{self.source}{'@' if self.is_base else '-'}{self.evr}"


class Coverage(Answer):
    """How far an update, or a build, has come. `percent` is of all pairs of an image and a package that it carries.

    Images that could not be read count as not having it. It is null where no image is known to carry the package: then
    `hint` tells what may have been meant.
    """

    name: str
    percent: float | None
    everywhere: bool
    hint: str
    fixes: tuple[Fix, ...]


def read(connection: Connection, name: str, settings: Settings, now: float, part: slice = ALL) -> Coverage:
    """The coverage of an update, by its alias, of a source build, by its NVR, or of an external parent, by SPEC or
    SPEC@DIGEST; of the images of each fix, this part.

    Raises RequestError for a name that is no known update, no build of a stream's and no digest of a known parent:
    UnknownError for an alias or a CVE of which nothing is known.
    """
    reading = _Fixes(connection, settings, now, part)
    if (base := bases.named(connection, name)) is not None:
        return _of_base(name, base, reading)
    stored = coverage.changes_named(connection, name)
    offered = [item.change for item in stored if not item.withdrawn]
    if stored and not offered:
        return _withdrawn(name)
    return _read(connection, name, offered or _asked_about(connection, name, settings), reading)


def _of_base(name: str, base: ExternalDigest, reading: _Fixes) -> Coverage:
    """How many of the images on the external parent stand on that digest. Raises RequestError for what is no digest."""
    if not base.digest:
        return _told(name, (), f"which digest {base.spec} has is not known: its registry gave no answer yet")
    check_digest(base.spec, base.digest)
    fixes = tuple(reading.of_base(base))
    hint = "" if fixes else f"no image is built on {base.spec}"
    return _told(name, fixes, hint)


def read_change(
    connection: Connection, stored: StoredChange, settings: Settings, now: float, part: slice = ALL
) -> Coverage:
    """The coverage of one change, with this part of the images."""
    name = stored.change.build.nvr
    if stored.withdrawn:
        return _withdrawn(name)
    return _read(connection, name, [stored.change], _Fixes(connection, settings, now, part))


def _withdrawn(name: str) -> Coverage:
    """No image lacks what is not available any more, and none needs it."""
    return _told(name, (), f"{name} was withdrawn: no image is rebuilt for it")


def _read(connection: Connection, name: str, changes: Sequence[Change], reading: _Fixes) -> Coverage:
    read = [reading.fix(change) for change in merge(changes, InstalledPackages({}))]
    fixes = tuple(fix for fix, _ in read)
    carried = any(is_carried for _, is_carried in read)
    return _told(name, fixes, "" if carried else _hint(connection, changes))


def _told(name: str, fixes: tuple[Fix, ...], hint: str) -> Coverage:
    """The share of all; with a `hint`, nothing is known to be counted."""
    having, carrying = sum(fix.current for fix in fixes), sum(fix.of for fix in fixes)
    return Coverage(
        name=name, percent=None if hint else _rounded(100.0 * having / carrying),
        everywhere=not hint and having == carrying, hint=hint, fixes=fixes,
    )


def _hint(connection: Connection, changes: Sequence[Change]) -> str:
    """What may have been meant by builds of packages that no image carries."""
    builds = {change.build.name: change.build for change in changes}
    return "; ".join(meant(build, StoredPackages(connection)) for build in builds.values())


def _rounded(percent: float) -> float:
    """To a tenth; never 100 before all is done."""
    return min(round(percent, 1), 99.9) if percent < 100 else 100.0


def _asked_about(connection: Connection, name: str, settings: Settings) -> list[Change]:
    """What would be the changes of a build that nothing told of."""
    refuse_untold(connection, name)
    try:
        build = SourceBuild.parse(name)
    except RequestError:
        raise RequestError(
            f"unknown update {name}: give an alias, an NVR (name-version-release), a CVE, or SPEC[@DIGEST] of an "
            "external parent"
        ) from None
    refuse_other_epoch(connection, build)
    return changes_from([build], ingest.known_streams(connection, settings), AskedUpdates([name]))


class _Having(Struct, frozen=True):
    """What some images have of a fix: all that they carry is new enough, or not; or why that is `unknown`."""

    current: bool
    installed: tuple[str, ...]
    unknown: str = ""


NOBODY_KNOWS = _Having(False, (), "its contents are unknown")
NOT_RECORDED = _Having(False, (), "the record of its build does not say on which digest it stands")


class _Fixes(Struct, frozen=True, dict=True):
    """Reads how far fixes have come. Of every image it is read what it has, of those of the `part` what is done too."""

    connection: Connection
    settings: Settings
    now: float
    part: slice

    @cached_property
    def _crossed(self) -> Collection[tuple[str, str]]:
        return coverage.crossed_streams(self.connection)

    @cached_property
    def _held(self) -> Mapping[str, str]:
        return {image: str(hold) for image, hold in holds.held(self.connection, self.now).items()}

    @cached_property
    def _expected(self) -> Mapping[int, float]:
        return forecast.expected(self.connection, self.settings, self.now)

    def fix(self, change: Change) -> tuple[Fix, bool]:
        """How far the change has come, those that lack it first; and whether any image is known to carry it."""
        key = "coverage", change, self.settings.installonly
        having, carried = cached(self.connection, key, lambda: self._in_order(change))
        return Fix(
            source=change.build.name, evr=str(change.build.evr), stream=change.stream, severity=change.severity,
            update=change.update, url=change.url, cves=change.cves,
            current=sum(progress.current for progress in having.values()), of=len(having), images=self._shown(having),
        ), carried

    def _shown(self, having: Mapping[str, _Having]) -> tuple[ImageCoverage, ...]:
        """The part of the images that is asked for, with what is done about those that lack it."""
        shown = list(having)[self.part]
        lacking = {image for image in shown if not having[image].current and not having[image].unknown}
        rebuilds = rebuild_progress.unsettled(self.connection, lacking) if lacking else {}
        return tuple(self._image(image, having[image], rebuilds.get(image)) for image in shown)

    def of_base(self, base: ExternalDigest) -> Iterator[Fix]:
        """How far a digest of an external parent has come, in each stream with images on that.

        An image on a digest that is known to be later has it, too.
        """
        good = {base.digest, bases.later(self.connection, base)}
        moved = bases.moved(self.connection)
        streams: dict[str, dict[str, _Having]] = {}
        for one in bases.standing(self.connection):
            if one.spec == base.spec:
                older = one.image in moved and moved[one.image].base == base
                unsaid = _Having(False, ()) if older else NOT_RECORDED
                progress = _Having(one.at in good, (one.at,)) if one.at else unsaid
                streams.setdefault(stream_of(one.image), {})[one.image] = progress
        for stream, having in sorted(streams.items()):
            images = dict(sorted(having.items(), key=lambda item: (item[1].current, item[0])))
            yield Fix(
                source=base.spec, evr=base.digest, stream=stream, severity=Severity.UNSPECIFIED, update="", url="",
                cves=(), current=sum(progress.current for progress in images.values()), of=len(images),
                images=self._shown(images),
            )

    def _in_order(self, change: Change) -> tuple[Mapping[str, _Having], bool]:
        """What each image has of it, those that lack it first; and whether any image is known to carry it."""
        having = dict(self._having(change))
        carried = bool(having)
        having.update(dict.fromkeys(coverage.unreadable(self.connection, change.stream), NOBODY_KNOWS))
        images = sorted(having, key=lambda image: (having[image].current, image))
        return {image: having[image] for image in images}, carried

    def _having(self, change: Change) -> Iterator[tuple[str, _Having]]:
        modular = MODULE in change.build.evr.release
        for carriers in coverage.carriers(self.connection, change.build.name, change.stream, self._crossed):
            rpms = [rpm for rpm in carriers.rpms if (MODULE in rpm.release) == modular]
            if rpms:
                counting = that_count(rpms, self.settings.installonly)
                current = not any(is_stale(rpm, change.build.evr) for rpm in counting)
                progress = _Having(current, _named(counting))
                yield from ((image, progress) for image in carriers.images)

    def _image(self, image: str, having: _Having, entry: RebuildRecord | None) -> ImageCoverage:
        state, reason = self._state(image, having, entry)
        rebuild = entry if entry is not None and state == entry.state else None
        return ImageCoverage(
            image=image, installed=having.installed, state=state, reason=reason,
            wave=rebuild.wave_id if rebuild else None,
            eta=moment(self._expected.get(rebuild.id)) if rebuild and rebuild.state in OPEN else None,
        )

    def _state(self, image: str, having: _Having, entry: RebuildRecord | None) -> tuple[str, str]:
        if having.unknown:
            return UNKNOWN, having.unknown
        if having.current:
            return CURRENT, ""
        if entry is not None:
            return entry.state, entry.reason
        if image in self._held:
            return HELD, self._held[image]
        return STALE, "no rebuild is planned"


def _named(rpms: Iterable[Rpm]) -> tuple[str, ...]:
    return tuple(sorted({rpm.nevra for rpm in rpms}))
