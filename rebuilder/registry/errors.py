"""What can go wrong between us and a registry, as one line that says what to do."""

from __future__ import annotations

import re
from enum import StrEnum

from rebuilder.domain.errors import RequestError, UnreachableError

LONGEST = 300  # characters of what skopeo says that are told on


class Cause(StrEnum):
    """Why a registry gave no answer that can be used."""

    UNREACHABLE = "unreachable"
    SLOW = "slow"
    LOGIN = "login"
    CERTIFICATE = "certificate"
    BUSY = "busy"
    MISSING = "missing"
    READ_ONLY = "read-only"
    BROKEN = "broken"
    OTHER = "other"


class RegistryError(UnreachableError):
    """A registry could not be asked, or does not have the image any more. It is no fault of an image of ours."""

    def __init__(self, spec: str, cause: Cause, text: str) -> None:
        super().__init__(f"{spec}: {text}")
        self.spec, self.cause = spec, cause


class ContentsError(RequestError):
    """What is in an image cannot be read, now or later: it is unknown."""


# Texts of the containers/image library and of registries, in lower case; the first that fits says the cause.
_SIGNS = (
    (Cause.BUSY, re.compile(r"toomanyrequests|too many requests|status(?: code)?:? 429|\b429\b")),
    (Cause.CERTIFICATE, re.compile(r"x509:|certificate signed by|tls: failed to verify|certificate is not|"
                                   r"tls: bad certificate|certificate verify failed")),
    (Cause.LOGIN, re.compile(r"unauthorized|authentication required|denied|invalid username/password|status: 40[13]")),
    (Cause.MISSING, re.compile(r"manifest unknown|name unknown|manifest invalid|not found|name_unknown|status: 404")),
    (Cause.READ_ONLY, re.compile(r"(?:status ?code|status): 405|method not allowed|read-only")),
    (Cause.BROKEN, re.compile(r"(?:status ?code|status): 50[07]|no space left|insufficient storage")),
    (Cause.SLOW, re.compile(r"deadline exceeded|timeout|timed out")),
    (Cause.UNREACHABLE, re.compile(r"connection refused|no such host|no route to host|network is unreachable|"
                                   r"connection reset|gave http response|\beof\b|server misbehaving|status: 5\d\d|"
                                   r"pinging container")),
)  # fmt: skip
_ADVICE = {
    Cause.UNREACHABLE: "the registry cannot be reached",
    Cause.SLOW: "the registry did not answer in time",
    Cause.LOGIN: "the registry asks for a login, or refuses this one: run `skopeo login {host}`",
    Cause.CERTIFICATE: "the registry's certificate is not trusted: put its authority into certs.d/{host}/ca.crt",
    Cause.BUSY: "the registry answers 429 (too many requests): it is asked again later",
    Cause.MISSING: "the registry has no such image (any more)",
    Cause.READ_ONLY: "the registry is read-only",
    Cause.BROKEN: "the registry has an error of its own: see its log, and whether its disk is full",
    Cause.OTHER: "the registry is unreachable",
}


def cause_of(text: str) -> Cause:
    """What the last words of skopeo mean."""
    lowered = text.lower()
    return next((cause for cause, sign in _SIGNS if sign.search(lowered)), Cause.OTHER)


def registry_error(spec: str, text: str, cause: Cause | None = None) -> RegistryError:
    """The error for what skopeo said of this pull spec; `cause` where the text is not needed to know it."""
    cause = cause or cause_of(text)
    host = spec.partition("/")[0] if "/" in spec else "docker.io"
    advice = _ADVICE[cause].format(host=host)
    said = " ".join(text.split())
    return RegistryError(spec, cause, f"{advice} ({said[:LONGEST]})" if said else advice)
