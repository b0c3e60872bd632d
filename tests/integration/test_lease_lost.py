"""The lease is lost at each point of the story: nothing more is written or submitted, and the next engine goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from itertools import count
from typing import Any

import pytest
from integration.workbench import AtOnce, Given, LoopClock, Workbench, image
from sqlalchemy import Engine, event, update

from consumers.topics import parse
from rebuilder.engine.loop import Loop, Runtime
from rebuilder.store import database
from rebuilder.store.database import reading
from rebuilder.store.lease import LEASE_SECONDS, Candidate, LeaseLost, read
from rebuilder.store.models import Lease

THIEF = "another one"
CHAIN = (image("base"), image("mid", "base"))
IMAGES = (*CHAIN, image("side", "base"))  # mid and side are submitted together


class Hooked(AtOnce):
    """Something happens before each call to the world: its thread had to wait for so long."""

    def __init__(self, before: Callable[[], None]) -> None:
        self._before = before

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._before()
        return super().submit(fn, *args, **kwargs)


class Fenced(Workbench):
    """Its engines hold a lease, and lose it at the place of a number to one that does nothing."""

    def __init__(self, store: Engine, place: int, images: Sequence[Given] = IMAGES) -> None:
        self._other = database.open_database(store.url.render_as_string(hide_password=False))
        self._place, self._places = place, count()
        self.robbed_at: int | None = None  # how many submissions there were then
        self.before_call: Callable[[], None] = lambda: None
        super().__init__(store, images)

    def restart(self, executor: Executor | None = None) -> None:
        with self._other.begin() as connection:
            connection.execute(update(Lease).where(Lease.owner == THIEF).values(owner=""))
        self.candidate = Candidate(self.store, "ours", self.clock)
        term = self.candidate.try_acquire()
        assert term is not None
        self.loop = Loop(
            term.engine, self.settings, self.builder, parse,
            runtime=Runtime(LoopClock(self.clock), Hooked(lambda: self.before_call())),
        )  # fmt: skip

    def place(self, *_: Any) -> None:
        """Here the lease may be lost. It is no sooner than its whole length after it was renewed last."""
        if next(self._places) != self._place:
            return
        self.robbed_at = len(self.builder.submitted)
        self.clock.now += LEASE_SECONDS + 1
        with self._other.begin() as connection:
            thief = {"owner": THIEF, "epoch": Lease.epoch + 1, "renewals": 0}
            connection.execute(update(Lease).where(Lease.role == "engine").values(thief))

    def story(self) -> None:
        """All of it, with the next engine where the lease is lost."""
        try:
            self.finish(step=10)
        except LeaseLost:
            assert len(self.builder.submitted) == self.robbed_at, "nothing was submitted any more"
            with reading(self._other) as connection:
                held = read(connection)
            assert (held.owner, held.renewals) == (THIEF, 0), "nothing was written any more"
            with pytest.raises(LeaseLost):
                self.loop.once()
                self.loop.beat()
            self.candidate.close()
            self.restart()
            self.finish(step=10)


def names(images: Sequence[Given]) -> list[str]:
    return [image.name for image, _ in images]


def lost_at_every_place(store: Engine, arm: Callable[[Fenced], None], images: Sequence[Given] = IMAGES) -> int:
    """The story again and again, with the lease lost at the first place, the second…; how many places there are."""
    for place in range(200):
        bench = Fenced(store, place, images)
        bench.tell(f"openssl-3.2.{place + 2}-1.fc42")
        arm(bench)
        bench.story()
        bench.candidate.close()
        bench._place = -1
        assert bench.states_of(place + 1) == [(name, "succeeded") for name in names(images)]
        assert bench.submitted() == names(images) and bench.builder.twice == []
        if bench.robbed_at is None:
            return place
        with bench._other.begin() as connection:
            connection.execute(update(Lease).values(owner=""))
        bench._other.dispose()
    raise AssertionError


def test_before_any_call_is_made(store: Engine) -> None:
    def arm(bench: Fenced) -> None:
        bench.before_call = bench.place

    assert lost_at_every_place(store, arm) >= 3 * 3, "for each image: submit, poll, result"


def test_after_any_answer_and_before_it_is_recorded(store: Engine) -> None:
    def arm(bench: Fenced) -> None:
        bench.builder.after = bench.place

    assert lost_at_every_place(store, arm) == 3


def test_before_any_look_at_the_database_and_any_transaction(store: Engine) -> None:
    def arm(bench: Fenced) -> None:
        event.listen(store.pool, "checkout", bench.place)

    assert lost_at_every_place(store, arm, CHAIN) >= 2 * 4, "there are many: two images are enough"


def test_the_story_without_a_loss_is_the_same(store: Engine) -> None:
    bench = Fenced(store, -1)
    bench.tell("openssl-3.2.2-1.fc42")
    bench.story()
    assert bench.states() == [(name, "succeeded") for name in names(IMAGES)]
    assert bench.submitted() == names(IMAGES)
