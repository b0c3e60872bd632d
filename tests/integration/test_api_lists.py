"""Lists for scripts and people: what narrows them, what is refused, their order, pages and forms."""

from __future__ import annotations

from typing import Any

import pytest
from integration.workbench import CHAIN, Workbench, image
from sqlalchemy import Engine
from support.api_client import Client, problem


@pytest.fixture
def bench(store: Engine) -> Workbench:
    """Two streams' worth of trouble: an image that fails, and what it blocks."""
    found = Workbench(store, (*CHAIN, image("blind", rpms=None)), simulated={"failures": ["mid:f42"]})
    found.tell("openssl-3.2.2-1.fc42", severity="high")
    found.finish()
    return found


@pytest.mark.parametrize(("path", "hint"), [
    ("rebuilds?sate=failed", "query.sate: unknown parameter; did you mean state?"),
    ("images?pakage=openssl", "did you mean package?"),
    ("waves/1?every=1", "there are none here"),
    ("status?x=1&y=2", "query.x"),
    ("holds?" + "x" * 500 + "=1", "unknown parameter"),
])
def test_a_parameter_that_is_not_known_is_refused_and_not_passed_over(bench: Workbench, path: str, hint: str) -> None:
    assert hint in Client(bench.store).problem(path, 422)


def test_an_order_with_a_parameter_in_its_address_is_refused(bench: Workbench) -> None:
    client = Client(bench.store)
    headers = {"Authorization": f"Bearer {client.token('ann', 'all')}"}
    answer = client.http.post("/api/v1/actions?dry_run=1", json={"verb": "pause"}, headers=headers)
    assert "query.dry_run" in problem(answer, 422)


@pytest.mark.parametrize("path", ["/images?sate=failed", "/?x=1", "/waves/1?stat=failed", "/live?waves=1"])
def test_a_page_refuses_what_it_does_not_know(bench: Workbench, path: str) -> None:
    answer = Client(bench.store).http.get(path)
    assert answer.status_code == 422
    assert "unknown parameter" in answer.text


def test_head_answers_wherever_get_does(bench: Workbench) -> None:
    client = Client(bench.store)
    schema: Any = client.reads("openapi.json")
    paths = [path for path, verbs in schema["paths"].items() if "get" in verbs and "{" not in path]
    assert len(paths) > 10
    for path in (*paths, "/", "/waves", "/images", "/waves/1", "/images/base:f42", "/static/style.css"):
        got, head = client.http.get(path), client.http.head(path)
        assert (head.status_code, head.headers["content-type"]) == (got.status_code, got.headers["content-type"]), path
