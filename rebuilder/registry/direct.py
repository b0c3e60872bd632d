"""What single requests do over a connection that is kept, where skopeo would be started and ping the registry first.

Whether a tag is there or has moved is one HEAD; another tag for a manifest of the same repository is one GET and one
PUT of its very bytes. Where anything is set up that only skopeo knows about, or the answer is not plain, it is left to
skopeo, which has the last word.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from rebuilder.registry.connection import Connection, as_registry_errors, client_of, is_direct, is_insecure
from rebuilder.registry.document import DIGEST, digest_of
from rebuilder.registry.errors import Cause, RegistryError
from rebuilder.registry.logins import login_for
from rebuilder.registry.pull_spec import pinned, repository, tag
from rebuilder.registry.referrers import ACCEPTED

FOUND = "docker-content-digest"


class Direct:
    """Asks registries; `seconds` are for each answer, `auth_file` is the login, else skopeo's own.

    May be used from several threads. Its methods raise RegistryError where the registry is busy or slow: to ask it
    once more would make that worse.
    """

    def __init__(self, seconds: float, auth_file: Path | None = None) -> None:
        self._seconds, self._auth_file = seconds, auth_file
        self._clients: dict[tuple[str, bool], httpx.Client] = {}

    def close(self) -> None:
        """End the connections; one that is wanted later is made anew."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def digest(self, name: str) -> str:
        """The digest that a full name stands for now; "" where skopeo is to be asked."""
        answer = self._head(name)
        digest = answer.headers.get(FOUND, "") if answer is not None and answer.is_success else ""
        return digest if DIGEST.fullmatch(digest) else ""

    def is_there(self, name: str) -> bool | None:
        """Whether the registry has what the full name stands for; None where skopeo is to be asked."""
        answer = self._head(name)
        if answer is None:
            return None
        absent = answer.status_code == httpx.codes.NOT_FOUND
        return not absent if absent or answer.is_success else None

    def give(self, at: str, name: str) -> bool:
        """Let a name with a tag stand for the image `at`, which is in the same repository, by digest.

        False where skopeo is to do it: whether the tag moved is not known then. The same done twice is one.
        """
        if repository(at) != repository(name) or pinned(name):
            return False
        got = self._ask("GET", repository(at), pinned(at), headers=ACCEPTED)
        if got is None or not got.is_success or digest_of(got.content) != pinned(at):
            return False
        kind = {"content-type": got.headers.get("content-type", "")}
        put = self._ask("PUT", repository(name), _reference(name), headers=kind, content=got.content)
        return put is not None and put.is_success and put.headers.get(FOUND, pinned(at)) == pinned(at)

    def _head(self, name: str) -> httpx.Response | None:
        return self._ask("HEAD", repository(name), _reference(name), headers=ACCEPTED)

    def _ask(self, method: str, place: str, reference: str, **more: Any) -> httpx.Response | None:
        """The registry's answer about a manifest, whatever its status; None where there is none that is plain."""
        host, _, path = place.partition("/")
        if not is_direct(host) or not login_for(place, self._auth_file).is_whole:
            return None
        scope = f"repository:{path}:{'pull,push' if method == 'PUT' else 'pull'}"

        def call(client: httpx.Client) -> httpx.Response:
            connection = Connection(client, host, scope, self._auth_file)
            return connection.ask(method, f"/v2/{path}/manifests/{reference}", **more)

        try:
            return self._with_client(host, call)
        except RegistryError as error:
            if error.cause in {Cause.BUSY, Cause.SLOW}:
                raise
            self._clients.pop((host, is_insecure(host)), None)  # where it listens is found out anew
            return None

    def _with_client(self, host: str, call: Callable[[httpx.Client], httpx.Response]) -> httpx.Response:
        with as_registry_errors(host, self._seconds):
            return call(self._client(host))

    def _client(self, host: str) -> httpx.Client:
        key = host, is_insecure(host)
        if key not in self._clients:
            made = client_of(host, self._seconds)
            if self._clients.setdefault(key, made) is not made:
                made.close()  # another thread was faster
        return self._clients[key]


def _reference(name: str) -> str:
    """The digest or the tag of a full name; `latest` where it names none."""
    return pinned(name) or tag(name)
