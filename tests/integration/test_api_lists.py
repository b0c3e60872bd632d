"""Lists for scripts and people: what narrows them, what is refused, their order, pages and forms."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator
from typing import Any

import pytest
from integration.stored import content
from integration.workbench import CHAIN, Workbench, image
from msgspec.structs import replace
from sqlalchemy import Engine, update
from support.api_client import Client, problem

from rebuilder.config import StreamSettings
from rebuilder.domain.image import Parent, ParentKind
from rebuilder.domain.lifecycle import LIVE
from rebuilder.store import holds, models
from rebuilder.web.csv_lists import written


def scene(store: Engine) -> Workbench:
    """Two streams' worth of trouble: an image that fails, and what it blocks."""
    found = Workbench(store, (*CHAIN, image("blind", rpms=None)), simulated={"failures": ["mid:f42"]})
    found.tell("openssl-3.2.2-1.fc42", severity="high")
    found.finish()
    return found


@pytest.fixture
def bench(store: Engine) -> Workbench:
    return scene(store)


@pytest.fixture(scope="module")
def untouched(shared_store: Engine) -> Iterator[Client]:
    """For what only reads: in the end, all is as it was."""
    scene(shared_store)
    before = content(shared_store)
    yield Client(shared_store)
    assert content(shared_store) == before


@pytest.mark.parametrize(("path", "hint"), [
    ("rebuilds?sate=failed", "query.sate: unknown parameter; did you mean state?"),
    ("images?pakage=openssl", "did you mean package?"),
    ("waves/1?every=1", "unknown parameter; there are none"),
    ("status?x=1&y=2", "query.x"),
    ("holds?" + "x" * 500 + "=1", "unknown parameter"),
])
def test_a_parameter_that_is_not_known_is_refused_and_not_passed_over(untouched: Client, path: str, hint: str) -> None:
    assert hint in untouched.problem(path, 422)


def test_an_order_with_a_parameter_in_its_address_is_refused(bench: Workbench) -> None:
    client = Client(bench.store)
    headers = {"Authorization": f"Bearer {client.token('ann', 'all')}"}
    answer = client.http.post("/api/v1/actions?dry_run=1", json={"verb": "pause"}, headers=headers)
    assert "query.dry_run" in problem(answer, 422)


@pytest.mark.parametrize("path", ["/images?sate=failed", "/?x=1", "/waves/1?stat=failed", "/live?waves=1"])
def test_a_page_refuses_what_it_does_not_know(untouched: Client, path: str) -> None:
    answer = untouched.http.get(path)
    assert answer.status_code == 422
    assert "unknown parameter" in answer.text


@pytest.mark.parametrize("path", [
    "/images?stream=f42&stream=f43", "/rebuilds?image=app&image=mid", "/api/v1/images?stream=f42&stream=f43",
    "/api/v1/rebuilds?owner=a&owner=b&state=failed", "/api/v1/rebuilds?wave=1&wave=2", "/live?wave=1&wave=2",
])
def test_what_takes_one_word_refuses_two_as_the_first_would_be_passed_over(untouched: Client, path: str) -> None:
    """Else the images of f42 would be left out unsaid, and those of f43 might all be current."""
    answer = untouched.http.get(path)
    assert answer.status_code == 422
    assert "given 2 times; it takes one" in answer.text


def test_states_and_severities_may_be_several(untouched: Client) -> None:
    current, stale = untouched.items("images?state=current"), untouched.items("images?state=stale")
    both = untouched.items("images?state=current&state=stale")
    assert stale
    assert len(both) == len(current) + len(stale)
    assert untouched.http.get("/images?state=current&state=stale&severity=low&severity=high").status_code == 200


@pytest.mark.parametrize("path", ["rebuilds?wave=99", "events?wave=99"])
def test_a_wave_that_is_not_there_is_refused_and_not_waited_for(untouched: Client, path: str) -> None:
    assert untouched.problem(path, 400) == "wave: there is no wave 99"


def test_a_time_that_ends_before_it_begins_is_refused(untouched: Client) -> None:
    assert untouched.problem("rebuilds?since=2026-11-30&until=2026-11-01", 400) == "until: is not after since"


EVENTS = "/api/v1/events"  # an answer without end


