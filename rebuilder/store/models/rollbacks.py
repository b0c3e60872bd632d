"""Builds that turned out bad, and what took their places."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from rebuilder.store.models.base import Base


class RollbackRequest(Base):
    """What an operator's action `rollback` asks for: to go back to that build, "" for the last one that is there."""

    __tablename__ = "rollback_request"

    action_id: Mapped[int] = mapped_column(ForeignKey("action.id"), primary_key=True)
    build: Mapped[str]
    with_descendants: Mapped[bool]


class Rollback(Base):
    """An image whose `bad` build was taken back: its names went back to the `good` one.

    It stands while that is current: no later build has taken its place.

    Committed with the moves of the names, so that a crash loses neither.
    """

    __tablename__ = "rollback"
    __table_args__ = (
        Index("ix_rollback_image", "image_id", "id"),
        Index("ix_rollback_bad", "bad_build_id"),
        Index("ix_rollback_good", "good_build_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    bad_build_id: Mapped[int] = mapped_column(ForeignKey("image_build.id"))
    good_build_id: Mapped[int] = mapped_column(ForeignKey("image_build.id"))
    who: Mapped[str]
    reason: Mapped[str]
    at: Mapped[float]
