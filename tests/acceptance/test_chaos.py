"""A few of each of the faults that `make chaos` makes for twenty minutes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.faults import FAULTS, Fault, Stage
from chaos.world import World
from support import servers

from rebuilder.demo.broker import Broker

CASES = [pytest.param(fault, kind, id=f"{fault.__name__}-{kind}") for fault, kinds in FAULTS for kind in kinds]


@pytest.fixture(scope="module")
def postgres() -> Iterator[servers.PostgreSQL]:
    """One that may be restarted."""
    with servers.PostgreSQL() as running:
        yield running


@pytest.mark.parametrize(("fault", "kind"), CASES)
def test_nothing_is_lost_built_twice_or_stuck(
    fault: Fault, kind: str, postgres: servers.PostgreSQL, mortal_broker: Broker, tmp_path: Path
) -> None:
    verdict = fault(Stage(tmp_path, postgres, mortal_broker, 0.01), kind)
    assert verdict.well, verdict
    assert not verdict.note, verdict


def test_the_judge_sees_what_was_lost_and_what_was_built_twice(tmp_path: Path) -> None:
    """A table of zeros proves something only where it can be another."""
    world = World(tmp_path, f"sqlite:///{tmp_path}/chaos.db")
    engine = world.start()
    world.tell()
    while not world.submitted():
        assert engine.is_alive()
    line = world.ledger.read_text().splitlines()[0]
    with world.ledger.open("a") as ledger:
        ledger.write(f"{line}\n")
    assert world.finish("none", 0).twice == 1
    world.told += 1
    assert world._behind() == 12
