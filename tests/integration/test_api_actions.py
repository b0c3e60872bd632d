"""Orders over HTTP: who may give which, what they do, and that nothing happens without a token."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from integration.stored import content
from integration.workbench import Workbench
from sqlalchemy import Engine, delete, select
from support.api_client import Client, problem

from rebuilder.domain.command import COMMANDS, OF_IMAGES
from rebuilder.store import holds, tokens
from rebuilder.store.database import reading
from rebuilder.store.models import Token

ASKED: list[dict[str, Any]] = [
    {"verb": "retry", "target": "base:f42"},
    {"verb": "cancel", "target": "1"},
    {"verb": "rebuild", "target": "base:f42"},
    {"verb": "hold", "target": "base:f42"},
    {"verb": "release", "target": "base:f42"},
    {"verb": "promote", "target": "base:f42"},
    {"verb": "gate", "target": "base:f42", "passed": True},
    {"verb": "rollback", "target": "base:f42", "reason": "it does not start"},
    {"verb": "approve", "target": "1"},
    {"verb": "pause"},
    {"verb": "resume"},
]


def scene(store: Engine) -> Workbench:
    found = Workbench(store, simulated={"failures": ["base:f42"]},
                      policy=[{"name": "ask", "action": "approve", "severity": "low"}])
    found.tell("openssl-3.2.2-1.fc42", severity="high")
    found.finish()
    return found


@pytest.fixture
def bench(store: Engine) -> Workbench:
    return scene(store)


@pytest.fixture
def client(bench: Workbench) -> Client:
    return Client(bench.store, bench.settings)


@pytest.fixture(scope="module")
def untouched_bench(shared_store: Engine) -> Iterator[Workbench]:
    """For the orders that change nothing; in the end, all is as it was, but for the tokens."""
    found = scene(shared_store)
    before = content(shared_store) | {"token": []}
    yield found
    assert content(shared_store) | {"token": []} == before


@pytest.fixture
def untouched(untouched_bench: Workbench) -> Iterator[Client]:
    """A client of its own for each test, since wrong tokens are counted; its tokens go away with it."""
    yield Client(untouched_bench.store, untouched_bench.settings)
    with untouched_bench.store.begin() as connection:
        connection.execute(delete(Token))


def test_every_order_is_tried_here() -> None:
    assert {asked["verb"] for asked in ASKED} == set(COMMANDS)


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked["verb"])
@pytest.mark.parametrize("token", ["", "rebuilder_wrong", "of another scope"])
def test_without_the_right_token_nothing_is_changed(
    untouched: Client, asked: dict[str, Any], token: str
) -> None:
    others = [order for order in COMMANDS if order != asked["verb"]]
    limited = untouched.token("limited", *others)
    before = content(untouched.store)
    response = untouched.orders(limited if token == "of another scope" else token, **asked)
    assert problem(response, 403 if token == "of another scope" else 401)
    assert ("www-authenticate" in response.headers) == (response.status_code == 401)
    assert content(untouched.store) == before


def test_a_revoked_token_is_not_known(client: Client, bench: Workbench) -> None:
    token = client.token("ann", "all")
    with bench.store.begin() as connection:
        tokens.revoke(connection, "ann")
    problem(client.orders(token, verb="pause"), 401)


def test_a_retry_is_carried_out_by_the_engine_in_the_name_of_the_token(client: Client, bench: Workbench) -> None:
    response = client.orders(client.token("ci of ann", "retry"), verb="retry", target="1", reason="mirror is back")
    assert (response.status_code, response.json()["done"]) == (202, None)
    where = response.headers["location"].removeprefix("/api/v1/")
    bench.builder.settings = bench.settings.simulated.model_copy(update={"failures": ()})
    bench.passes()
    told = client.reads(where)
    assert (told["who"], told["reason"], told["answer"]) == ("ci of ann", "mirror is back", "retrying base:f42")
    assert client.reads("waves/1/story")[-1]["reason"] == "" or told["done"]


def test_holds_and_pauses_are_in_the_name_of_the_token(client: Client, bench: Workbench) -> None:
    token = client.token("ann", "hold", "release", "pause", "resume")
    held = client.orders(token, verb="hold", target="mid:f42", reason="<b>", until="2100-01-01T00:00:00Z")
    assert (held.status_code, held.json()["answer"]) == (201, "mid:f42 is held until 2100-01-01 00:00:00Z")
    assert client.reads("holds")[0]["who"] == "ann"
    assert client.orders(token, verb="release", target="mid:f42").json()["answer"] == "mid:f42 is released"
    assert client.orders(token, verb="pause").status_code == 201
    with reading(bench.store) as connection:
        assert str(holds.paused(connection, 0.0)) == "ann"
    assert client.orders(token, verb="pause").json()["answer"] == "paused already, by ann"
    assert client.orders(token, verb="resume").json()["answer"] == "builds are started again"
    assert {action["who"] for action in client.items("actions")} == {"ann"}


def test_a_wave_is_approved(client: Client, bench: Workbench) -> None:
    bench.tell("openssl-3.2.9-1.fc42", severity="low")
    bench.passes()
    (wave,) = client.items("waves", state="planned")
    answer = client.orders(client.token("ann", "approve"), verb="approve", target=str(wave["id"])).json()["answer"]
    assert answer == f"wave {wave['id']} is approved"


@pytest.mark.parametrize(
    ("asked", "status", "word"),
    [
        ({"verb": "retry", "target": "ghost:f42"}, 404, "unknown image"),
        ({"verb": "retry", "target": "77"}, 404, "there is no wave 77"),
        ({"verb": "retry", "target": "9" * 30}, 404, "there is no wave"),
        ({"verb": "rebuild", "target": "1"}, 400, "no such image: 1"),
        ({"verb": "hold", "target": "base:f42", "until": "2001-01-01"}, 400, "must be in the future"),
        ({"verb": "hold", "target": "base:f42\0"}, 422, "NUL"),
        ({"verb": "approve", "target": "x"}, 422, "target"),
        ({"verb": "explode"}, 422, "verb"),
        ({"verb": "pause", "who": "somebody else"}, 422, "who"),
    ],
)
def test_a_wrong_order_changes_nothing(
    untouched: Client, asked: dict[str, Any], status: int, word: str
) -> None:
    token = untouched.token("ann", "all")
    before = content(untouched.store)
    assert word in problem(untouched.orders(token, **asked), status)
    assert content(untouched.store) == before


# --- scopes


SCOPES = ["{verb}:base:f42", "{verb}:base", "{verb}:b*:f4?", "{verb}:/b.se:f(41|42)/", "all:base"]


def test_a_scope_may_be_for_some_images(client: Client, bench: Workbench) -> None:
    """For each order, one after the other: no engine runs that would carry them out."""
    for asked in (one for one in ASKED if one["verb"] in OF_IMAGES):
        verb = asked["verb"]
        # base has no build to answer for, or to go back to
        allowed = {400} if verb in ("gate", "rollback") else {201, 202}
        for scope in (scope.format(verb=verb) for scope in SCOPES):
            token = client.token(f"base's by {scope} to {verb}", scope)
            before = content(bench.store)
            needed = f"lacks the scope {verb}:mid:f42, or {verb}; it has {scope}"
            assert needed in problem(client.orders(token, **asked | {"target": "mid:f42"}), 403)
            assert content(bench.store) == before
            assert client.orders(token, **asked | {"target": "base:f42"}).status_code in allowed, (verb, scope)


@pytest.mark.parametrize(
    "asked",
    [
        {"verb": "retry", "target": "1"},
        {"verb": "cancel", "target": "1"},
        {"verb": "rebuild", "target": "base:f42", "with_descendants": True},
        {"verb": "approve", "target": "1"},
        {"verb": "pause"},
        {"verb": "resume"},
    ],
    ids=lambda asked: asked["verb"],
)
@pytest.mark.parametrize("pattern", ["*", "*:*", "/.*/", "1", "/[^:]*/"])
def test_a_scope_for_some_images_is_none_for_waves_nor_for_the_engine(
    untouched: Client, asked: dict[str, Any], pattern: str
) -> None:
    token = untouched.token("limited", f"all:{pattern}", f"{asked['verb']}:{pattern}")
    before = content(untouched.store)
    assert f"lacks the scope {asked['verb']}" in problem(untouched.orders(token, **asked), 403)
    assert content(untouched.store) == before


def test_a_scope_for_some_images_is_for_them_by_their_names_alone_too(client: Client) -> None:
    token = client.token("limited", "hold:b*:f42")
    assert client.orders(token, verb="hold", target="base").status_code == 201
    assert "lacks the scope hold:mid:f42" in problem(client.orders(token, verb="hold", target="mid"), 403)


def test_what_is_not_there_is_told_to_none_that_may_not_ask(untouched: Client) -> None:
    problem(untouched.orders(untouched.token("limited", "retry:base"), verb="retry", target="ghost:f42"), 403)


def test_each_route_that_takes_a_body_changes_nothing_or_asks_who_it_is(untouched: Client) -> None:
    paths = untouched.reads("openapi.json")["paths"]
    acting = {path for path, methods in paths.items() if methods.keys() - {"get"}}
    assert acting == {"/api/v1/actions", "/api/v1/plan"}


# --- tokens


def test_what_is_kept_of_a_token_does_not_give_it_away(untouched: Client) -> None:
    token = untouched.token("ann", "all")
    with reading(untouched.store) as connection:
        (row,) = connection.execute(select(Token.__table__))
    assert token not in repr(row)
    assert token.removeprefix(tokens.PREFIX) not in repr(row)
    assert len(token) > 43


def test_all_tokens_are_compared_and_each_in_constant_time(
    untouched: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = untouched.token("ann", "all")
    untouched.token("bob", "all")
    compared: list[bool] = []
    true_one = hmac.compare_digest

    def counting(one: str, other: str) -> bool:
        compared.append(true_one(one, other))
        return compared[-1]

    monkeypatch.setattr(hmac, "compare_digest", counting)
    with reading(untouched.store) as connection:
        assert tokens.find(connection, mine) is not None
        assert tokens.find(connection, mine + "x") is None
    assert sorted(compared) == [False, False, False, True]


def test_tokens_are_in_no_log(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    good, bad = client.token("ann", "pause"), "rebuilder_something-secret"
    client.orders(good, verb="pause")
    client.orders(good, verb="resume")
    client.orders(bad, verb="pause")
    client.orders(good, verb=good)
    assert good not in caplog.text
    assert bad not in caplog.text


def test_no_answer_repeats_what_was_sent(untouched: Client) -> None:
    token = untouched.token("ann", "all")
    response = untouched.orders(token, verb="pause", reason=["secret"])
    assert "secret" not in response.text
