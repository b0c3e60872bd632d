"""Whether tags have moved: one cheap request (HEAD) for each, over a connection that is kept, and no process.

Skopeo pings the registry and takes the manifest each time. Where anything is set up that only skopeo knows about, or
the answer is not plain, it is left to skopeo, which has the last word.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx

from rebuilder.registry.connection import Connection, as_registry_errors, client_of, is_direct
from rebuilder.registry.document import DIGEST
from rebuilder.registry.errors import Cause, RegistryError
from rebuilder.registry.pull_spec import repository
from rebuilder.registry.referrers import ACCEPTED


class Probe:
    """Asks registries; `seconds` are for each answer. May be used from several threads."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._clients: dict[str, httpx.Client | None] = {}

    def close(self) -> None:
        """End the connections."""
        for client in filter(None, self._clients.values()):
            client.close()

    def digest(self, name: str) -> str:
        """The digest that a full name with a tag stands for now; "" where skopeo is to be asked.

        Raises RegistryError where the registry is busy or slow: to ask it once more would make that worse.
        """
        answer = self._ask("HEAD", repository(name), f"manifests/{_tag(name)}")
        digest = answer.headers.get("docker-content-digest", "") if answer is not None else ""
        return digest if DIGEST.fullmatch(digest) else ""

    def _ask(self, method: str, place: str, what: str) -> httpx.Response | None:
        """The registry's answer about a repository; None where there is none that is plain."""
        host, _, path = place.partition("/")

        def asked(client: httpx.Client) -> httpx.Response:
            connection = Connection(client, host, f"repository:{path}:pull")
            return connection.ask(method, f"/v2/{path}/{what}", headers=ACCEPTED)

        try:
            answer = self._with_client(host, asked)
        except RegistryError as error:
            if error.cause in {Cause.BUSY, Cause.SLOW}:
                raise
            return None
        return answer if answer is not None and answer.is_success else None

    def _with_client(self, host: str, asked: Callable[[httpx.Client], httpx.Response]) -> httpx.Response | None:
        with as_registry_errors(host, self._seconds):
            client = self._client(host)
            return asked(client) if client is not None else None

    def _client(self, host: str) -> httpx.Client | None:
        """The registry's client; None where skopeo alone is to ask it."""
        if host not in self._clients:
            made = client_of(host, self._seconds) if is_direct(host) else None
            if self._clients.setdefault(host, made) is not made and made is not None:
                made.close()  # another thread was faster
        return self._clients[host]


def _tag(name: str) -> str:
    """The tag of a full name; `latest` where it names none."""
    return name.rpartition("/")[2].partition(":")[2] or "latest"
