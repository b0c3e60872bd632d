"""Gates: a build that is proven waits until somebody, or a CI, says that it is good."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import pytest
from integration import delivery_bench
from integration.delivery_bench import Site
from sqlalchemy import select
from support.api_client import Client

from rebuilder.domain.errors import RequestError
from rebuilder.queries import attention
from rebuilder.queries.attention import Need
from rebuilder.store import tokens
from rebuilder.store.database import reading
from rebuilder.store.models import Message

site = delivery_bench.site
GATED: Mapping[str, Any] = {"f42": {"dist": ".fc42", "gate": True}}


@pytest.mark.parametrize("site", [{"streams": GATED}], indirect=True)
def test_a_gate_is_waited_for_and_opens_or_closes_the_way(site: Site) -> None:
    site.passes(60)
    assert (site.state("base"), site.state("alone"), site.state("app")) == ("testing", "testing", "waiting")
    assert site.loop.at_rest(), "nothing happens before somebody answers"
    told = site.gate("base", passed=True)
    assert told == f"base:f42: simulated-{site.entry('base').ref} passes the gate"
    site.gate("alone", passed=False, reason="smoke test: exit status 1")
    site.passes(30)
    assert site.reason("alone") == "tests failed: the gate was closed by ann: smoke test: exit status 1"
    assert (site.state("base"), site.state("app")) == ("succeeded", "testing")
    assert site.names == site.current() == {"base"}


@pytest.mark.parametrize("site", [{"streams": GATED}], indirect=True)
def test_an_answer_is_about_one_build(site: Site) -> None:
    with pytest.raises(RequestError, match="base:f42 has no build that waits for a gate"):
        site.gate("base")
    site.passes(60)
    with pytest.raises(RequestError, match=r"base:f42: simulated-\S+ waits for the gate, and not base-1-1"):
        site.gate("base", build="base-1-1")
    site.gate("base", build=f"simulated-{site.entry('base').ref}")
    site.passes()
    assert site.state("base") == "succeeded"


SMOKE = "fedora-ci.koji-build.smoke.functional"
BY_CI: Mapping[str, Any] = {"f42": {"dist": ".fc42", "gate_test": SMOKE}}


def result(said: str, **artifact: Any) -> dict[str, Any]:
    """The body of a CI's message that its smoke test ended."""
    return {
        "version": "1.1.14",
        "artifact": {"type": "koji-build", "id": 123, "component": "base", "issuer": "kasal", **artifact},
        "test": {"namespace": "fedora-ci.koji-build", "type": "smoke", "category": "functional", "result": said},
        "run": {"url": "https://ci.example.org/job/7"}, "contact": {"name": "Fedora CI"},
    }  # fmt: skip


def ci(site: Site, body: Any) -> str:
    """The message arrives; what became of it."""
    site.receive("ci.koji-build.test.complete", body, f"ci {zlib.crc32(repr(body).encode())}")
    site.passes()
    with reading(site.store) as connection:
        row = connection.execute(select(Message.state, Message.reason).order_by(Message.seq.desc())).first()
    assert row is not None
    return f"{row.state}: {row.reason}" if row.reason else str(row.state)


@pytest.mark.parametrize("site", [{"streams": BY_CI}], indirect=True)
def test_the_result_of_a_ci_opens_the_gate_of_the_build_that_it_is_about(site: Site) -> None:
    site.passes(60)
    build = f"simulated-{site.entry('base').ref}"
    assert ci(site, result("passed", nvr="another-1-1")) == "accepted"
    other = result("passed", nvr=build)
    other["test"]["category"] = "static-analysis"
    told = "ignored: no gate waits for the test fedora-ci.koji-build.smoke.static-analysis"
    assert ci(site, other) == told
    told = "ignored: a test that ended with not_applicable says nothing of the build"
    assert ci(site, result("not_applicable", nvr=build)) == told
    assert site.state("base") == "testing"
    assert ci(site, result("passed", nvr=build)) == "accepted"
    assert site.state("base") == "succeeded"
    ci(site, result("needs_inspection", nvr=f"simulated-{site.entry('alone').ref}"))
    why = f"tests failed: the gate was closed by CI: {SMOKE} needs_inspection https://ci.example.org/job/7"
    assert (site.state("alone"), site.reason("alone")) == ("failed", why)


