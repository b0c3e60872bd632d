"""Which digests of external parents the images of a wave are built on: those that were current when it first used them.

All images of a wave that name a parent stand on one digest of it, wherever its tag moves meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import Connection, delete, select

from rebuilder.domain.image import PinnedParent
from rebuilder.domain.lifecycle import RebuildRecord
from rebuilder.store import externals
from rebuilder.store.models import ImageParent, WavePin
from rebuilder.store.upsert import chunks, insert_new


def fix(connection: Connection, entries: Sequence[RebuildRecord]) -> None:
    """From now on, these rebuilds' waves stand on the digests that are current, where they have none yet.

    One that no registry has told of stays open.
    """
    used = _used(connection, entries)
    if not used:
        return
    there = of_waves(connection, {entry.wave_id for entry in entries})
    pairs = {(entry.wave_id, spec) for entry in entries for spec in used.get(entry.image_id, ())}
    missing = sorted((wave, spec) for wave, spec in pairs if spec not in there.get(wave, ()))
    current = externals.current(connection) if missing else {}
    rows = [{"wave_id": wave, "spec": spec, "at": current[spec].at} for wave, spec in missing if spec in current]
    insert_new(connection, WavePin, rows)


def of_waves(connection: Connection, waves: Collection[int]) -> dict[int, dict[str, PinnedParent]]:
    """The pins of each of these waves, by pull spec."""
    pins: dict[int, dict[str, PinnedParent]] = {}
    for part in chunks(sorted(waves), 500):
        for row in connection.execute(select(WavePin.__table__).where(WavePin.wave_id.in_(part))):
            pins.setdefault(row.wave_id, {})[row.spec] = PinnedParent(row.spec, row.at)
    return pins


def forget(connection: Connection, entry: RebuildRecord) -> None:
    """The rebuild begins anew: it takes what is current then."""
    for specs in _used(connection, [entry]).values():
        connection.execute(delete(WavePin).where(WavePin.wave_id == entry.wave_id, WavePin.spec.in_(specs)))


def reopen(connection: Connection, joined: Iterable[tuple[RebuildRecord, Collection[str]]]) -> None:
    """These rebuilds, which have not begun, are to bring in what these external parents have now.

    They take what is current when they begin. The wave's images that were built before are in the plan that they
    joined, as they lack the same.
    """
    gone = {(entry.wave_id, spec) for entry, specs in joined for spec in specs}
    for wave_id, spec in sorted(gone):
        connection.execute(delete(WavePin).where(WavePin.wave_id == wave_id, WavePin.spec == spec))


def _used(connection: Connection, entries: Sequence[RebuildRecord]) -> Mapping[int, set[str]]:
    """The external parents of these rebuilds' images, by the image's id."""
    specs: dict[int, set[str]] = {}
    for part in chunks([entry.image_id for entry in entries], 500):
        query = select(ImageParent.image_id, ImageParent.external).where(ImageParent.external != "")
        for image_id, spec in connection.execute(query.where(ImageParent.image_id.in_(part))):
            specs.setdefault(image_id, set()).add(spec)
    return specs
