"""The builder that the settings name."""

from __future__ import annotations

from sqlalchemy import Engine

from rebuilder.builders.protocol import Builder
from rebuilder.builders.simulated import SimulatedBuilder
from rebuilder.config import Settings
from rebuilder.domain.image import Manifest
from rebuilder.store import inventory
from rebuilder.store.database import reading


def builder_for(engine: Engine, settings: Settings) -> Builder:
    """The configured builder. Raises RequestError where it cannot work here."""
    if settings.builder == "buildah":
        from rebuilder.builders.buildah import BuildahBuilder

        return BuildahBuilder(settings.buildah)
    if settings.builder == "osbs":
        from rebuilder.builders.osbs import OsbsBuilder

        return OsbsBuilder(settings)

    def manifest_of(image: str) -> Manifest | None:
        with reading(engine) as connection:
            build = inventory.manifest_of(connection, image)
        return build.manifest if build else None

    return SimulatedBuilder(settings.simulated, manifest_of)
