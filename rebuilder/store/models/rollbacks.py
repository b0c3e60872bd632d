"""Builds that turned out bad, and what took their places."""

from __future__ import annotations

from sqlalchemy import Boolean, Double, ForeignKey, Index, Integer, String

from rebuilder.store.models.base import Base, column


class RollbackRequest(Base):
    """What an operator's action `rollback` asks for: to go back to that build, "" for the last one that is there."""

    __tablename__ = "rollback_request"

    action_id = column(Integer, ForeignKey("action.id"), primary_key=True)
    build = column(String)
    with_descendants = column(Boolean)


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

    id = column(Integer, primary_key=True)
    image_id = column(Integer, ForeignKey("image.id"))
    bad_build_id = column(Integer, ForeignKey("image_build.id"))
    good_build_id = column(Integer, ForeignKey("image_build.id"))
    who = column(String)
    reason = column(String)
    at = column(Double)
