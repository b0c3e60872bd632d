"""The tests of a build that is proven: before its name moves, and before what is built on it begins."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from integration import delivery_bench
from integration.delivery_bench import TESTED, Site
from sqlalchemy import Connection, Engine, event, select
from support.api_client import Client

from rebuilder.config import Settings
from rebuilder.domain.build import Phase, Status
from rebuilder.domain.errors import InfrastructureError, RequestError
from rebuilder.engine import factory
from rebuilder.store.database import reading
from rebuilder.store.models import Verdict

site = delivery_bench.site


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
    failure = site.loop.controllers.tests.failure
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
