"""What the verbs share: settings and the database, loaded and opened when first asked for."""

from __future__ import annotations

import getpass
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from rebuilder.config import Settings
    from rebuilder.config_file import Origin


def whoami() -> str:
    """Who types, as $LOGNAME or the account says it; without an account, as in a container, the user's number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


class Context:
    """One invocation of the command. With `verbose` it says which configuration it uses."""

    def __init__(self, path: str | None, log: str = "", *, verbose: bool = False) -> None:
        """`log` says what is logged, where `-v`, `-q` or REBUILDER_LOG does: it goes before the settings."""
        self.path = Path(path) if path else None
        self.log = log
        self._verbose = verbose

    @cached_property
    def origin(self) -> Origin:
        """Where the settings come from."""
        from rebuilder import config_file

        return config_file.origin(self.path)

    @cached_property
    def settings(self) -> Settings:
        """The settings. Raises RequestError naming the wrong key."""
        from rebuilder import config

        settings = config.load(self.origin.path)
        if self._verbose:
            self._say_origin(settings)
        return settings

    @cached_property
    def engine(self) -> Engine:
        """The database, its tables up to date; made where it is missing. Raises UnreachableError or RequestError."""
        from rebuilder.store import database

        return database.ready(self._told.database)

    @cached_property
    def stored(self) -> Engine:
        """The same for who asks, or decides about what is there: none is made, and UnreachableError raised instead."""
        from rebuilder.store import database

        return database.existing(self._told.database)

    @cached_property
    def _told(self) -> Settings:
        """The settings; where it could be doubted which they are, that is said on standard error."""
        if self.origin.doubtful and not self._verbose:
            self._say_origin(self.settings)
        return self.settings

    def _say_origin(self, settings: Settings) -> None:
        from rebuilder.cli.terminal import one_line
        from rebuilder.store import database

        where = f"rebuilder: {self.origin}; database {database.shown(settings.database)}"
        click.echo(one_line(where), err=True)
