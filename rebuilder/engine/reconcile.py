"""Catches up what no message told of: at the start, at intervals, and after a hold has ended."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from sqlalchemy import Connection, Engine

from rebuilder.config import Settings
from rebuilder.domain.build import InfrastructureError
from rebuilder.domain.change import Change
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Manifest
from rebuilder.domain.rpm import EVR, Rpm, SourceBuild, is_stale
from rebuilder.engine import catalogue, planning
from rebuilder.inventory.koji import offers
from rebuilder.inventory.koji.hub import Hub
from rebuilder.store import changes, inventory
from rebuilder.store.database import reading

log = logging.getLogger(__name__)


def reconcile(engine: Engine, settings: Settings, now: float, *, anew: bool, hub: Hub | None = None) -> None:
    """Take up what no message told of: what Koji's tags offer, where there is a `hub`, and what the images are now."""
    if hub is not None:
        try:
            missed(engine, hub, settings, now)
        except InfrastructureError as trouble:
            log.error("what Koji's tags offer cannot be looked at: %s", trouble)
    look(engine, settings, now, anew=anew)


def missed(engine: Engine, hub: Hub, settings: Settings, now: float) -> int:
    """Notice what the streams' tags have newer than some image, and nobody told of; how much.

    Raises InfrastructureError.
    """
    found: dict[Change, None] = {}
    for stream in settings.known_streams:
        with reading(engine) as connection:
            rpms = [rpm for rpm in inventory.rpms_in(connection, stream.name) if stream.takes(rpm.release)]
        carried: dict[str, list[Rpm]] = {}
        for rpm in rpms:
            carried.setdefault(rpm.source, []).append(rpm)
        for tag in settings.streams[stream.name].koji_tags:
            for build in offers.newest(hub, tag, sorted(carried)):
                change = Change(build, stream.name)
                if stream.takes(build.evr.release) and any(map(change.makes_stale, carried.get(build.name, ()))):
                    found[change] = None
    with engine.begin() as connection:
        return changes.notice(connection, changes.unknown(connection, found), None, "", now)


def look(engine: Engine, settings: Settings, now: float, *, anew: bool) -> None:
    """Plan what is stale and in no plan; with `anew` after looking at images that can change without us."""
    rebuilt: tuple[str, ...] = ()
    if anew and settings.inventory.moves:
        try:
            rebuilt = catalogue.sync(engine, settings).rebuilt
        except (RequestError, InfrastructureError) as error:
            log.error("the images cannot be read anew: %s", error)
    with engine.begin() as connection:
        if settings.reconcile.foreign_builds == "plan":
            found = foreign(connection, rebuilt)
            changes.notice(connection, found, None, "", now)
        wave_id = planning.catch_up(connection, settings, now)
    if wave_id is not None:
        log.info("wave %d catches up what was missed", wave_id)


def foreign(connection: Connection, rebuilt: Iterable[str]) -> list[Change]:
    """The changes by which builds that somebody else made leave the images built on them stale."""
    graph = inventory.load(connection)
    found: dict[Change, None] = {}
    for image in rebuilt:
        above = _manifest(connection, image)
        for child in graph.children(image) if image in graph else ():
            found.update(dict.fromkeys(_newer(above, _manifest(connection, child), graph.image(child).stream)))
    return list(found)


def _manifest(connection: Connection, image: str) -> Manifest:
    build = inventory.manifest_of(connection, image)
    return build.manifest if build and build.manifest else Manifest(frozenset())


def _newer(above: Manifest, below: Manifest, stream: str) -> list[Change]:
    """What the parent has newer than the child."""
    offers = {(rpm.name, rpm.arch): rpm for rpm in above.rpms}
    pairs = ((offers.get((rpm.name, rpm.arch)), rpm) for rpm in below.rpms)
    return [Change(_source_build(new), stream) for new, old in pairs if new and is_stale(old, _source_build(new).evr)]


def _source_build(rpm: Rpm) -> SourceBuild:
    if not rpm.source_evr:
        return SourceBuild(rpm.source, rpm.evr)
    version, _, release = rpm.source_evr.rpartition("-")
    return SourceBuild(rpm.source, EVR(rpm.epoch if version == rpm.version else None, version, release))
