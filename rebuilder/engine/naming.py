"""Under which names a proven build can be found: on this machine, and in registries."""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import UTC, datetime, time

from msgspec import Struct
from sqlalchemy import Connection

from rebuilder.builders.protocol import Builder, Promoting, Uploading
from rebuilder.config import Settings
from rebuilder.domain.lifecycle import RebuildRecord
from rebuilder.store import deliveries, holds
from rebuilder.store.deliveries import Wanted

Builds = Sequence[tuple[RebuildRecord, int]]  # rebuilds, and the ids of their builds


class Names(Struct, frozen=True):
    """The names of builds of a builder where these get none before they are proven."""

    builder: Promoting
    settings: Settings

    @classmethod
    def of(cls, builder: Builder, settings: Settings) -> Names | None:
        """None for a builder that gives its builds their names itself."""
        return cls(builder, settings) if isinstance(builder, Promoting) else None

    def proven(self, connection: Connection, built: Builds, now: float) -> list[Wanted]:
        """The names of these builds that no other ever gets: who tests a build finds it there."""
        return self._remote(connection, built, now, moving=False)

    def tested(self, connection: Connection, built: Builds, now: float) -> list[Wanted]:
        """The names that move, of builds that are good; those of images on hold wait, as do those of other policies."""
        held = holds.held(connection, now) if built else {}
        here = [
            Wanted(entry.image_id, entry.key, build, self.builder.public_name(entry.image),
                   waits=self._waits(entry, held))
            for entry, build in built
        ]  # fmt: skip
        return [*here, *self._remote(connection, built, now, moving=True, held=held)]

    def _waits(self, entry: RebuildRecord, held: Container[str]) -> bool:
        return self.settings.promote != "image" or entry.image in held

    def _remote(
        self, connection: Connection, built: Builds, now: float, *, moving: bool, held: Container[str] = ()
    ) -> list[Wanted]:
        registry = self.settings.registry
        if not built or not registry.push or not isinstance(self.builder, Uploading):
            return []
        today = datetime.fromtimestamp(now, UTC).date()
        midnight = datetime.combine(today, time(), UTC).timestamp()
        before = deliveries.pushed_since(connection, [entry.image_id for entry, _ in built], midnight)
        return [
            Wanted(entry.image_id, entry.key, build, spec, moves, remote=True,
                   waits=moves and self._waits(entry, held))
            for entry, build in built
            for spec, moves in registry.specs(entry.image, f"{today:%Y%m%d}", before.get(entry.image_id, 0) + 1)
            if moves is moving
        ]  # fmt: skip