@pytest.mark.parametrize("site", [{"streams": BY_CI}], indirect=True)
def test_a_result_that_comes_before_the_engine_knows_the_build_is_not_lost(site: Site) -> None:
    site.passes()
    build = f"simulated-{site.entry('base').key}"
    assert site.state("base") == "building"
    assert ci(site, result("passed", nvr=build)) == "accepted"
    site.passes(30)
    assert site.state("base") == "succeeded"


def needs(site: Site) -> dict[str, tuple[str, str]]:
    """What needs attention, and what to do, by kind."""
    found = Client(site.store, site.settings).reads("status")["needs"]
    return {need["kind"]: (need["what"], need["do"]) for need in found}


@pytest.mark.parametrize("site", [{"streams": GATED, "promote": "manual"}], indirect=True)
def test_who_asks_is_told_which_answers_are_waited_for(site: Site) -> None:
    site.passes(60)
    assert needs(site)["gate"] == ("2 images wait for a gate", "`rebuilder gate IMAGE pass|fail`")
    rebuilds = Client(site.store, site.settings).reads("status")["rebuilds"]
    (waits,) = [one for one in rebuilds if one["image"] == "base:f42"]
    assert (waits["state"], waits["waits"]) == ("testing", "its gate")
    site.gate("alone")
    site.passes()
    told = "1 image waits to be promoted", "`rebuilder promote IMAGE`, or `rebuilder promote 1`"
    assert needs(site)["promotion"] == told
    client = Client(site.store, site.settings)
    for page in ("/waves/1", "/images/alone:f42"):
        text = client.http.get(page).text
        assert "localhost/alone:f42" in text and "to be promoted" in text
    assert "to be promoted" not in client.http.get("/images/base:f42").text


PATIENT = {"f42": {**GATED["f42"], "gate_timeout": 7200}}


@pytest.mark.parametrize("site", [{"streams": PATIENT}], indirect=True)
def test_a_gate_with_a_time_limit_needs_somebody_after_that_and_opens_by_no_time(site: Site) -> None:
    site.passes(60)
    assert open_needs(site) == []
    site.clock.now += 7200
    site.passes(60)
    (need,) = open_needs(site)
    assert (need.kind, need.what) == ("gate", "2 images got no answer from the gate in time")
    assert (need.images, site.state("base")) == (("alone:f42", "base:f42"), "testing")
    site.gate("base")
    site.passes()
    (need,) = open_needs(site)
    assert (need.what, site.state("base")) == ("1 image got no answer from the gate in time", "succeeded")


def open_needs(site: Site) -> list[Need]:
    """What needs attention for the site's clock, but for an engine that runs."""
    with reading(site.store) as connection:
        found = attention.read(connection, {}, site.settings, site.clock.now)
    return [need for need in found if need.kind != "engine"]


@pytest.mark.parametrize("site", [{"streams": GATED}], indirect=True)
def test_a_token_with_the_scope_gate_answers_over_http(site: Site) -> None:
    site.passes(60)
    client = Client(site.store, site.settings)
    asked = {"verb": "gate", "target": "base", "passed": True, "reason": "smoke"}
    assert client.http.post("/api/v1/actions", json=asked, headers=token(site, "hold")).status_code == 403
    given = client.http.post("/api/v1/actions", json=asked, headers=token(site, "gate:base:*"))
    assert (given.status_code, given.json()["answer"][:8]) == (201, "base:f42")
    other = {**asked, "target": "alone"}
    assert client.http.post("/api/v1/actions", json=other, headers=token(site, "gate:base")).status_code == 403
    site.passes()
    assert site.state("base") == "succeeded"


def token(site: Site, scope: str) -> dict[str, str]:
    with site.store.begin() as connection:
        secret = tokens.add(connection, f"ci {scope}", (scope,), 1.0)
    return {"Authorization": f"Bearer {secret}"}
