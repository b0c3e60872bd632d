"""Under which names a proven build can be found: on this machine, and in registries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time

from sqlalchemy import Connection

from rebuilder.builders.protocol import Builder, Promoting, Uploading
from rebuilder.config import RegistrySettings
from rebuilder.store import deliveries
from rebuilder.store.deliveries import Wanted
from rebuilder.store.rebuilds import RebuildRecord


@dataclass(frozen=True, slots=True)
class Names:
    """The names of builds of a builder where these get none before they are proven."""

    builder: Promoting
    registry: RegistrySettings

    @classmethod
    def of(cls, builder: Builder, registry: RegistrySettings) -> Names | None:
        """None for a builder that gives its builds their names itself."""
        return cls(builder, registry) if isinstance(builder, Promoting) else None

    def wanted(self, connection: Connection, built: Sequence[tuple[RebuildRecord, int]], now: float) -> list[Wanted]:
        """The names that these rebuilds' builds, given by their ids, are to have from now on."""
        here = [Wanted(entry, build, self.builder.public_name(entry.image)) for entry, build in built]
        if not self.registry.push or not isinstance(self.builder, Uploading):
            return here
        today = datetime.fromtimestamp(now, UTC).date()
        midnight = datetime.combine(today, time(), UTC).timestamp()
        before = deliveries.pushed_since(connection, [entry.image_id for entry, _ in built], midnight)
        return here + [
            Wanted(entry, build, spec, moves, remote=True)
            for entry, build in built
            for spec, moves in self.registry.specs(entry.image, f"{today:%Y%m%d}", before.get(entry.image_id, 0) + 1)
        ]
