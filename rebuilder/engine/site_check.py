"""Asks the services that the configuration names whether they know what it says: `config check --online`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rebuilder.config import Settings
from rebuilder.domain.build import InfrastructureError
from rebuilder.inventory.koji.session import Denied, KojiSession


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, and what is wrong with it; empty where nothing is."""

    about: str
    fault: str = ""


def online(settings: Settings) -> Iterator[Finding]:
    """All that can be asked without changing anything. Raises RequestError where the builder cannot work here."""
    if settings.koji.hub:
        yield from _koji(settings)
    if settings.builder == "osbs":
        yield from _osbs(settings)


def _koji(settings: Settings) -> Iterator[Finding]:
    building = settings.builder == "koji"
    hub = KojiSession(settings.koji, building=building)
    place = f"Koji at {settings.koji.hub}"
    try:
        user = hub.call("getLoggedInUser")
        yield Finding(f"{place}, as {user['name'] if isinstance(user, dict) else 'anybody'}")
        for name, stream in settings.streams.items():
            for tag in (*stream.koji_tags, *stream.repo_tags):
                yield _known(f"tag {tag} of stream {name}", hub.call("getTag", tag))
            if stream.koji_target:
                target = hub.call("getBuildTarget", stream.koji_target)
                yield _known(f"target {stream.koji_target} of stream {name}", target)
            elif building:
                yield Finding(f"stream {name}", "koji_target is not set: its images cannot be built")
    except InfrastructureError as error:
        yield Finding(place, str(error))
    finally:
        hub.close()


def _known(what: str, answer: object) -> Finding:
    return Finding(what, "Koji does not know it" if answer is None or isinstance(answer, Denied) else "")


def _osbs(settings: Settings) -> Iterator[Finding]:
    from rebuilder.builders.osbs import OsbsBuilder

    builder = OsbsBuilder(settings)
    try:
        for about, fault in builder.site():
            yield Finding(about, fault)
    finally:
        builder.close()
    yield from untagged(settings)


def untagged(settings: Settings) -> Iterator[Finding]:
    """The streams whose images OSBS would build and tag nowhere; such builds work, and are seldom meant."""
    if settings.builder == "osbs" and not settings.dry_run:
        for name, stream in settings.streams.items():
            if not stream.koji_target:
                yield Finding(f"stream {name}", "koji_target is not set: OSBS imports what it builds into no tag")
