from __future__ import annotations

import json
from typing import Any

import requests

from osbs.exceptions import OsbsException, OsbsNetworkException, OsbsResponseException

RETRIES = 8
RETRIED_METHODS, RETRIED_CODES = ("GET", "PUT", "POST", "DELETE"), (408, 500, 502, 503, 504)
TIMEOUT_SECONDS = 600


class Response:
    """As HttpStream and HttpResponse: what requests answered is `req`, read at once only where it is no stream."""

    def __init__(self, answer: requests.Response) -> None:
        self.req = answer
        self.status_code, self.headers = answer.status_code, answer.headers

    @property
    def content(self) -> bytes:
        return self.req.content

    def json(self) -> Any:
        if self.status_code not in (200, 201):
            raise OsbsResponseException(self.content.decode(), self.status_code)
        return json.loads(self.content)


def request(method: str, url: str, retries_enabled: bool = True, **kwargs: Any) -> Response:
    """Repeats what was answered with an error of the server, whether it had been done or not."""
    repeat = retries_enabled and method in RETRIED_METHODS
    try:
        for _ in range(RETRIES + 1 if repeat else 1):
            answer = requests.request(method, url, timeout=TIMEOUT_SECONDS, allow_redirects=False, **kwargs)
            if answer.status_code not in RETRIED_CODES:
                break
        return Response(answer)
    except requests.exceptions.Timeout as error:
        raise OsbsNetworkException(url, str(error), "", cause=error) from None
    except Exception as error:
        raise OsbsException(cause=error) from None
