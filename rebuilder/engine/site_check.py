"""Asks the services that the configuration names whether they know what it says: `config check --online`."""

from __future__ import annotations

from collections.abc import Iterator

from rebuilder.builders.plugin import configured
from rebuilder.config import Settings
from rebuilder.domain.errors import InfrastructureError
from rebuilder.inventory.koji.session import Denied, KojiSession
from rebuilder.plugins import Finding


def online(settings: Settings) -> Iterator[Finding]:
    """All that can be asked without changing anything. Raises RequestError where the builder cannot work here."""
    builder = configured(settings)
    if settings.koji.hub:
        yield from _koji(settings, building=builder.builds_in_koji)
    yield from builder.questions(settings)
    if not settings.dry_run:
        yield from builder.warnings(settings)


def _koji(settings: Settings, *, building: bool) -> Iterator[Finding]:
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
