"""What osbs-client and the cluster may answer in place of what was asked for, as our errors."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from typing import TypeVar

from rebuilder.builders.osbs_library import Library
from rebuilder.builders.pipeline_run import one_line
from rebuilder.domain.build import BuildRejected, SiteError
from rebuilder.domain.errors import InfrastructureError

T = TypeVar("T")
NOT_STARTED, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, CONFLICT, INVALID = 400, 401, 403, 404, 409, 422
CLONE = re.compile(r"/\S*/repo/(?=\S)")  # where osbs-client cloned to, and what is gone when the words are read


class RefusedByOsbs(Exception):
    """The client does not take what is to be built."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


def is_trouble(error: Exception) -> bool:
    """Whether what kept the client from judging the source is not the source's fault: git, the disk, the network.

    All that it does before it has judged is to clone the repository, and to read what is in it.
    """
    return isinstance(getattr(error, "cause", None), OSError | subprocess.SubprocessError)


class Answered(InfrastructureError):
    """The cluster answered, or the client did in its place; `code` is the HTTP status where there is one."""

    def __init__(self, message: str, code: int | None) -> None:
        super().__init__(message)
        self.code = code


class Unauthorized(InfrastructureError):
    """The token is not accepted."""

    def __init__(self, message: str) -> None:
        super().__init__(f"OSBS does not accept our credentials (renew the token or its file): {message}")


def message_of(error: Exception) -> str:
    """The client's exception in one line: of an answer in Kubernetes' own form, its message; of a cause, the cause."""
    cause = getattr(error, "cause", None)
    message = error.args[0] if error.args else ""
    text = message.decode(errors="replace") if isinstance(message, bytes) else str(message)
    if cause is not None and text == repr(cause):
        text = str(cause)
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict) and document.get("message"):
        text = str(document["message"])
    return one_line(CLONE.sub("", text)) or one_line(repr(cause or error))


def translated(library: Library, call: Callable[[], T]) -> T:
    """What the call of the client comes to; its exceptions become ours.

    Raises BuildRejected, SiteError, Unauthorized and Answered.
    """
    exceptions = library.exceptions
    try:
        return call()
    except RefusedByOsbs as refusal:
        raise BuildRejected(f"OSBS refuses it: {message_of(refusal.error)}") from None
    except exceptions.OsbsAuthException as error:
        raise Unauthorized(message_of(error)) from None
    except exceptions.OsbsException as error:
        if isinstance(error.cause, SiteError | BuildRejected):  # ours, which went through the client
            raise error.cause from None
        code = getattr(error, "status_code", None)
        if code == UNAUTHORIZED:
            raise Unauthorized(message_of(error)) from None
        message = f"OSBS: {code}: {message_of(error)}" if code else f"OSBS: {message_of(error)}"
        if code == FORBIDDEN:
            raise SiteError(message) from None
        raise Answered(message, code if isinstance(code, int) else None) from None
