"""What builds take: the median seconds of each image's last ones."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from statistics import median

from sqlalchemy import Connection, Select, bindparam, func, select, update

from rebuilder.domain.lifecycle import State
from rebuilder.store.inventory import MANY
from rebuilder.store.models import Image, Rebuild, aliased

HISTORY = 5
_MEASURED = update(Image).where(Image.id == bindparam("of")).values(measured=bindparam("seconds"))


def measure(connection: Connection, image_ids: Collection[int]) -> None:
    """Keep the median seconds of each image's last builds that succeeded: what its next one is expected to take."""
    last: dict[int, list[float]] = {}
    for image_id, seconds in connection.execute(_last_seconds(), {"of": image_ids}):
        if seconds is not None:
            last.setdefault(image_id, []).append(seconds)
    if last:
        connection.execute(_MEASURED, [{"of": image, "seconds": median(times)} for image, times in last.items()])


@cache
def _last_seconds() -> Select[int, float | None]:
    """Made once. The state is hidden from the planner: SQLite would go through all that ever succeeded."""
    other = aliased(Rebuild)
    succeeded, other_succeeded = (func.coalesce(one.state, "") == State.SUCCEEDED for one in (Rebuild, other))
    newest = select(other.id).where(other.image_id == Image.id, other_succeeded).order_by(other.id.desc())
    first = func.coalesce(newest.offset(HISTORY - 1).limit(1).scalar_subquery(), 0)
    took = func.coalesce(Rebuild.built_at, Rebuild.ended_at) - func.coalesce(Rebuild.begun_at, Rebuild.started_at)
    query = select(Image.id, took).join(Rebuild, Rebuild.image_id == Image.id)
    return query.where(Image.id.in_(bindparam("of", expanding=True)), succeeded, Rebuild.id >= first)


def measured(connection: Connection, keys: Collection[str] | None = None) -> dict[str, float]:
    """The median seconds of the last builds of those of these images, or of all, that have been built."""
    query = select(Image.key, Image.measured).where(Image.present, Image.measured.is_not(None))
    if keys is not None and len(keys) <= MANY:
        query = query.where(Image.maybe_named(keys))
    return {key: seconds for key, seconds in connection.execute(query) if seconds is not None}
