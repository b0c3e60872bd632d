"""Is the fix everywhere? For each image that carries the package: what it has of it, and what is done about it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.change import Change, Severity
from rebuilder.domain.errors import RequestError
from rebuilder.domain.impact import InstalledPackages, merge
from rebuilder.domain.rpm import MODULE, Rpm, SourceBuild, is_stale, that_count
from rebuilder.engine import ingest
from rebuilder.engine.plan_preview import changes_from, meant
from rebuilder.queries import forecast
from rebuilder.queries.answer import Answer
from rebuilder.queries.moment import Moment, moment
from rebuilder.queries.packages import StoredPackages
from rebuilder.store import coverage, holds, rebuild_progress
from rebuilder.store.coverage import Carrier
from rebuilder.store.rebuilds import UNSETTLED, RebuildRecord

CURRENT, STALE, UNKNOWN, HELD = "current", "stale", "unknown", "held"


class ImageCoverage(Answer):
    """An image that carries the package, or of which nobody knows whether it does.

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
    """A source build that is, or should be, in the images of a stream. `of` are the images that carry the package."""

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


class Coverage(Answer):
    """How far an update, or a build, has come. `percent` is of all pairs of an image and a package that it carries.

    Images that nobody could read count as not having it. It is null where no image is known to carry the package: then
    `hint` tells what may have been meant.
    """

    name: str
    percent: float | None
    everywhere: bool
    hint: str
    fixes: tuple[Fix, ...]


def read(connection: Connection, name: str, settings: Settings, now: float) -> Coverage:
    """The coverage of an update, by its alias, or of a source build, by its NVR.

    Raises RequestError for a name that is neither a known update nor a build of a stream's.
    """
    return _read(connection, name, _changes(connection, name, settings), settings, now)


def read_change(connection: Connection, change: Change, settings: Settings, now: float) -> Coverage:
    """The coverage of one change."""
    return _read(connection, change.build.nvr, [change], settings, now)


def _read(connection: Connection, name: str, changes: Sequence[Change], settings: Settings, now: float) -> Coverage:
    wanted = merge(changes, InstalledPackages({}))
    expected = forecast.expected(connection, settings, now)
    held = {image: str(hold) for image, hold in holds.held(connection, now).items()}
    crossed = coverage.crossed_streams(connection)
    fixes = tuple(_fix(connection, change, expected, held, crossed, settings) for change in wanted)
    carried = any(image.state != UNKNOWN for fix in fixes for image in fix.images)
    having, carrying = sum(fix.current for fix in fixes), sum(fix.of for fix in fixes)
    return Coverage(
        name=name, percent=_rounded(100.0 * having / carrying) if carried else None,
        everywhere=carried and having == carrying, hint="" if carried else _hint(connection, changes), fixes=fixes,
    )


def _hint(connection: Connection, changes: Sequence[Change]) -> str:
    """What may have been meant by builds of packages that no image carries."""
    builds = {change.build.name: change.build for change in changes}
    return "; ".join(meant(build, StoredPackages(connection)) for build in builds.values())


def _rounded(percent: float) -> float:
    """To a tenth; never 100 before all is done."""
    return min(round(percent, 1), 99.9) if percent < 100 else 100.0


def _changes(connection: Connection, name: str, settings: Settings) -> list[Change]:
    found = coverage.changes_named(connection, name)
    if found:
        return found
    try:
        build = SourceBuild.parse(name)
    except RequestError:
        raise RequestError(f"unknown update {name}: give an alias, an NVR (name-version-release) or a CVE") from None
    return changes_from([build], ingest.known_streams(connection, settings), None, Severity.UNSPECIFIED)


def _fix(
    connection: Connection,
    change: Change,
    expected: Mapping[int, float],
    held: Mapping[str, str],
    crossed: Collection[tuple[str, str]],
    settings: Settings,
) -> Fix:
    modular = MODULE in change.build.evr.release
    carriers = coverage.carriers(connection, change.build.name, change.stream, crossed)
    newest: dict[str, RebuildRecord] = {}
    for stream in {carrier.image.rpartition(":")[2] for carrier in carriers}:
        newest.update(rebuild_progress.current(connection, stream))
    images = []
    for carrier in carriers:
        rpms = [rpm for rpm in carrier.rpms if (MODULE in rpm.release) == modular]
        if rpms:
            having = Carrier(carrier.image, tuple(that_count(rpms, settings.installonly)))
            images.append(_image_coverage(having, change, newest.get(carrier.image), expected, held))
    images += [
        ImageCoverage(
            image=image, installed=(), state=UNKNOWN, reason="its contents are unknown", wave=None, eta=None
        )
        for image in coverage.unreadable(connection, change.stream)
    ]
    current = sum(image.state == CURRENT for image in images)
    return Fix(
        source=change.build.name, evr=str(change.build.evr), stream=change.stream, severity=change.severity,
        update=change.update, url=change.url, cves=change.cves, current=current, of=len(images),
        images=tuple(sorted(images, key=lambda image: (image.state == CURRENT, image.image))),
    )


def _image_coverage(
    carrier: Carrier,
    change: Change,
    entry: RebuildRecord | None,
    expected: Mapping[int, float],
    held: Mapping[str, str],
) -> ImageCoverage:
    state, reason = _state(carrier, change, entry, held)
    told = entry is not None and state == entry.state
    return ImageCoverage(
        image=carrier.image, installed=_named(carrier.rpms), state=state, reason=reason,
        wave=entry.wave_id if entry and told else None,
        eta=moment(expected.get(entry.id)) if entry and told else None,
    )


def _state(carrier: Carrier, change: Change, entry: RebuildRecord | None, held: Mapping[str, str]) -> tuple[str, str]:
    if not any(is_stale(rpm, change.build.evr) for rpm in carrier.rpms):
        return CURRENT, ""
    if entry is not None and entry.state in UNSETTLED:
        return entry.state, entry.reason
    if carrier.image in held:
        return HELD, held[carrier.image]
    return STALE, "no rebuild is planned"


def _named(rpms: Iterable[Rpm]) -> tuple[str, ...]:
    return tuple(sorted({rpm.nevra for rpm in rpms}))
