"""What can be read over HTTP: lists and their filters, one thing each, plans, coverage; and what errors look like."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from integration.stored import content
from integration.workbench import BASH, CHAIN, SSL, Workbench, image
from sqlalchemy import Engine
from support.api_client import Client

from rebuilder.domain.image import Image, ImageBuild, Manifest, Parent, ParentKind
from rebuilder.domain.rpm import Rpm
from rebuilder.store import holds

NEW = "openssl-libs-1:3.2.2-1.fc42.x86_64"


def scene(store: Engine) -> Workbench:
    """A wave that is done, in which one build failed, and another that has only been planned."""
    found = Workbench(store, (*CHAIN, image("plain", rpms=(BASH,)), image("blind", rpms=None)),
                      simulated={"failures": ["mid:f42"]}, max_builds=2)
    found.tell("openssl-3.2.2-1.fc42", severity="high")
    found.finish()
    return found


@pytest.fixture
def bench(store: Engine) -> Workbench:
    return scene(store)


@pytest.fixture(scope="module")
def client(shared_store: Engine) -> Iterator[Client]:
    """For what only reads: in the end, all is as it was."""
    client = Client(shared_store, scene(shared_store).settings)
    before = content(shared_store)
    yield client
    assert content(shared_store) == before


def named(found: list[dict[str, str]]) -> list[str]:
    return [item["image"] for item in found]


def test_the_status_says_what_is_not_well(client: Client) -> None:
    found = client.reads("status")
    assert (found["well"], found["open"], found["messages"]) == (False, {}, {"accepted": 1})
    assert found["waves"][0]["rebuilds"] == {"succeeded": 2, "failed": 1, "blocked": 1}


def test_lists_come_in_pages_that_join_without_a_gap(client: Client) -> None:
    whole = client.reads("images", limit=500)
    assert whole["next"] is None
    assert client.items("images", limit=1) == client.items("images", limit=2) == whole["items"]
    assert named(whole["items"]) == sorted(named(whole["items"]))
    rebuilds = client.items("rebuilds", limit=1)
    assert [r["id"] for r in rebuilds] == sorted((r["id"] for r in rebuilds), reverse=True)
    assert len(rebuilds) == 4


@pytest.mark.parametrize(
    ("path", "asked", "count"),
    [
        ("rebuilds", {"state": "failed"}, 1),
        ("rebuilds", {"state": ["failed", "blocked"]}, 2),
        ("rebuilds", {"image": "a*"}, 2),
        ("rebuilds", {"image": "?ase:f4?"}, 1),
        ("rebuilds", {"package": "openssl"}, 4),
        ("rebuilds", {"package": "bash"}, 0),
        ("rebuilds", {"update": "FEDORA-1", "state": "succeeded"}, 2),
        ("rebuilds", {"severity": "high"}, 4),
        ("rebuilds", {"severity": "low"}, 0),
        ("rebuilds", {"until": "1970-01-01T00:00:00Z"}, 0),
        ("rebuilds", {"since": "1970-01-02", "until": "1980-01-01"}, 4),
        ("rebuilds", {"wave": 1}, 4),
        ("waves", {"state": "finished", "severity": "high", "update": "FEDORA-1", "image": "base"}, 1),
        ("waves", {"image": "plain"}, 0),
        ("images", {}, 6),
        ("images", {"package": "bash"}, 1),
        ("images", {"state": "stale"}, 2),
        ("images", {"state": ["stale", "unknown"]}, 3),
        ("images", {"state": "stale", "image": "mid"}, 1),
        ("images", {"last_rebuild": "blocked"}, 1),
        ("images", {"state": "current", "last_rebuild": "blocked"}, 0),
        ("builds", {"image": "base"}, 2),
        ("builds", {"package": "openssl", "image": "alone:f42"}, 2),
        ("changes", {"package": "openssl", "severity": ["high", "low"], "stream": "f42", "state": "planned"}, 1),
        ("changes", {"update": "openssl-3.2.2-1.fc42", "severity": "low"}, 0),
        ("messages", {"topic": "*.stable", "state": "accepted"}, 1),
        ("messages", {"state": "rejected"}, 0),
    ],
)
def test_lists_are_filtered(client: Client, path: str, asked: dict[str, str], count: int) -> None:
    assert len(client.items(path, **asked)) == count


@pytest.mark.parametrize(
    "asked", [{"image": "A*"}, {"image": "a[lp]*"}, {"image": "a_p%"}, {"stream": "f41"}], ids=lambda asked: str(asked)
)
def test_a_name_or_glob_that_no_image_ever_matched_is_refused(client: Client, asked: dict[str, str]) -> None:
    """So that nobody takes an empty list for good news."""
    refused = client.get("rebuilds", **asked)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid-request")


def test_a_wave_and_its_rebuilds_say_why_they_are_there(client: Client) -> None:
    wave = client.reads("waves/1")
    by = {rebuild["image"]: rebuild for rebuild in wave["rebuilds"]}
    assert (wave["state"], wave["counts"]["failed"]) == ("finished", 1)
    assert by["app:f42"]["after"] == ["mid:f42"]
    assert by["mid:f42"]["causes"][0]["inherited_from"] == "base:f42"
    failed = client.reads(f"rebuilds/{by['mid:f42']['id']}")
    assert (failed["state"], failed["reason"], failed["after"]) == ("failed", "simulated failure", ["base:f42"])
    assert [step["state"] for step in failed["story"]][-2:] == ["building", "failed"]
    assert client.reads("waves/1/story")[0]["event"] == "planned"


def test_a_build_says_what_changed(client: Client) -> None:
    newest, first = client.items("builds", image="base:f42")
    assert client.reads(f"builds/{newest['id']}")["changed"] == {
        "since": "first", "added": [], "removed": [], "updated": [{"before": SSL, "after": NEW}],
    }
    assert client.reads(f"builds/{first['id']}")["changed"] is None
    assert [rpm["nevra"] for rpm in client.reads(f"manifests/{newest['manifest']}")["rpms"]] == [NEW]


def test_an_image_has_neighbours_and_reasons(client: Client) -> None:
    found = client.reads("images/mid:f42")
    assert (found["state"], found["last_rebuild"], found["children"]) == ("stale", "failed", ["app:f42"])
    assert (found["severity"], [one["nvr"] for one in found["missing"]]) == ("high", ["openssl-3.2.2-1.fc42"])
    assert found["parents"] == [{"name": "base:f42", "kind": "base", "external": False}]
    told = client.reads("images/mid:f42/why")["rebuilds"][0]
    assert (told["state"], told["reasons"][0]["update"]) == ("failed", "FEDORA-1")
    (verdict,) = client.reads("images/app:f42/why", update="openssl-3.2.3-1.fc42")["verdicts"]
    assert (verdict["verdict"], verdict["depends_on"]) == ("rebuild", ["mid:f42"])


def test_a_message_is_shown_as_it_came(client: Client) -> None:
    (message,) = client.items("messages")
    assert client.reads(f"messages/{message['id']}")["body"]["update"]["alias"] == "FEDORA-1"
    (change,) = client.items("changes")
    assert client.reads(f"changes/{change['id']}")["message"] == message["id"]


@pytest.mark.parametrize(("name", "hint"), [
    ("openssl-libs-3.2.6-2.fc42",
     "4 images carry the RPM openssl-libs; its source is openssl: did you mean openssl-3.2.6-2.fc42?"),
    ("opensl-3.2.6-2.fc42", "no image carries RPMs of opensl: did you mean openssl-3.2.6-2.fc42?"),
    ("zsh-5.9-1.fc42", "no image carries RPMs of zsh"),
])  # fmt: skip
def test_nothing_is_not_everywhere(client: Client, name: str, hint: str) -> None:
    found = client.reads(f"coverage/{name}")
    assert (found["percent"], found["everywhere"], found["hint"]) == (None, False, hint)


def test_coverage_says_how_far_a_fix_is(bench: Workbench) -> None:
    client = Client(bench.store, bench.settings)
    found = client.reads("coverage/FEDORA-1")
    (fix,) = found["fixes"]
    assert (fix["current"], fix["of"], found["everywhere"], found["percent"]) == (2, 5, False, 40.0)
    states = {image["image"]: (image["state"], image["installed"]) for image in fix["images"]}
    assert states == {
        "base:f42": ("current", [NEW]), "alone:f42": ("current", [NEW]), "mid:f42": ("failed", [SSL]),
        "app:f42": ("blocked", [SSL]), "blind:f42": ("unknown", []),
    }
    assert client.reads("coverage/openssl-3.2.2-1.fc42") == found | {"name": "openssl-3.2.2-1.fc42"}
    with bench.store.begin() as connection:
        holds.hold(connection, "base:f42", "ann", "tests", None, bench.clock.now)
    newer = client.reads("coverage/openssl-3.2.9-1.fc42")["fixes"][0]["images"]
    assert {i["image"]: i["state"] for i in newer}["base:f42"] == "held"
    assert {i["image"]: i["state"] for i in newer}["alone:f42"] == "stale"


def test_coverage_counts_what_comes_from_a_parent_in_another_stream_for_that_stream(store: Engine) -> None:
    old, ours = "openssl-libs-1:3.2.1-1.fc44.x86_64", "openssl-libs-1:3.2.2-1.fc42.x86_64"
    images = [
        (Image(name, stream, tuple(Parent(ParentKind.BASE, parent) for parent in above)),
         ImageBuild(f"{name}:{stream}", "1", Manifest.of([Rpm.parse(rpm, "openssl")])))
        for name, stream, above, rpm in (
            ("base", "f44", (), old), ("tool", "f42", ("base:f44",), old), ("own", "f42", ("base:f44",), ours),
        )
    ]  # fmt: skip
    streams = {"f42": {"dist": ".fc42"}, "f44": {"dist": ".fc44"}}
    client = Client(store, Workbench(store, images, streams=streams).settings)
    covered = {
        nvr: {image["image"] for image in client.reads(f"coverage/{nvr}")["fixes"][0]["images"]}
        for nvr in ("openssl-3.2.2-1.fc44", "openssl-3.2.2-1.fc42")
    }
    assert covered == {"openssl-3.2.2-1.fc44": {"base:f44", "tool:f42"}, "openssl-3.2.2-1.fc42": {"own:f42"}}


def test_coverage_knows_when_what_is_open_will_be_done(store: Engine) -> None:
    bench = Workbench(store, max_builds=1, simulated={"duration": 60})
    bench.clock.now = time.time()
    bench.tell("openssl-3.2.2-1.fc42")
    bench.passes()
    client = Client(store, bench.settings)
    images = {image["image"]: image for image in client.reads("coverage/FEDORA-1")["fixes"][0]["images"]}
    assert images["base:f42"]["state"] == "building"
    assert images["app:f42"]["eta"] > images["mid:f42"]["eta"] >= images["base:f42"]["eta"]
    queue = client.reads("queue")
    assert [(q["image"], q["waits"]) for q in queue["queued"]] == [("alone:f42", "all 1 slots are in use")]
    assert client.reads("waves/1")["eta"] is not None


def test_a_plan_is_made_and_changes_nothing(client: Client) -> None:
    response = client.http.post("/api/v1/plan", json={"updates": ["bash-9-1.fc42"], "severity": "urgent"})
    assert [rebuild["image"] for rebuild in response.json()["rebuilds"]] == ["plain:f42"]
    assert len(client.items("waves")) == 1
    assert len(client.items("changes")) == 1


def test_the_graph_has_the_states_of_a_wave(client: Client) -> None:
    nodes = client.reads("graph", wave=1)["images"]
    assert {node["image"]: node["state"] for node in nodes} == {
        "base:f42": "succeeded", "mid:f42": "failed", "app:f42": "blocked", "alone:f42": "succeeded",
    }
    assert len(client.reads("graph")["images"]) == 6
    assert named(client.reads("graph", image="mid:f42")["images"]) == ["base:f42", "mid:f42", "app:f42"]


def test_holds_are_listed(bench: Workbench) -> None:
    with bench.store.begin() as connection:
        holds.hold(connection, "base:f42", "ann", "<b>tests</b>", None, bench.clock.now)
    (held,) = Client(bench.store, bench.settings).reads("holds")
    assert (held["image"], held["who"], held["reason"], held["until"]) == ("base:f42", "ann", "<b>tests</b>", None)


def test_what_the_client_has_already_is_not_sent_again(client: Client) -> None:
    first = client.get("waves/1")
    again = client.http.get("/api/v1/waves/1", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    other = client.http.get("/api/v1/waves/1", headers={"If-None-Match": 'W/"other"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("waves/7", 404, "there is no wave 7"),
        ("rebuilds/77", 404, "there is no rebuild 77"),
        ("images/ghost:f42", 404, "unknown image ghost:f42"),
        ("images/ghost:f42/why", 404, "unknown image ghost:f42"),
        ("images/ghost:f42/log", 404, "unknown image ghost:f42"),
        ("builds/77", 404, "there is no image build 77"),
        ("manifests/abc", 404, "there is no manifest abc"),
        ("changes/77", 404, "there is no change 77"),
        ("messages/none", 404, "there is no message none"),
        ("actions/77", 404, "there is no action 77"),
        ("coverage/FEDORA-9", 400, "unknown update FEDORA-9: give an alias"),
        ("coverage/x-1-1.el9", 400, "no stream takes"),
        ("nothing", 404, "Not Found"),
        ("waves/x", 422, "path.wave_id"),
        ("waves/99999999999999999999", 422, "path.wave_id"),
        ("rebuilds?state=odd", 422, "query.state.0"),
        ("rebuilds?limit=501", 422, "query.limit"),
        ("rebuilds?cursor=bm9uc2Vuc2U", 400, "cursor"),
        ("rebuilds?since=yesterday", 422, "query.since"),
        ("images/a%00b", 422, "NUL"),
        ("graph?wave=1&update=bash-9-1.fc42", 400, "at the same time"),
        ("images/base:f42/why?update=bash", 400, "not an NVR"),
    ],
)
def test_every_error_is_a_problem_that_says_what_is_wrong(client: Client, path: str, status: int, word: str) -> None:
    assert word in client.problem(path, status)


def test_an_image_may_be_asked_for_by_its_name_alone(client: Client) -> None:
    assert client.reads("images/base") == client.reads("images/base:f42")
    assert client.reads("images/base/why")["image"] == "base:f42"
    page = client.http.get("/images/base", follow_redirects=False)
    assert (page.status_code, page.headers["location"]) == (307, "/images/base:f42")
    assert "did you mean base:f42" in client.http.get("/images/bse").text
    assert client.http.get("/badges/base.svg").text == client.http.get("/badges/base:f42.svg").text


def test_a_number_that_is_no_wave_s_finds_what_has_it_in_its_name(store: Engine) -> None:
    bench = Workbench(store, (*CHAIN, image("389", rpms=(BASH,))))
    answer = Client(bench.store, bench.settings).http.get("/search", params={"q": "389"})
    assert (answer.status_code, "389:f42" in answer.text) == (200, True)
