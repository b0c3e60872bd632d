"""Builds that were taken back, and those that an image can go back to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Row, exists, func, insert, select

from rebuilder.domain.lifecycle import State
from rebuilder.domain.rollback import PastBuild
from rebuilder.store.actions import ROLLBACK
from rebuilder.store.models import Action, Delivery, Image, ImageBuild, Rebuild, Rollback, RollbackRequest, aliased

_REQUESTED = (
    select(Action.id, Action.target, Action.who, Action.reason, RollbackRequest.build, RollbackRequest.with_descendants)
    .join(RollbackRequest, RollbackRequest.action_id == Action.id)
    .where(Action.done_at.is_(None))
    .order_by(Action.id)
)


class RequestedRollback(Struct, frozen=True):
    """What an operator asks for: `build` is the one to go back to, "" for the last one that can be pulled."""

    id: int
    image: str
    who: str
    reason: str
    build: str
    with_descendants: bool


class StandingRollback(Struct, frozen=True):
    """An image that has an earlier build, as the `bad` one was taken back; both by what their builder calls them."""

    image: str
    bad: str
    good: str
    who: str
    reason: str
    at: float

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"{self.bad} was taken back by {self.who}{why}; {self.good} is current again"


def request(connection: Connection, rollback: RequestedRollback, now: float) -> int:
    """Ask the engine; the number of the request. The same is not asked for twice."""
    for other in requested(connection):
        if (other.image, other.build, other.with_descendants) == (
            rollback.image, rollback.build, rollback.with_descendants
        ):
            return other.id
    row = {"at": now, "who": rollback.who, "verb": ROLLBACK, "target": rollback.image, "reason": rollback.reason}
    ident = connection.execute(insert(Action).values(row).returning(Action.id)).scalar_one()
    details = {"action_id": ident, "build": rollback.build, "with_descendants": rollback.with_descendants}
    connection.execute(insert(RollbackRequest).values(details))
    return ident


def requested(connection: Connection) -> list[RequestedRollback]:
    """What is asked for and not done yet, in the order of asking."""
    return [RequestedRollback(*row) for row in connection.execute(_REQUESTED)]


def current(connection: Connection) -> dict[str, PastBuild]:
    """The current builds of all images of the inventory that have one."""
    query = _builds(ImageBuild.id == Image.current_build_id, Image.present)
    return {row.image: _build(row) for row in connection.execute(query)}


def earlier(connection: Connection, images: Collection[str]) -> dict[str, list[PastBuild]]:
    """The builds of these images before their current ones, newest first.

    Only those that are good: none whose rebuild did not succeed, and none that was taken back.
    """
    unproven = exists().where(Rebuild.build_id == ImageBuild.id, Rebuild.state != State.SUCCEEDED)
    taken_back = exists().where(Rollback.bad_build_id == ImageBuild.id)
    query = _builds(ImageBuild.id < Image.current_build_id, Image.present, ~unproven, ~taken_back)
    builds: dict[str, list[PastBuild]] = {}
    for row in connection.execute(query.where(Image.key.in_(list(images))).order_by(ImageBuild.id.desc())):
        builds.setdefault(row.image, []).append(_build(row))
    return builds


def _builds(*conditions: ColumnElement[bool]) -> Any:
    made = select(func.max(Rebuild.key)).where(Rebuild.build_id == ImageBuild.id).correlate(ImageBuild)
    return (
        select(
            Image.key.label("image"), ImageBuild.image_id, ImageBuild.id, ImageBuild.ident,
            func.coalesce(made.scalar_subquery(), "").label("key"), ImageBuild.digest, ImageBuild.tags,
            ImageBuild.parents,
        )
        .join(Image, Image.id == ImageBuild.image_id)
        .where(*conditions)
    )  # fmt: skip


def _build(row: Row[Any]) -> PastBuild:
    return PastBuild(
        row.image, row.image_id, row.id, row.ident, row.key, row.digest, tuple(row.tags), tuple(row.parents)
    )


def moved_names(connection: Connection, build_ids: Collection[int]) -> dict[int, set[str]]:
    """The names in registries that move, and that were given to these builds, or are to be, by image."""
    query = select(Delivery.image_id, Delivery.spec).where(
        Delivery.build_id.in_(list(build_ids)), Delivery.remote, Delivery.moves,
        Delivery.state.in_(("done", "pending", "waiting")),
    )  # fmt: skip
    names: dict[int, set[str]] = {}
    for image_id, spec in connection.execute(query):
        names.setdefault(image_id, set()).add(spec)
    return names


def record(
    connection: Connection, changed: Sequence[tuple[PastBuild, PastBuild]], who: str, reason: str, now: float
) -> None:
    """These builds, the first of each pair, were taken back for the second."""
    connection.execute(insert(Rollback), [
        {"image_id": bad.image_id, "bad_build_id": bad.id, "good_build_id": good.id, "who": who, "reason": reason,
         "at": now}
        for bad, good in changed
    ])  # fmt: skip


def standing(connection: Connection, images: Collection[str] | None = None) -> dict[str, StandingRollback]:
    """The images that stand on an earlier build since one was taken back; all of them, or of these."""
    bad, good = aliased(ImageBuild), aliased(ImageBuild)
    query = (
        select(Image.key, bad.ident, good.ident, Rollback.who, Rollback.reason, Rollback.at)
        .join(Image, Image.id == Rollback.image_id)
        .join(bad, bad.id == Rollback.bad_build_id)
        .join(good, good.id == Rollback.good_build_id)
        .where(Image.current_build_id == Rollback.good_build_id)
        .order_by(Rollback.id)
    )
    if images is not None:
        query = query.where(Image.key.in_(list(images)))
    return {row[0]: StandingRollback(*row) for row in connection.execute(query)}


def taken_back(connection: Connection) -> dict[str, set[str]]:
    """All builds that were taken back and are not current again, by what builders call them, of each image."""
    query = (
        select(Image.key, ImageBuild.ident)
        .join(Rollback, Rollback.bad_build_id == ImageBuild.id)
        .join(Image, Image.id == Rollback.image_id)
        .where(Image.current_build_id != ImageBuild.id)
    )
    builds: dict[str, set[str]] = {}
    for image, ident in connection.execute(query):
        builds.setdefault(image, set()).add(ident)
    return builds


def rebuild_of(connection: Connection, bad: PastBuild) -> tuple[int, int] | None:
    """The wave and the rebuild that what happens to an image is told of: of the bad build, else the image's last."""
    query = select(Rebuild.wave_id, Rebuild.id).where(Rebuild.image_id == bad.image_id)
    order = (Rebuild.build_id == bad.id).desc().nulls_last(), Rebuild.id.desc()
    row = connection.execute(query.order_by(*order).limit(1)).one_or_none()
    return None if row is None else (row[0], row[1])