def test_head_answers_wherever_get_does(untouched: Client) -> None:
    schema: Any = untouched.reads("openapi.json")
    paths = [path for path, verbs in schema["paths"].items() if "get" in verbs and "{" not in path and path != EVENTS]
    assert len(paths) > 10
    for path in (*paths, "/", "/waves", "/images", "/waves/1", "/images/base:f42", "/static/style.css"):
        got, head = untouched.http.get(path), untouched.http.head(path)
        assert (head.status_code, head.headers["content-type"]) == (got.status_code, got.headers["content-type"]), path


def test_what_needs_somebody_comes_first_and_each_row_once_over_all_pages(bench: Workbench) -> None:
    bench.tell("bash-5.2-2.fc42", severity="low")
    bench.ask("rebuild", "alone:f42")
    bench.finish()
    client = Client(bench.store)
    newest = client.items("rebuilds", limit=1)
    by_need = client.items("rebuilds", limit=1, order="need")
    assert by_need[0]["image"] == "mid:f42"
    assert newest[0]["image"] == "alone:f42"
    assert sorted(row["id"] for row in by_need) == sorted(row["id"] for row in newest)
    assert [wave["id"] for wave in client.items("waves", order="need", limit=1)] == [1, 2]
    images = client.items("images", order="need", limit=2)
    assert [image["image"] for image in images[:3]] == ["app:f42", "mid:f42", "blind:f42"]
    assert len(images) == 5


@pytest.mark.parametrize("path", ["waves", "rebuilds", "changes", "messages", "actions"])
def test_a_cursor_of_another_order_is_refused(untouched: Client, path: str) -> None:
    wrong = base64.urlsafe_b64encode(b'"!12x"').decode()
    for order in ("need", "newest"):
        assert "invalid cursor" in untouched.problem(path, 400, order=order, cursor=wrong)


def test_what_left_the_inventory_is_known_by_its_name_stream_and_owner(bench: Workbench) -> None:
    gone = models.Image.name == "mid"
    with bench.store.begin() as connection:
        connection.execute(update(models.Image).where(gone).values(
            present=False, stream="f40", source={"care": {"owners": ["web-sig"]}}))
    client = Client(bench.store)
    for given in ({"image": "mid"}, {"image": "mid:f40"}, {"stream": "f40"}, {"owner": "web-sig"}):
        assert [row["image"] for row in client.items("rebuilds", **given)] == ["mid:f40"]
        assert client.items("images", **given) == []


def test_a_stream_that_only_the_configuration_or_a_change_names_is_known(bench: Workbench) -> None:
    with bench.store.begin() as connection:
        connection.execute(update(models.Change).values(stream="f43"))
    settings = bench.settings.model_copy(update={"streams": {"f44": StreamSettings()}})
    client = Client(bench.store, settings)
    assert client.items("images", stream="f43") == client.items("images", stream="f44") == []
    assert "unknown stream f45" in client.problem("images", 400, stream="f45")


def test_lists_are_filtered_by_text_and_owner(bench: Workbench) -> None:
    with bench.store.begin() as connection:
        connection.execute(update(models.Image).where(models.Image.name == "mid").values(
            source={"care": {"owners": ["web-sig", "infra"]}}))
    client = Client(bench.store)
    assert [row["image"] for row in client.items("images", owner="web-sig")] == ["mid:f42"]
    assert "no image has the owner web; did you mean web-sig?" in client.problem("images", 400, owner="web")
    assert [row["image"] for row in client.items("rebuilds", owner="infra")] == ["mid:f42"]
    assert [row["image"] for row in client.items("rebuilds", q="simulated FAILURE")] == ["mid:f42"]
    assert [row["image"] for row in client.items("images", q="AL")] == ["alone:f42"]
    assert [row["nvr"] for row in client.items("changes", q="ssl")] == ["openssl-3.2.2-1.fc42"]
    assert [row["id"] for row in client.items("waves", q="openssl*")] == [1]
    assert client.items("waves", q="bash") == []
    assert len(client.items("messages", q="stable")) == 1
    assert {row["image"] for row in client.items("builds", q="alone")} == {"alone:f42"}


def test_a_form_that_is_sent_with_nothing_chosen_narrows_nothing(untouched: Client) -> None:
    everything = untouched.items("rebuilds")
    assert untouched.items("rebuilds", state="", image="", wave="", severity="", q="") == everything


