"""Between proof and promotion: tests, gates, and names that wait, with an engine whose clock the test moves."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import pytest
from integration.workbench import Builder, Workbench, image
from sqlalchemy import Connection, Engine, event, select
from support.api_client import Client

from rebuilder.config import Settings
from rebuilder.domain.build import Phase, Status
from rebuilder.domain.checks import TestRequest
from rebuilder.domain.command import Command
from rebuilder.domain.errors import InfrastructureError, RequestError
from rebuilder.engine import commands, factory
from rebuilder.queries import attention
from rebuilder.queries.attention import Need
from rebuilder.store import deliveries, inventory, tokens
from rebuilder.store.database import reading
from rebuilder.store.models import Delivery, Message, Verdict

FIX = "openssl-3.2.2-1.fc42"
CHAIN = (image("base"), image("app", "base"), image("alone"))
TESTED: Mapping[str, Any] = {"f42": {"dist": ".fc42", "test": ["true"], "test_timeout": 60}}
GATED: Mapping[str, Any] = {"f42": {"dist": ".fc42", "gate": True}}


class Naming(Builder):
    """Gives its builds names when they are promoted, and runs tests that last until `verdicts` has their answers."""

    names: dict[str, str]
    verdicts: dict[str, Status]
    tests: list[tuple[str, bool]]
    stopped: list[tuple[str, str]]

    def public_name(self, image: str) -> str:
        return f"localhost/{image}"

    def promote(self, image: str, key: str, ident: str) -> None:
        self.before("promote")
        self.names[self.public_name(image)] = ident
        self.after("promote")

    def test(self, request: TestRequest, *, again: bool = False) -> Status:
        self.before("test")
        self.tests.append((request.image.removesuffix(":f42"), again))
        return self.verdicts.get(request.image.removesuffix(":f42"), Status(Phase.RUNNING))

    def stop_test(self, key: str, fault: str = "") -> None:
        self.stopped.append((key, fault))


class Site(Workbench):
    """A workbench with such a builder, and an update that all images take up."""

    builder: Naming

    def __init__(self, store: Engine, **settings: Any) -> None:
        super().__init__(store, CHAIN, max_builds=10, **settings)
        self.builder = Naming(self.settings.simulated, self.manifest_of, self.clock)
        self.builder.names, self.builder.verdicts, self.builder.tests, self.builder.stopped = {}, {}, [], []
        self.restart()
        self.tell(FIX)

    def answer(self, **verdicts: str) -> None:
        """What tests say from now on: nothing is good."""
        told = {name: Status(Phase.FAILED if said else Phase.SUCCEEDED, said) for name, said in verdicts.items()}
        self.builder.verdicts |= told

    def command(self, verb: str, target: str, **more: Any) -> str | None:
        with self.store.begin() as connection:
            return commands.give(connection, Command(verb, target, "ann", **more), self.clock.now).answer

    def gate(self, name: str, *, passed: bool = True, **more: Any) -> str | None:
        return self.command("gate", f"{name}:f42", passed=passed, **more)

    @property
    def names(self) -> set[str]:
        """The images whose names point to new builds."""
        return {name.removeprefix("localhost/").removesuffix(":f42") for name in self.builder.names}

    def current(self) -> set[str]:
        """The images whose current build is not the first any more."""
        with reading(self.store) as connection:
            builds = inventory.current_builds(connection)
        return {key.removesuffix(":f42") for key, build in builds.items() if build.ident != "first"}

    def state(self, name: str) -> str:
        return str(self.entry(name).state)

    def reason(self, name: str) -> str:
        return self.entry(name).reason


@pytest.fixture
def site(store: Engine, request: pytest.FixtureRequest) -> Iterator[Site]:
    yield Site(store, **getattr(request, "param", {"streams": TESTED}))


def test_a_proven_build_is_tested_before_its_name_moves_and_its_children_begin(site: Site) -> None:
    site.passes(30)
    assert (site.state("base"), site.state("app")) == ("testing", "waiting")
    assert (site.names, site.current()) == (set(), set())
    site.answer(base="", alone="")
    site.passes(30)
    assert (site.state("base"), site.state("app")) == ("succeeded", "testing")
    assert site.names == site.current() == {"base", "alone"}
    site.answer(app="")
    site.finish()
    assert {state for _, state in site.states()} == {"succeeded"}
    assert site.names == {"base", "app", "alone"}


def test_a_test_that_fails_fails_the_rebuild_and_blocks_what_is_built_on_it(site: Site) -> None:
    site.answer(base="curl: (7): exit status 7", alone="")
    site.finish()
    assert site.states() == [("base", "failed"), ("alone", "succeeded"), ("app", "blocked")]
    assert site.reason("base") == "tests failed: curl: (7): exit status 7"
    assert site.names == site.current() == {"alone"}
    assert site.submitted() == ["base", "alone"]


def test_a_test_that_cannot_be_run_is_nobody_s_failure_and_is_run_again(site: Site) -> None:
    site.builder.verdicts["base"] = Status(Phase.ABORTED, "the test could not be run: no space left")
    site.answer(alone="")
    site.passes(120)
    assert site.state("base") == "testing"
    failure = site.loop.concerns.tests.failure
    assert failure is not None
    assert "no space left" in failure.reason
    assert site.builder.tests[0] == ("base", False)
    assert ("base", True) in site.builder.tests
    site.answer(base="", app="")
    site.finish(step=60)
    assert {state for _, state in site.states()} == {"succeeded"}


def test_a_builder_that_does_not_answer_is_asked_again(site: Site) -> None:
    def away(call: str) -> None:
        if call == "test":
            raise InfrastructureError("buildah cannot be started")

    site.builder.before = away
    site.passes(60)
    assert site.state("base") == "testing"
    site.builder.before = lambda call: None
    site.answer(base="", alone="", app="")
    site.finish(step=60)
    assert {state for _, state in site.states()} == {"succeeded"}


def test_a_test_that_takes_too_long_is_stopped_and_has_failed(site: Site) -> None:
    site.answer(alone="")
    site.passes(100)
    key = site.entry("base").key
    assert site.reason("base") == "tests failed: over its time limit of 60 s"
    assert site.builder.stopped == [(key, "over its time limit of 60 s")]
    assert site.state("app") == "blocked"


def test_a_rebuild_that_is_canceled_in_the_middle_of_its_test_stops_the_test(site: Site) -> None:
    site.passes(30)
    key = site.entry("base").key
    site.ask("cancel", "base:f42")
    site.passes(10)
    assert (site.state("base"), site.state("app")) == ("canceled", "blocked")
    assert site.builder.stopped == [(key, "")]
    site.answer(base="", alone="")
    site.finish()
    assert site.names == {"alone"}
    with reading(site.store) as connection:
        assert set(connection.scalars(select(Verdict.state))) == {"void", "passed"}


def test_another_build_of_the_image_waits_until_the_one_before_it_is_tested(site: Site) -> None:
    site.passes(30)
    site.tell("openssl-3.2.3-1.fc42")
    site.passes(30)
    assert site.submitted() == ["base", "alone"]
    site.answer(base="", alone="", app="")
    site.finish()
    assert [state for _, state in site.states() if state != "succeeded"] == []
    assert site.submitted().count("base") == 2


def test_a_test_goes_on_when_another_engine_takes_over(site: Site) -> None:
    site.passes(30)
    site.restart()
    site.answer(base="", alone="", app="")
    site.finish()
    assert site.names == {"base", "app", "alone"}
    assert sorted(site.submitted()) == ["alone", "app", "base"]


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


@pytest.mark.parametrize("site", [{"promote": "manual"}], indirect=True)
def test_names_wait_for_an_operator_and_children_are_built_on_what_is_proven(site: Site) -> None:
    site.finish()
    assert {state for _, state in site.states()} == {"succeeded"}
    assert (site.names, site.current()) == (set(), {"base", "app", "alone"})
    base = site.builder.builds[site.entry("app").ref].order.parents
    assert [build.ident for build in base] == [f"simulated-{site.entry('base').ref}"]
    assert site.command("promote", "base:f42") == "promoting base:f42"
    site.finish()
    assert site.names == {"base"}
    assert site.command("promote", "1") == "promoting alone:f42, app:f42"
    site.finish()
    assert site.names == {"base", "app", "alone"}
    assert site.command("promote", "1") == "wave 1 has nothing that waits to be promoted"


@pytest.mark.parametrize("site", [{"promote": "wave", "streams": TESTED}], indirect=True)
def test_nothing_of_a_wave_moves_before_all_of_it_is_good(site: Site) -> None:
    site.answer(base="", alone="")
    site.passes(60)
    assert (site.state("base"), site.state("app"), site.names) == ("succeeded", "testing", set())
    site.answer(app="exit status 1")
    site.finish()
    assert (site.state("app"), site.names) == ("failed", set())
    site.answer(app="")
    site.ask("retry", "app:f42")
    site.finish()
    assert site.names == {"base", "app", "alone"}


@pytest.mark.parametrize("site", [{"promote": "wave", "streams": TESTED}], indirect=True)
def test_a_later_rebuild_of_what_failed_makes_the_wave_good(site: Site) -> None:
    site.answer(base="", alone="", app="exit status 1")
    site.finish()
    assert site.names == set()
    site.answer(app="")
    site.ask("rebuild", "app:f42")
    site.finish()
    assert site.names == {"base", "app", "alone"}


def test_a_name_whose_image_is_on_hold_waits_until_that_is_released(site: Site) -> None:
    site.passes(30)
    site.command("hold", "base:f42", reason="freeze")
    site.answer(base="", alone="", app="")
    site.finish()
    assert site.state("base") == "succeeded"
    assert site.names == {"app", "alone"}
    with pytest.raises(RequestError, match="base:f42 is held by ann: freeze: release it first"):
        site.command("promote", "base:f42")
    site.command("release", "base:f42")
    site.finish()
    assert site.names == {"base", "app", "alone"}


@pytest.mark.parametrize("site", [{"promote": "manual"}], indirect=True)
def test_a_later_build_takes_the_place_of_one_that_waits(site: Site) -> None:
    site.finish()
    first = site.entry("base").ref
    site.ask("rebuild", "base:f42")
    site.finish()
    with reading(site.store) as connection:
        waiting = [one for one in deliveries.waiting(connection) if one.image == "base:f42"]
        states = list(connection.scalars(select(Delivery.state).where(Delivery.spec == "localhost/base:f42")))
    assert (len(waiting), states) == (1, ["superseded", "waiting"])
    site.command("promote", "base:f42")
    site.finish()
    assert site.builder.names["localhost/base:f42"] != f"simulated-{first}"


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


@pytest.mark.parametrize("builder", ["koji", "osbs"])
def test_a_builder_that_runs_no_tests_is_not_given_any(builder: str) -> None:
    settings = Settings.model_validate({
        "builder": builder, "streams": TESTED, "koji": {"hub": "https://koji.example.org/kojihub"},
    })  # fmt: skip
    with pytest.raises(RequestError, match=rf"streams.f42.test: the builder {builder} runs no tests: use gate = true"):
        factory._check_tests(settings)


class Died(Exception):
    """The process ends here."""


def die_at(place: int, calls: Iterator[int]) -> None:
    if next(calls) == place:
        raise Died


@pytest.mark.parametrize("site", [{"streams": TESTED, "promote": "wave"}], indirect=True)
def test_an_engine_that_dies_before_any_commit_of_a_delivery_goes_on_from_there(site: Site, store: Engine) -> None:
    """Whatever was not committed is done again, and nothing that is not tested gets a name."""
    site.answer(base="", app="", alone="")
    deaths, places = 0, iter(range(0, 60, 3))
    at, calls = next(places), count()

    @event.listens_for(store, "commit")
    def commit(connection: Connection) -> None:
        if not connection.get_execution_options().get("reading"):
            die_at(at, calls)

    while True:
        try:
            site.finish(step=10)
            break
        except Died:
            deaths, at, calls = deaths + 1, next(places), count()
            assert not site.names or {state for _, state in site.states()} == {"succeeded"}
            site.restart()
    assert deaths >= 4
    assert site.names == {"base", "app", "alone"}
    assert sorted(site.submitted()) == ["alone", "app", "base"]
    assert {entry.attempt for entry in site.rebuilds()} == {1}


@pytest.mark.parametrize("call", ["test", "promote"])
def test_an_engine_that_dies_at_a_test_or_a_promotion_makes_it_again(site: Site, call: str) -> None:
    site.answer(base="", app="", alone="")
    calls = count()

    def once(name: str) -> None:
        if name == call:
            die_at(1, calls)

    site.builder.before = once
    with pytest.raises(Died):
        site.finish()
    site.restart()
    site.finish()
    assert site.names == {"base", "app", "alone"}
    assert sorted(site.submitted()) == ["alone", "app", "base"]


def test_the_page_of_a_rebuild_says_what_was_tested_and_what_waits(site: Site) -> None:
    site.answer(alone="exit status 3")
    site.passes(30)
    site.command("hold", "base:f42")
    site.answer(base="")
    site.passes(30)
    client = Client(site.store, site.settings)
    text = client.http.get(f"/rebuilds/{site.entry('alone').id}").text
    assert "Delivery" in text and "exit status 3" in text and "Log of its test" in text
    text = client.http.get(f"/rebuilds/{site.entry('base').id}").text
    assert "localhost/base:f42" in text and "waits to be promoted" in text
    assert client.http.get(f"/rebuilds/{site.entry('base').id}/log?test=true").status_code == 200
