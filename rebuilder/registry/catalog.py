"""Which repositories a registry has, where it says so (`/v2/_catalog`): skopeo has no command for it."""

from __future__ import annotations

import httpx

from rebuilder.registry.connection import Connection, connected
from rebuilder.registry.errors import Cause, registry_error

MOST = 100  # pages of 1000 repositories
SCOPE = "registry:catalog:*"


def repositories(host: str, seconds: float) -> list[str]:
    """All repositories of the registry, without its host. `seconds` are for each answer. Raises RegistryError."""
    names: list[str] = []
    with connected(host, SCOPE, seconds) as connection:
        path = "/v2/_catalog?n=1000"
        for _ in range(MOST):
            answer = _page(connection, path, host)
            names += [str(name) for name in answer.json().get("repositories") or ()]
            path = answer.links.get("next", {}).get("url", "")
            if not path:
                return names
    return names


def _page(connection: Connection, path: str, host: str) -> httpx.Response:
    answer = connection.ask("GET", path)
    if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
        raise registry_error(f"{host}/", "it has no catalog: name the repositories one by one", Cause.OTHER)
    if answer.is_error:
        raise registry_error(f"{host}/", f"its catalog cannot be read: status: {answer.status_code}")
    return answer
