"""The base of all answers."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """An answer, or a part of one: read from the database, or from what a server sent. Never changed."""

    model_config = ConfigDict(frozen=True, defer_build=True)
