"""How long PostgreSQL is waited for, on both sides of the line.

The server ends what takes too long, and lets go of what a client holds that stands still; a client gives up a server
that stands still. Whoever needs other limits writes them into `database_url`: they go before these.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

from sqlalchemy import URL, Connection

OPTIONS = "options"
_STATEMENT_SECONDS = 25
_LOCK_SECONDS = 20
# A client that was stopped in a transaction loses its locks in time for another engine to act within 15 s.
_IDLE_SECONDS = 12
_SERVER = {
    "statement_timeout": _STATEMENT_SECONDS,
    "lock_timeout": _LOCK_SECONDS,
    "idle_in_transaction_session_timeout": _IDLE_SECONDS,
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
}  # fmt: skip
_UNITS = {"tcp_keepalives_idle": "", "tcp_keepalives_interval": "", "tcp_keepalives_count": ""}
_CLIENT = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}


def limits(address: URL) -> dict[str, str]:
    """The parameters of a connection to PostgreSQL that the URL has not."""
    ours = {name: value for name, value in _CLIENT.items() if name not in address.query}
    server = " ".join(f"-c {name}={value}{_UNITS.get(name, 's')}" for name, value in _SERVER.items())
    theirs = address.query.get(OPTIONS, "")
    return {**ours, OPTIONS: f"{server} {theirs if isinstance(theirs, str) else ' '.join(theirs)}".strip()}


@contextmanager
def unlimited(connection: Connection) -> Iterator[None]:
    """What this transaction does in the block may take as long as it takes."""
    driver: Any = connection.connection.driver_connection
    for name in ("statement_timeout", "lock_timeout"):
        connection.exec_driver_sql(f"SET LOCAL {name} = 0")
    driver.answer_seconds = inf
    try:
        yield
    finally:
        del driver.answer_seconds
