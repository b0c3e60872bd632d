"""What each message on the bus is taken to mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.topics import PARSERS, parse
from rebuilder.domain.change import (
    AvailableBuild,
    BuildFinished,
    BuildUntagged,
    Event,
    Ignored,
    InvalidMessage,
    RepoDone,
    Severity,
)
from rebuilder.domain.message import IncomingMessage
from rebuilder.domain.rpm import EVR, SourceBuild

BASH = SourceBuild("bash", EVR(None, "5.2.37", "2.fc42"))
TAGGING = {
    "build_id": 1, "name": "bash", "version": "5.2.37", "release": "2.fc42",
    "tag": "f42-updates", "tag_id": 7, "user": "bodhi", "owner": "kasal", "instance": "primary",
}  # fmt: skip
STATE_CHANGE = {
    "name": "bash", "version": "5.2.37", "release": "2.fc42", "epoch": None, "attribute": "state", "old": 0, "new": 1,
    "build_id": 1, "task_id": 9, "owner": "kasal", "instance": "primary", "request": None,
    "creation_time": "2025-05-01 10:00:00", "completion_time": "2025-05-01 10:10:00", "task": None,
}  # fmt: skip
TASK = {"id": 9, "host_id": None, "arch": "noarch", "result": None, "method": "build"}


def update(**changed: Any) -> dict[str, Any]:
    return {
        "update": {
            "alias": "FEDORA-2025-abc", "builds": [{"nvr": "bash-5.2.37-2.fc42", "epoch": 0}], "status": "stable",
            "request": None, "release": {"name": "F42"}, "user": {"name": "kasal"}, "severity": "high",
            "type": "security", "content_type": "rpm", "url": "https://bodhi.example.org/updates/FEDORA-2025-abc",
            **changed,
        },
        "agent": "bodhi",
    }  # fmt: skip


def read(topic: str, body: Any) -> tuple[Event, ...]:
    return parse(IncomingMessage("1", f"org.fedoraproject.prod.{topic}", {}, body))


def the_event(topic: str, body: Any) -> Event:
    (event,) = read(topic, body)
    return event


def test_a_stable_update_offers_its_builds() -> None:
    assert the_event("bodhi.update.complete.stable", update()) == AvailableBuild(
        BASH,
        bodhi_release="F42",
        severity=Severity.HIGH,
        update="FEDORA-2025-abc",
        url="https://bodhi.example.org/updates/FEDORA-2025-abc",
        type="security",
    )


def test_a_testing_update_is_marked_as_such() -> None:
    event = the_event("bodhi.update.complete.testing", update())
    assert isinstance(event, AvailableBuild) and event.testing


def test_each_build_of_an_update_is_one_offer() -> None:
    events = read("bodhi.update.complete.stable", update(builds=[{"nvr": "a-1-1"}, {"nvr": "b-c-2-1"}]))
    assert [event.build.name for event in events if isinstance(event, AvailableBuild)] == ["a", "b-c"]


@pytest.mark.parametrize(
    ("written", "meant"), [(0, None), ("0", None), (None, None), (1, 1), ("2", 2), (-1, None), (True, None), ([], None)]
)
def test_an_epoch_of_0_in_an_update_is_not_trusted(written: Any, meant: int | None) -> None:
    event = the_event("bodhi.update.complete.stable", update(builds=[{"nvr": "bash-5-1", "epoch": written}]))
    assert isinstance(event, AvailableBuild) and event.build.evr.epoch == meant


@pytest.mark.parametrize("kind", ["container", "flatpak", "module"])
def test_updates_of_other_things_than_rpms_are_ignored(kind: str) -> None:
    event = the_event("bodhi.update.complete.stable", update(content_type=kind))
    assert isinstance(event, Ignored) and kind in event.reason


def test_an_update_without_builds_is_ignored() -> None:
    event = the_event("bodhi.update.complete.stable", update(builds=[]))
    assert isinstance(event, Ignored) and "FEDORA-2025-abc" in event.reason


@pytest.mark.parametrize("severity", [None, "", "dire", 4, ["high"]])
def test_an_unknown_severity_is_unspecified(severity: Any) -> None:
    event = the_event("bodhi.update.complete.stable", update(severity=severity))
    assert isinstance(event, AvailableBuild) and event.severity is Severity.UNSPECIFIED


def test_the_cves_of_an_update_are_those_that_its_bugs_its_title_and_its_notes_name() -> None:
    told = update(
        bugs=[{"title": "CVE-2026-1111 openssl: overflow"}, {"title": None}, "odd", {"title": "cve-2026-22222 twice"}],
        title="openssl-3", notes="Fixes CVE-2026-1111 and\nCVE-2026-33333; see CVE-26-1",
    )
    event = the_event("bodhi.update.complete.stable", told)
    assert isinstance(event, AvailableBuild)
    assert event.cves == ("CVE-2026-1111", "CVE-2026-22222", "CVE-2026-33333")


@pytest.mark.parametrize("odd", [{"bugs": None}, {"bugs": 3, "notes": []}, {"title": {"a": 1}}])
def test_an_update_whose_texts_are_none_fixes_no_cve(odd: dict[str, Any]) -> None:
    event = the_event("bodhi.update.complete.stable", update(**odd))
    assert isinstance(event, AvailableBuild) and event.cves == ()


@pytest.mark.parametrize("url", [None, 3, "javascript:alert(1)", ""])
def test_only_a_web_address_is_taken_for_the_page_of_an_update(url: Any) -> None:
    event = the_event("bodhi.update.complete.stable", update(url=url))
    assert isinstance(event, AvailableBuild) and event.url == ""


def test_a_tagged_build_is_offered_once_the_repository_is_made_anew() -> None:
    event = the_event("buildsys.tag", TAGGING)
    assert event == AvailableBuild(BASH, koji_tag="f42-updates", waits_for_repo="f42-updates")


def test_an_untagged_build_is_withdrawn() -> None:
    assert the_event("buildsys.untag", TAGGING) == BuildUntagged(BASH, "f42-updates")


def test_a_repository_that_is_done_names_its_tag() -> None:
    body = {"repo_id": 5, "tag": "f42-build", "tag_id": 8, "instance": "primary"}
    assert the_event("buildsys.repo.done", body) == RepoDone("f42-build")


def test_a_complete_build_is_finished() -> None:
    assert the_event("buildsys.build.state.change", STATE_CHANGE) == BuildFinished(BASH, 9, container=False)


@pytest.mark.parametrize("method", ["buildContainer", "image", "kiwiBuild"])
def test_a_build_whose_task_makes_images_is_a_containers(method: str) -> None:
    body = {**STATE_CHANGE, "name": "fedora-toolbox", "version": "rawhide", "task": {**TASK, "method": method}}
    event = the_event("buildsys.build.state.change", body)
    assert isinstance(event, BuildFinished) and event.container


@pytest.mark.parametrize("topic", ["bodhi.update.request.unpush", "bodhi.update.request.obsolete"])
def test_an_update_that_bodhi_takes_back_is_withdrawn(topic: str) -> None:
    assert the_event(topic, update()) == BuildUntagged(BASH, update="FEDORA-2025-abc", bodhi_release="F42")
    events = read(topic, update(builds=[{"nvr": "a-1-1"}, {"nvr": "b-c-2-1"}]))
    assert [event.build.name for event in events if isinstance(event, BuildUntagged)] == ["a", "b-c"]
    assert isinstance(the_event(topic, update(content_type="container")), Ignored)
    assert isinstance(the_event(topic, update(builds=[])), Ignored)


@pytest.mark.parametrize("topic", ["buildsys.tag", "buildsys.untag", "buildsys.build.state.change"])
def test_draft_builds_are_ignored_as_such(topic: str) -> None:
    body = {**STATE_CHANGE, **TAGGING, "release": "2.fc42,draft_57"}
    assert the_event(topic, body) == Ignored("a draft build: bash-5.2.37-2.fc42,draft_57")


@pytest.mark.parametrize("state", [0, 2, 3, 4, "3"])
def test_builds_in_other_states_are_ignored(state: Any) -> None:
    assert isinstance(the_event("buildsys.build.state.change", {**STATE_CHANGE, "new": state}), Ignored)


@pytest.mark.parametrize(("written", "meant"), [(None, None), ("1", 1), (2, 2), (0, 0), ("one", None)])
def test_the_epoch_of_a_koji_build_may_be_null_a_number_or_a_string(written: Any, meant: int | None) -> None:
    event = the_event("buildsys.build.state.change", {**STATE_CHANGE, "epoch": written, "new": "1"})
    assert isinstance(event, BuildFinished) and event.build.evr.epoch == meant


@pytest.mark.parametrize(
    "topic", ["buildsys.tag", "buildsys.untag", "buildsys.repo.done", "buildsys.build.state.change"]
)
def test_secondary_koji_instances_are_ignored(topic: str) -> None:
    event = the_event(topic, {"instance": "riscv"})
    assert isinstance(event, Ignored) and "riscv" in event.reason


@pytest.mark.parametrize("topic", PARSERS)
@pytest.mark.parametrize("prefix", ["", "org.fedoraproject.prod.", "org.fedoraproject.stg.", "a.b.c.d."])
def test_a_topic_is_known_under_any_prefix(prefix: str, topic: str) -> None:
    with pytest.raises(InvalidMessage):
        parse(IncomingMessage("1", prefix + topic, {}, {}))


@pytest.mark.parametrize("topic", ["", "git.receive", "xbuildsys.tag", "buildsys.tag.init", "bodhi.update.comment"])
def test_other_topics_are_ignored(topic: str) -> None:
    (event,) = parse(IncomingMessage("1", topic, {}, {}))
    assert isinstance(event, Ignored)


@pytest.mark.parametrize(
    ("topic", "body", "field"),
    [
        ("buildsys.tag", [], "body"),
        ("buildsys.tag", {**TAGGING, "tag": None}, "tag"),
        ("buildsys.tag", {**TAGGING, "version": "5-2"}, "version"),
        ("buildsys.tag", {**TAGGING, "release": 2}, "release"),
        ("buildsys.untag", {**TAGGING, "name": "ba sh"}, "name"),
        ("buildsys.repo.done", {"tag": "f42\nbuild"}, "tag"),
        ("buildsys.build.state.change", {**STATE_CHANGE, "new": None}, "new"),
        ("buildsys.build.state.change", {**STATE_CHANGE, "new": "9" * 5000}, "new"),
        ("bodhi.update.complete.stable", {}, "update"),
        ("bodhi.update.complete.stable", update(alias=None), "update.alias"),
        ("bodhi.update.complete.stable", update(release={}), "update.release.name"),
        ("bodhi.update.complete.stable", update(builds="bash-5-1"), "update.builds"),
        ("bodhi.update.complete.stable", update(builds=[{"nvr": "a-1-1"}, {"nvr": "b"}]), "update.builds[1].nvr"),
    ],
)
def test_a_reason_names_the_field_that_is_wrong(topic: str, body: Any, field: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        read(topic, body)
    assert str(caught.value).startswith(f"{field}: ")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_genuine_bodhi_messages_are_understood() -> None:
    schemas = pytest.importorskip("bodhi.messages.schemas.update")
    for schema in (schemas.UpdateCompleteStableV1, schemas.UpdateCompleteTestingV1):
        message = schema(body=update())
        message.validate()
        assert isinstance(the_event(message.topic, message.body), AvailableBuild)
    for schema in (schemas.UpdateRequestUnpushV1, schemas.UpdateRequestObsoleteV1):
        message = schema(body=update())
        message.validate()
        assert isinstance(the_event(message.topic, message.body), BuildUntagged)


def test_genuine_koji_messages_are_understood() -> None:
    tag = pytest.importorskip("koji_fedoramessaging_messages.tag")
    repo = pytest.importorskip("koji_fedoramessaging_messages.repo")
    build = pytest.importorskip("koji_fedoramessaging_messages.build")
    told = {}
    for message in (
        tag.TagV1(body=TAGGING),
        tag.UntagV1(body=TAGGING),
        repo.DoneV1(body={"repo_id": 5, "tag": "f42-build", "tag_id": 8, "instance": "primary"}),
        build.BuildStateChangeV1(body={**STATE_CHANGE, "task": TASK}),
    ):
        message.validate()
        told[message.topic] = type(the_event(message.topic, message.body))
    assert told == {
        "buildsys.tag": AvailableBuild,
        "buildsys.untag": BuildUntagged,
        "buildsys.repo.done": RepoDone,
        "buildsys.build.state.change": BuildFinished,
    }


KEYS = ["update", "builds", "nvr", "epoch", "alias", "release", "name", "content_type", "severity", "url", "version",
        "tag", "instance", "new", "task", "method", "task_id", "type"]  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["a-1-1", "1", "primary"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=8),
    max_leaves=20,
)


def damaged(body: dict[str, Any]) -> st.SearchStrategy[Any]:
    """A genuine body in which some fields hold anything."""
    return st.dictionaries(st.sampled_from([*body]), JSON, max_size=4).map(lambda changed: {**body, **changed})


BODIES = JSON | damaged(TAGGING) | damaged(STATE_CHANGE) | damaged(update()["update"]).map(lambda it: {"update": it})


@given(topic=st.sampled_from([*PARSERS]), body=BODIES)
def test_any_body_gives_events_or_a_reason(topic: str, body: Any) -> None:
    try:
        events = read(topic, body)
    except InvalidMessage as reason:
        assert str(reason).isprintable()
    else:
        assert events
        assert all(isinstance(event, Event) for event in events)
