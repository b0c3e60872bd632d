"""What the verbs share: settings and the database, loaded and opened when first asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from rebuilder.config import Settings


class Context:
    """One invocation of the command."""

    def __init__(self, path: str | None, log: str = "") -> None:
        """`log` says what is logged, where `-v`, `-q` or REBUILDER_LOG does: it goes before the settings."""
        self.path = Path(path) if path else None
        self.log = log

    @cached_property
    def settings(self) -> Settings:
        """The settings. Raises RequestError naming the wrong key."""
        from rebuilder import config

        return config.load(self.path)

    @cached_property
    def engine(self) -> Engine:
        """The database, its tables up to date. Raises UnreachableError or RequestError."""
        from rebuilder.store import database

        return database.ready(self.settings.database)
