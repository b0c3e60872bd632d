"""Koji's client session, for callers that must know whether a request has got out, and renew sessions themselves."""

from __future__ import annotations

from typing import Any, NoReturn

import koji
import requests
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError


class ClientSession(koji.ClientSession):  # type: ignore[misc]
    """One session, for one call at a time: it counts its calls, and the hub refuses one that comes out of order.

    `reached` tells whether a request may have got to the hub since it was last set to False. The client sends a call
    twice where the connection breaks, so its last exception alone does not tell.
    """

    reached = False

    def _sendOneCall(self, handler: Any, headers: Any, request: Any) -> Any:  # noqa: N802 - the client's name
        try:
            answer = super()._sendOneCall(handler, headers, request)
        except Exception as error:
            self.reached = self.reached or not never_sent(error)
            raise
        self.reached = True
        return answer

    def _renew_session(self) -> NoReturn:
        """Leave renewing to the caller.

        The client renews an expired session under the same number and counts its calls from 0 again, while the hub
        remembers the count of the last write: it answers with SequenceError until the count has caught up.
        """
        raise koji.AuthExpired("the session has expired")

    def __del__(self) -> None:
        """The client would log out here: a request at any moment, to a hub that may be away."""


def never_sent(error: BaseException) -> bool:
    """Whether this exception proves that the request did not leave: no connection was made for it."""
    if isinstance(error, requests.exceptions.SSLError):
        return bool(koji.is_requests_cert_error(error))
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    cause = error.args[0] if isinstance(error, requests.exceptions.ConnectionError) and error.args else None
    if isinstance(cause, MaxRetryError):
        cause = cause.reason
    return isinstance(cause, NewConnectionError | ConnectTimeoutError)
