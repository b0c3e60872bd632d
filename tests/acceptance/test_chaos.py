"""A few of each of the faults that `make chaos` makes for twenty minutes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from chaos.faults import Fault, Stage, restarted
from chaos.outsiders import FAULTS
from chaos.world import Verdict, World
from support import servers

from rebuilder.demo.broker import Broker

AT_ONCE = 6  # they wait more than they work


@pytest.fixture
def mortal_postgres() -> Iterator[servers.PostgreSQL]:
    """One that may be restarted."""
    with servers.PostgreSQL() as running:
        yield running


def test_nothing_is_lost_built_twice_or_stuck(
    postgres_server: servers.PostgreSQL, mortal_postgres: servers.PostgreSQL, mortal_broker: Broker, tmp_path: Path
) -> None:
    """All at the same time, each in its own world; the faults take the two kinds of databases in turn."""

    def made(number: int, fault: Fault, kinds: tuple[str, ...]) -> Verdict:
        postgres = mortal_postgres if fault is restarted else postgres_server
        return fault(Stage(tmp_path, postgres, mortal_broker, 0.01), kinds[number % len(kinds)])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts: list[Future[Verdict]] = [
            pool.submit(made, number, fault, kinds) for number, (fault, kinds) in enumerate(FAULTS) if kinds
        ]
    found = [future.result() for future in verdicts]
    assert [verdict for verdict in found if not verdict.well or verdict.note] == []


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
