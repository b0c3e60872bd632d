"""Promotion: names that wait for an operator, for all of their wave, or until their image is released."""

from __future__ import annotations

import pytest
from integration import delivery_bench
from integration.delivery_bench import TESTED, Site
from sqlalchemy import select

from rebuilder.domain.errors import RequestError
from rebuilder.store import deliveries
from rebuilder.store.database import reading
from rebuilder.store.models import Delivery

site = delivery_bench.site


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
