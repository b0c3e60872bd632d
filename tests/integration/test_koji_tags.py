"""Which repositories a tagged build comes into, and what is offered no more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import koji_hub
from support.koji_builds import Koji

from rebuilder.config import KojiSettings, StreamSettings
from rebuilder.domain.errors import InfrastructureError
from rebuilder.inventory.koji.repositories import KEPT_SECONDS, Repositories, still_tagged
from rebuilder.inventory.koji.session import KojiSession

BUILD = "f42-container-build"
TAKEN = frozenset({BUILD, "f42-build", "f42-override", "f42-updates", "f42"})
STREAMS = {
    "f42": StreamSettings(koji_tags=("f42-updates",), koji_target="f42-container"),
    "f41": StreamSettings(koji_tags=("f41-updates",), repo_tags=("f41-build",)),
    "file": StreamSettings(dist=".el9"),
    "odd": StreamSettings(koji_target="nothing"),
}


@pytest.fixture
def running() -> Iterator[koji_hub.Hub]:
    """A hub as Fedora's: updates come into a build tag over an override tag, never into a repository of their own."""
    with koji_hub.Hub(Koji()) as made:
        made.koji.inheritance = {
            BUILD: ["f42-build"], "f42-build": ["f42-override"], "f42-override": ["f42-updates"],
            "f42-updates": ["f42"], "f42": [],
        }  # fmt: skip
        yield made


def settings(running: koji_hub.Hub) -> KojiSettings:
    return KojiSettings(hub=running.url, timeout_seconds=5)


def test_the_repository_of_an_update_is_that_of_the_build_tag_that_inherits_it(running: koji_hub.Hub) -> None:
    found = Repositories(KojiSession(settings(running)), STREAMS)
    assert found.waited_for("f42", "f42-updates") == (BUILD,)
    assert found.waited_for("f42", "f42-updates-testing") == (), "no repository takes from it"
    assert found.done(BUILD) == {"f42": TAKEN}
    assert found.done("f42-updates") == {}, "no repository is ever made of it"


def test_build_tags_that_are_set_need_no_hub() -> None:
    found = Repositories(None, STREAMS)
    assert found.waited_for("f41", "f41-updates") == ("f41-build",)
    assert found.done("f41-build") == {"f41": frozenset({"f41-build", "f41-updates"})}
    assert found.waited_for("f42", "f42-updates") == (), "nobody knows: nothing is waited for"


def test_a_stream_without_a_build_tag_waits_for_nothing(running: koji_hub.Hub) -> None:
    found = Repositories(KojiSession(settings(running)), STREAMS)
    assert [found.waited_for(stream, "f42-updates") for stream in ("file", "odd", "unknown")] == [(), (), ()]


def test_koji_is_asked_once_an_hour_and_what_it_said_is_good_while_it_is_away(running: koji_hub.Hub) -> None:
    now = [0.0]
    found = Repositories(KojiSession(settings(running)), STREAMS, lambda: now[0])
    with running.away(), pytest.raises(InfrastructureError):
        found.done(BUILD)
    for _ in range(5):
        assert found.done(BUILD) == {"f42": TAKEN}
    assert running.calls["getFullInheritance"] == 1
    now[0] += KEPT_SECONDS
    with running.away():
        assert found.done(BUILD) == {"f42": TAKEN}
    running.koji.inheritance |= {"f42-build": ["f42-override", "f42-side"], "f42-side": []}
    assert found.done(BUILD) == {"f42": TAKEN | {"f42-side"}}


def test_a_build_that_left_one_tag_may_be_in_another(running: koji_hub.Hub) -> None:
    koji, asked = running.koji, KojiSession(settings(running))
    build = koji.source_build("bash-5.3-1.fc42", tag="f42-updates-testing")
    koji.tag(build, "f42-updates")
    koji.untag(build, "f42-updates-testing")
    tags = ("f42-updates", "f42-updates-testing")
    assert still_tagged(asked, ["bash-5.3-1.fc42", "bash-0-0"], tags) == {"bash-5.3-1.fc42": True, "bash-0-0": False}
    koji.untag(build, "f42-updates")
    assert still_tagged(asked, ["bash-5.3-1.fc42"], tags) == {"bash-5.3-1.fc42": False}
