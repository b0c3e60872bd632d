"""What can be wrong with a request, as one line that says what to do."""

from __future__ import annotations


class RequestError(ValueError):
    """The request or its input was wrong; nothing was changed. The command line exits with 2."""


class UnknownError(RequestError):
    """What the request names is not there."""


class UnreachableError(RuntimeError):
    """A service (database, broker, builder) could not be reached. The command line exits with 3."""
