"""How a request gets at the database and the settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Connection, Engine

from rebuilder.answers import logs
from rebuilder.config import Settings
from rebuilder.store.database import reading


def engine_of(request: Request) -> Engine:
    """The database of this application, for a request that writes, or that lives longer than one look."""
    engine: Engine = request.app.state.engine
    return engine


def settings_of(request: Request) -> Settings:
    """The settings of this application."""
    settings: Settings = request.app.state.settings
    return settings


def logs_of(request: Request) -> logs.Logs:
    """What reads the builds' logs for this application."""
    found: logs.Logs = request.app.state.logs
    return found


def reading_connection(request: Request) -> Iterator[Connection]:
    """A connection that only reads, and sees one state of the database for the whole request.

    It is given back after the answer is sent: what streams for minutes asks `engine_of`, and reads in short looks.
    """
    with reading(engine_of(request)) as connection:
        yield connection


Reader = Annotated[Connection, Depends(reading_connection)]
Database = Annotated[Engine, Depends(engine_of)]
Configured = Annotated[Settings, Depends(settings_of)]
Logs = Annotated[logs.Logs, Depends(logs_of)]
