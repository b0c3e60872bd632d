"""How a request gets at the database and the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Connection, Engine

from rebuilder.config import Settings
from rebuilder.queries import logs
from rebuilder.store.database import reading

READING = 8  # requests that read at a time: fewer than threads, and than connections


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
    reader: logs.Logs = request.app.state.logs
    return reader


async def turn(request: Request) -> AsyncIterator[None]:
    """A place among the requests that read at a time.

    A request needs a thread to take a connection and one to give it back. Without this, threads that wait for a
    connection would keep those that have one from giving it back.
    """
    async with request.app.state.turns:
        yield


def reading_connection(request: Request, _: Annotated[None, Depends(turn, scope="function")]) -> Iterator[Connection]:
    """A connection that only reads, and sees one state of the database for the whole request.

    It is given back before the answer is sent, however slowly that is taken: what streams for minutes asks
    `engine_of`, and reads in short looks.
    """
    with reading(engine_of(request)) as connection:
        yield connection


Reader = Annotated[Connection, Depends(reading_connection, scope="function")]
Database = Annotated[Engine, Depends(engine_of)]
Configured = Annotated[Settings, Depends(settings_of)]
Logs = Annotated[logs.Logs, Depends(logs_of)]
