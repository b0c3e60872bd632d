"""The builder that the settings name."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine

from rebuilder.builders.plugin import BuildHistory, configured, plugin_of
from rebuilder.builders.protocol import Builder
from rebuilder.config import Settings
from rebuilder.domain.build import BuildRequest
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Manifest
from rebuilder.engine.requests import requests_of
from rebuilder.inventory.koji.session import KojiSession
from rebuilder.inventory.source import source_of
from rebuilder.store import manifests, rebuilds
from rebuilder.store.database import reading


def builder_for(engine: Engine, settings: Settings) -> Builder:
    """The configured builder; in a dry run the simulated one. Raises RequestError where it cannot work here."""

    def manifest_of(image: str) -> Manifest | None:
        with reading(engine) as connection:
            return manifests.current(connection, image)

    def recall(refs: Sequence[str]) -> dict[str, tuple[BuildRequest, float]]:
        with reading(engine) as connection:
            entries = rebuilds.of_refs(connection, refs)
            orders = requests_of(connection, entries)
        return {entry.ref: (orders[entry.id], entry.started_at) for entry in entries if entry.started_at is not None}

    return plugin_of(settings).make(settings, BuildHistory(manifest_of, recall))


def koji_session_for(settings: Settings) -> KojiSession | None:
    """The Koji hub that is asked what changes are; None where none is named."""
    return KojiSession(settings.koji) if settings.koji.hub else None


def check(settings: Settings) -> None:
    """Raises RequestError saying what the configured source and builder lack, as a credential; asks no service."""
    source_of(settings).check(settings)
    configured(settings).check(settings)
    _check_tests(settings)


def _check_tests(settings: Settings) -> None:
    """A test that no builder runs would keep each build from being delivered."""
    tested = [name for name, stream in settings.streams.items() if stream.test or stream.test_script]
    if tested and not configured(settings).runs_tests:
        raise RequestError(
            f"consumer_config.streams.{tested[0]}.test: the builder {settings.builder} runs no tests: "
            "use gate = true, and `rebuilder gate IMAGE pass|fail`"
        )
