"""Pull specs of other people's images, as Containerfiles have them, and as registries know them."""

from __future__ import annotations

from rebuilder.domain.errors import RequestError
from rebuilder.domain.external import at_digest, pinned, repository, tag
from rebuilder.registry.document import DIGEST
from rebuilder.registry.short_names import full_names

__all__ = ["at_digest", "candidates", "check_digest", "is_remote", "pinned", "repository", "tag", "without_digest"]
TRANSPORT = "docker://"
STORAGE = "containers-storage:"


def is_remote(spec: str) -> bool:
    """Whether a registry can be asked for it: what is said to be in this machine's storage alone, none can."""
    return not spec.startswith((STORAGE, "localhost/")) and "$" not in spec


def candidates(spec: str) -> tuple[str, ...]:
    """The full names, each with a registry, that it may stand for, in the order in which they are tried."""
    name = spec.removeprefix(TRANSPORT)
    if pinned(name):  # a tag beside a digest has no meaning
        name = at_digest(name, pinned(name))
    head, slash, _ = name.partition("/")
    if slash and ("." in head or ":" in head or head == "localhost"):
        return (name,)
    if slash:
        return (f"docker.io/{name}",)
    place, at, digest = name.partition("@")
    return tuple(f"{full}{at}{digest}" for full in full_names(place))


def check_digest(spec: str, digest: str) -> None:
    """Raises RequestError where what is asked for of that pull spec is no digest."""
    if not DIGEST.fullmatch(digest):
        raise RequestError(f"not a digest: {digest!r}; write {spec}@sha256: and 64 hexadecimal digits")


def without_digest(spec: str) -> str:
    """The pull spec with its tag alone."""
    return spec.partition("@")[0]
