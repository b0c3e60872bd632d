"""Which repositories a registry has, where it says so (`/v2/_catalog`): skopeo has no command for it.

Credentials, certificates and registries without TLS are those that people have set up for skopeo and buildah.
"""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx

from rebuilder.registry.errors import Cause, registry_error
from rebuilder.registry.short_names import configurations

MOST = 100  # pages of 1000 repositories
CERTIFICATES = Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


def repositories(host: str, seconds: float) -> list[str]:
    """All repositories of the registry, without its host. `seconds` are for each answer. Raises RegistryError."""
    insecure = _is_insecure(host)
    try:
        try:
            return _repositories(f"https://{host}", host, seconds, _verified(host, insecure))
        except httpx.ConnectError:
            if not insecure:
                raise
            return _repositories(f"http://{host}", host, seconds, False)
    except httpx.TimeoutException:
        raise registry_error(f"{host}/", f"no answer within {seconds:g} s", Cause.SLOW) from None
    except (httpx.HTTPError, ssl.SSLError) as error:
        raise registry_error(f"{host}/", str(error)) from None


def _repositories(url: str, host: str, seconds: float, verify: ssl.SSLContext | bool) -> list[str]:
    found: list[str] = []
    with httpx.Client(base_url=url, timeout=seconds, verify=verify) as client:
        path = "/v2/_catalog?n=1000"
        for _ in range(MOST):
            answer = _get(client, path, host)
            found += [str(name) for name in answer.json().get("repositories") or ()]
            path = answer.links.get("next", {}).get("url", "")
            if not path:
                return found
    return found


def _get(client: httpx.Client, path: str, host: str) -> httpx.Response:
    answer = client.get(path)
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        login = _login(host)
        challenge = answer.headers.get("www-authenticate", "")
        if challenge.lower().startswith("bearer"):
            client.headers["authorization"] = f"Bearer {_token(client, challenge, login)}"
        elif login is not None:
            client.auth = httpx.BasicAuth(*login)
        answer = client.get(path)
    if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
        raise registry_error(f"{host}/", "it has no catalog: name the repositories one by one", Cause.OTHER)
    if answer.is_error:
        raise registry_error(f"{host}/", f"its catalog cannot be read: status: {answer.status_code}")
    return answer


def _token(client: httpx.Client, challenge: str, login: tuple[str, str] | None) -> str:
    told = dict(_CHALLENGE.findall(challenge))
    wanted = {"service": told.get("service", ""), "scope": told.get("scope", "registry:catalog:*")}
    answer = client.get(told.get("realm", ""), params=wanted, auth=httpx.BasicAuth(*login) if login else None)
    answer.raise_for_status()
    said = answer.json()
    return str(said.get("token") or said.get("access_token") or "")


def _login(host: str) -> tuple[str, str] | None:
    """The user and the password for the registry, as containers-auth.json(5) has them."""
    for file in _auth_files():
        try:
            written = json.loads(file.read_text())["auths"][host]["auth"]
            user, _, password = base64.b64decode(written).decode().partition(":")
        except (OSError, ValueError, KeyError, TypeError):
            continue
        return user, password
    return None


def _auth_files() -> Iterator[Path]:
    if named := os.environ.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
        return
    home = Path.home()
    yield Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}") / "containers/auth.json"
    yield Path(f"/run/containers/{os.getuid()}/auth.json")
    yield Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers/auth.json"
    yield home / ".docker/config.json"


def _is_insecure(host: str) -> bool:
    entries = (entry for settings in configurations() for entry in settings.get("registry", ()))
    return any(
        str(entry.get("location") or entry.get("prefix") or "").partition("/")[0] == host and entry.get("insecure")
        for entry in entries
    )


def _verified(host: str, insecure: bool) -> ssl.SSLContext | bool:
    if insecure:
        return False
    context = ssl.create_default_context()
    for folder in (Path.home() / ".config/containers/certs.d", *CERTIFICATES):
        for authority in sorted((folder / host).glob("*.crt")):
            context.load_verify_locations(authority)
    return context