def test_a_list_is_also_csv_with_the_same_rows(untouched: Client) -> None:
    answer = untouched.get("rebuilds", format="csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    items = untouched.items("rebuilds")
    assert [row["image"] for row in rows] == [item["image"] for item in items]
    assert list(rows[0]) == list(items[0])
    assert untouched.http.get("/api/v1/images", headers={"Accept": "text/csv"}).text.startswith("state,")
    first = untouched.get("rebuilds", format="csv", limit=2)
    rest = untouched.http.get(first.links["next"]["url"])
    assert first.text.splitlines()[1:] + rest.text.splitlines()[1:] == answer.text.splitlines()[1:]
    assert "Link" not in rest.headers
    assert untouched.get("rebuilds", limit=501).status_code == 422
    assert untouched.http.get("/api/v1/rebuilds?format=csv", headers={"If-None-Match": answer.headers["etag"]}
                           ).status_code == 304


def rows_of(client: Client, path: str) -> list[dict[str, str]]:
    """The rows of an answer as CSV."""
    answer = client.get(path, format="csv")
    assert answer.headers["content-type"].startswith("text/csv"), answer.text
    assert client.get(path).headers["content-type"] == "application/json"
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_how_far_a_fix_has_come_is_csv_too_with_a_row_for_each_image(bench: Workbench) -> None:
    client = Client(bench.store)
    (fix,) = client.reads("coverage/openssl-3.2.2-1.fc42")["fixes"]
    rows = rows_of(client, "coverage/openssl-3.2.2-1.fc42")
    assert [(row["image"], row["state"]) for row in rows] == [(one["image"], one["state"]) for one in fix["images"]]
    assert {row["source"] + "-" + row["evr"] for row in rows} == {"openssl-3.2.2-1.fc42"}
    assert {"mid:f42": "failed", "blind:f42": "unknown"}.items() <= {row["image"]: row["state"] for row in rows}.items()
    assert "/api/v1/coverage/openssl-3.2.2-1.fc42?format=csv" in client.http.get("/updates/openssl-3.2.2-1.fc42").text
    assert "/api/v1/coverage/openssl-3.2.2-1.fc42?format=csv" in client.http.get("/changes/1").text


def test_external_parents_and_pull_specs_are_csv_too(store: Engine) -> None:
    spec = "registry.example.com/fedora:42"
    base, build = image("base")
    outside = replace(base, parents=(Parent(ParentKind.BASE, external=spec),))
    Workbench(store, ((outside, build), image("app", "base")))
    client = Client(store)
    assert [row["spec"] for row in rows_of(client, "externals")] == [spec]
    rows = rows_of(client, "pull-specs")
    assert [row["image"] for row in rows] == ["app:f42", "base:f42"]
    assert list(rows[0]) == list(client.reads("pull-specs")[0])
    only = client.get("pull-specs", image="app", format="csv").text
    assert [row["image"] for row in csv.DictReader(io.StringIO(only))] == ["app:f42"]


def test_holds_and_the_queue_are_csv_too(bench: Workbench) -> None:
    client = Client(bench.store)
    assert rows_of(client, "holds") == rows_of(client, "queue") == []
    assert client.get("queue", format="csv").text == (
        "image,wave,state,severity,attempt,reason,waits,until,since\r\n"
    )
    with bench.store.begin() as connection:
        holds.hold(connection, "blind:f42", "ann", "=freeze", None, bench.clock.now)
        holds.pause(connection, "bob", "", bench.clock.now)
    (held,) = rows_of(client, "holds")
    assert (held["image"], held["who"], held["reason"], held["until"]) == ("blind:f42", "ann", "'=freeze", "")
    bench.tell("openssl-3.2.9-1.fc42", severity="high", ident="m2")
    bench.clock.now += 3600
    bench.loop.once()
    waiting = {row["image"]: row for row in rows_of(client, "queue")}
    assert list(waiting) == [one["image"] for one in client.reads("queue")["queued"]]
    assert {(row["state"], row["waits"], bool(row["since"])) for row in waiting.values()} == {
        ("queued", "paused by bob", True)
    }
    with bench.store.begin() as connection:
        holds.resume(connection, bench.clock.now)
    bench.loop.once()
    running = rows_of(client, "queue")
    assert [row["image"] for row in running] == [one["image"] for one in client.reads("queue")["running"]]
    assert {(row["state"] in LIVE, row["since"]) for row in running} == {(True, "")}


def test_no_cell_of_a_csv_is_taken_for_a_formula() -> None:
    rows = [{"a": "=HYPERLINK(1)", "b": ["-x", "y"], "c": None, "d": -5, "e": {"k": 1}}]
    assert written(["a", "b", "c", "d", "e"], rows).splitlines()[1] == "'=HYPERLINK(1),'-x y,,-5,\"{\"\"k\"\": 1}\""
