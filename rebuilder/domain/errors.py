"""What can be wrong with a request, as one line that says what to do."""

from __future__ import annotations


class RequestError(ValueError):
    """The request or its input was wrong; nothing was changed. The command line exits with 2."""


class UnknownError(RequestError):
    """What the request names is not there."""


class UnreachableError(RuntimeError):
    """A service (database, broker, builder) could not be reached. The command line exits with 3."""


class InfrastructureError(Exception):
    """The call failed for a reason outside the image, and is worth making again.

    With `arrived` the request may have been carried out although no answer came: only `find` can tell. Without, it
    certainly was not: the connection was refused, or the call was not made at all.
    """

    def __init__(self, reason: str = "", *, arrived: bool = True) -> None:
        super().__init__(reason)
        self.arrived = arrived
