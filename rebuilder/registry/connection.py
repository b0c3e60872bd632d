"""HTTP to one registry, for what skopeo has no command for.

Credentials, certificates and registries without TLS are those that people have set up for skopeo and buildah.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from rebuilder.registry import rate_limits
from rebuilder.registry.errors import Cause, registry_error
from rebuilder.registry.logins import login_for
from rebuilder.registry.short_names import configurations

HUB = {"docker.io": "registry-1.docker.io"}  # where the registry listens, if elsewhere than its name says
CERTIFICATES = Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d")
SHORTEST = 1.0  # seconds before one that is busy is asked again
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class Connection:
    """A registry that is asked for one scope, as `repository:team/app:pull`; it logs in when the registry wants that.

    `auth_file` is the login, else skopeo's own. The client may be shared by the connections to one registry.
    """

    def __init__(self, client: httpx.Client, host: str, scope: str, auth_file: Path | None = None) -> None:
        self._client, self._host, self._scope, self._auth_file = client, host, scope, auth_file
        self._bearer: dict[str, str] = {}
        self._basic: httpx.BasicAuth | None = None

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """The registry's answer, whatever its status. Raises httpx.HTTPError where there is none.

        One that is busy is asked again when it wants that, within the seconds that an answer may take; RegistryError
        is raised where it asks for a longer pause.
        """
        answer = self._request(method, path, **more)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._log_in(answer.headers.get("www-authenticate", ""))
            answer = self._request(method, path, **more)
        return answer

    def _request(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **more: Any
                   ) -> httpx.Response:  # fmt: skip
        until = time.monotonic() + (self._client.timeout.read or 0.0)
        attempt = 0
        while True:
            rate_limits.wait(f"{self._host}/", until - time.monotonic())
            sent = {**(headers or {}), **self._bearer}
            answer = self._client.request(method, path, headers=sent, auth=self._basic, **more)
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                return answer
            rate_limits.keep_away(self._host, max(rate_limits.asked_for(answer.headers, attempt), SHORTEST))
            attempt += 1

    def _log_in(self, challenge: str) -> None:
        login = login_for(f"{self._host}/{self._path}".rstrip("/"), self._auth_file).pair
        if challenge.lower().startswith("bearer"):
            self._bearer = {"authorization": f"Bearer {self._token(challenge, login)}"}
        elif login is not None:
            self._basic = httpx.BasicAuth(*login)

    @property
    def _path(self) -> str:
        """The repository of the scope, if it is one."""
        kind, _, named = self._scope.partition(":")
        return named.rpartition(":")[0] if kind == "repository" else ""

    def _token(self, challenge: str, login: tuple[str, str] | None) -> str:
        parameters = dict(_CHALLENGE.findall(challenge))
        query = {"service": parameters.get("service", ""), "scope": self._scope}
        auth = httpx.BasicAuth(*login) if login else None
        answer = self._client.get(parameters.get("realm", ""), params=query, auth=auth).raise_for_status()
        said = answer.json()
        return str(said.get("token") or said.get("access_token") or "")


@contextmanager
def connected(host: str, scope: str, seconds: float, auth_file: Path | None = None) -> Iterator[Connection]:
    """A connection to the registry; `seconds` are for each answer.

    Raises RegistryError for what goes wrong inside of it.
    """
    with as_registry_errors(host, seconds), client_of(host, seconds) as client:
        yield Connection(client, host, scope, auth_file)


def client_of(host: str, seconds: float) -> httpx.Client:
    """A client of the registry, which listens at once or not at all. Raises httpx.HTTPError, ssl.SSLError."""
    insecure = is_insecure(host)
    address, verify = _address(host, insecure, seconds), _verified(host, insecure)
    return httpx.Client(base_url=address, timeout=seconds, verify=verify)


@contextmanager
def as_registry_errors(host: str, seconds: float) -> Iterator[None]:
    """What goes wrong inside of it is raised as RegistryError."""
    try:
        yield
    except httpx.TimeoutException:
        raise registry_error(f"{host}/", f"no answer within {seconds:g} s", Cause.SLOW) from None
    except (httpx.HTTPError, OSError) as error:  # certificates may be unreadable
        raise registry_error(f"{host}/", str(error)) from None


def _address(host: str, insecure: bool, seconds: float) -> str:
    """Where the registry listens: one that may do without TLS is tried with it first, as skopeo does."""
    if insecure:
        try:
            httpx.get(f"https://{host}/v2/", verify=False, timeout=seconds)
        except httpx.ConnectError:
            return f"http://{host}"
    return f"https://{HUB.get(host, host)}"


def is_insecure(host: str) -> bool:
    """Whether the registry may do without TLS, or with a certificate that is not to be verified."""
    entries = (entry for settings in configurations() for entry in settings.get("registry", ()))
    named = ((str(entry.get("location") or entry.get("prefix") or ""), entry.get("insecure")) for entry in entries)
    return any(place.partition("/")[0] == host and bool(insecure) for place, insecure in named)


def is_direct(host: str) -> bool:
    """Whether its images come from the registry itself, all of them in the same way.

    No mirror, other place or ban is set up for any of them, and none may be had without TLS where others may not.
    """
    entries = (entry for settings in configurations() for entry in settings.get("registry", ()))
    return not any(_concerns(entry, host) and _diverts(entry) for entry in entries)


def _concerns(entry: Mapping[str, Any], host: str) -> bool:
    place = str(entry.get("prefix") or entry.get("location") or "").partition("/")[0]
    return place == host or (place.startswith("*.") and host.endswith(place[1:]))


def _diverts(entry: Mapping[str, Any]) -> bool:
    prefix, location = entry.get("prefix"), entry.get("location")
    elsewhere = bool(prefix) and bool(location) and prefix != location
    partly = bool(entry.get("insecure")) and "/" in str(prefix or location)
    return bool(entry.get("mirror") or entry.get("blocked")) or elsewhere or partly


def _verified(host: str, insecure: bool) -> ssl.SSLContext | bool:
    if insecure:
        return False
    context = ssl.create_default_context()
    for folder in (Path.home() / ".config/containers/certs.d", *CERTIFICATES):
        for authority in sorted((folder / host).glob("*.crt")):
            context.load_verify_locations(authority)
        for certificate in sorted((folder / host).glob("*.cert")):
            context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context
