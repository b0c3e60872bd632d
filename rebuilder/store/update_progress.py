"""How far the changes and the new bases of the running waves are."""

from __future__ import annotations

from collections.abc import Container

from msgspec import Struct, field
from sqlalchemy import Connection, select

from rebuilder.domain.change import Change as ChangeValue
from rebuilder.store import bases, changes
from rebuilder.store.models import Cause, Image, Rebuild, Wave
from rebuilder.store.read_cache import cached


class Progress(Struct):
    """The changes of an update, the waves that take them up, and image and state of each rebuild, by its id."""

    changes: list[ChangeValue] = field(default_factory=list)
    waves: set[int] = field(default_factory=set)
    rebuilds: dict[int, tuple[str, str]] = field(default_factory=dict)

    def images_in(self, states: Container[str]) -> list[str]:
        """The images whose rebuilds are in one of these states, as often as there are such rebuilds."""
        return [image for image, state in self.rebuilds.values() if state in states]


def read(connection: Connection) -> dict[str, Progress]:
    """The progress of each update by its alias, or by the source build of a change that came with none; and of each
    new base by its pull spec by digest.

    What neither asked for has no name. The most severe is first.
    """
    return cached(connection, "updates under way", lambda: _read(connection))


def _read(connection: Connection) -> dict[str, Progress]:
    query = (
        select(Rebuild.id, Rebuild.wave_id, Image.key, Rebuild.state, Cause.change_id)
        .join(Image, Image.id == Rebuild.image_id)
        .join(Wave, Wave.id == Rebuild.wave_id)
        .outerjoin(Cause, Cause.rebuild_id == Rebuild.id)
        .where(Wave.state == "running")
        .distinct()
    )
    rows = connection.execute(query).all()
    by_id = changes.of_ids(connection, {row[4] for row in rows if row[4] is not None})
    ordered = sorted(by_id.values(), key=lambda one: (-one.change.severity.weight, one.id))
    by_name: dict[str, Progress] = {}
    for one in ordered:
        by_name.setdefault(_name(one.change), Progress()).changes.append(one.change)
    new = bases.causes_of(connection, sorted({row.id for row in rows}))
    for ident, wave, image, state, change_id in rows:
        named = [_name(by_id[change_id].change)] if change_id is not None else []
        for name in [*named, *map(str, new.get(ident, ()))] or [""]:
            progress = by_name.setdefault(name, Progress())
            progress.waves.add(wave)
            progress.rebuilds[ident] = image, state
    return by_name


def _name(change: ChangeValue) -> str:
    return change.update or change.build.nvr
