"""The builder that the settings name."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine

from rebuilder.builders.protocol import Builder
from rebuilder.builders.simulated import SimulatedBuilder
from rebuilder.config import Settings
from rebuilder.domain.build import BuildRequest
from rebuilder.domain.image import Manifest
from rebuilder.engine.requests import requests_of
from rebuilder.inventory.koji import session
from rebuilder.inventory.koji.session import KojiSession
from rebuilder.store import manifests, rebuilds
from rebuilder.store.database import reading


def builder_for(engine: Engine, settings: Settings) -> Builder:
    """The configured builder; in a dry run the simulated one. Raises RequestError where it cannot work here."""
    wanted = "simulated" if settings.dry_run else settings.builder
    if wanted == "buildah":
        from rebuilder.builders.buildah import BuildahBuilder

        return BuildahBuilder(settings.buildah, settings.inventory.registry, settings.registry)
    if wanted == "koji":
        from rebuilder.builders.koji import KojiBuilder

        return KojiBuilder(settings)
    if wanted == "osbs":
        from rebuilder.builders.osbs import OsbsBuilder

        return OsbsBuilder(settings)

    def manifest_of(image: str) -> Manifest | None:
        with reading(engine) as connection:
            return manifests.current(connection, image)

    def recall(refs: Sequence[str]) -> dict[str, tuple[BuildRequest, float]]:
        with reading(engine) as connection:
            entries = rebuilds.of_refs(connection, refs)
            orders = requests_of(connection, entries)
        return {entry.ref: (orders[entry.id], entry.started_at) for entry in entries if entry.started_at is not None}

    return SimulatedBuilder(settings.simulated, manifest_of, recall=recall)


def koji_session_for(settings: Settings) -> KojiSession | None:
    """The Koji hub that is asked what changes are; None where none is named."""
    return KojiSession(settings.koji) if settings.koji.hub else None


def check(settings: Settings) -> None:
    """Raises RequestError saying what the configured builder and inventory lack, as a credential; asks nobody."""
    if "koji" in (settings.builder, settings.inventory.source):
        session.check(settings.koji, building=settings.builder == "koji")
    if settings.builder == "osbs":
        from rebuilder.builders.osbs import OsbsBuilder

        OsbsBuilder(settings).close()
