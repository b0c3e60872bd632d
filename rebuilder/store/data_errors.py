"""Whose fault an error of the database is: that of what was to be kept, or the database's own."""

from __future__ import annotations

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

# SQLSTATE classes: data exception, integrity constraint violation, program limit exceeded (a key too long).
_OF_THE_VALUES = ("22", "23", "54")


def is_of_the_values(error: Exception) -> bool:
    """Whether the same values would be refused again, however often they are tried.

    A driver that cannot encode a value says so with a plain ValueError, OverflowError or RecursionError.
    """
    if isinstance(error, DataError | IntegrityError):
        return True
    if isinstance(error, DBAPIError):
        return str(getattr(error.orig, "sqlstate", None) or "").startswith(_OF_THE_VALUES)
    return isinstance(error, StatementError | ValueError | OverflowError | RecursionError)


def one_line(error: Exception) -> str:
    """What went wrong, in one line that every database can keep."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    line = lines[0] if lines else type(error).__name__
    return line.encode(errors="replace").decode().replace("\0", "?")[:500]
