from __future__ import annotations

from typing import Any


class OsbsException(Exception):
    def __init__(self, message: Any = None, cause: Any = None, traceback: Any = None) -> None:
        super().__init__(repr(cause) if message is None and cause is not None else message)
        self.message, self.cause, self.traceback = self.args[0], cause, traceback


class OsbsResponseException(OsbsException):
    def __init__(self, message: Any, status_code: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(message, *args, **kwargs)
        self.status_code = status_code


class OsbsNetworkException(OsbsException):
    def __init__(self, url: str, message: Any, status_code: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(f"({status_code}) {message}", *args, **kwargs)
        self.url, self.status_code = url, status_code


class OsbsAuthException(OsbsException):
    pass


class OsbsValidationException(OsbsException):
    pass


class OsbsCommitNotFound(OsbsException):
    pass
