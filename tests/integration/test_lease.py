"""The lease: who has lost it writes nothing, and who waits takes over by himself."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine, select

from rebuilder.store import actions, lease
from rebuilder.store.actions import Verb
from rebuilder.store.database import reading
from rebuilder.store.lease import LEASE_SECONDS, Candidate, LeaseLost, Term, read
from rebuilder.store.models import Action


class Hands:
    """A monotonic clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def begun(candidate: Candidate) -> Term:
    term = candidate.try_acquire()
    assert term is not None
    return term


def watch(candidate: Candidate, hands: Hands, seconds: float) -> Term | None:
    """Look each second until the lease is taken, or the time is over."""
    end = hands.now + seconds
    while hands.now < end:
        hands.now += 1
        if (term := candidate.try_acquire()) is not None:
            return term
    return None


def test_one_acts_and_the_other_waits_until_it_lets_go(store: Engine) -> None:
    hands = Hands()
    first, second = Candidate(store, "first", hands), Candidate(store, "second", hands)
    term = begun(first)
    assert second.try_acquire() is None
    term.release()
    assert begun(second).owner == "second"
    with reading(store) as connection:
        assert read(connection).epoch == 2


def test_who_renews_keeps_it(store: Engine) -> None:
    hands = Hands()
    term, second = begun(Candidate(store, "first", hands)), Candidate(store, "second", hands)
    for _ in range(40):
        hands.now += 1
        term.confirm()
        assert second.try_acquire() is None
    assert second.renewed and term.sure


def test_who_renews_in_the_last_moment_keeps_it(store: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    hands = Hands()
    first, second = Candidate(store, "first", hands), Candidate(store, "second", hands)
    term = begun(first)

    def renewed_meanwhile(connection: Connection, role: lease.Role) -> lease.Held:
        seen = read(connection, role)
        with lease.renewing(term.engine):
            return seen

    assert watch(second, hands, LEASE_SECONDS) is None
    monkeypatch.setattr(lease, "read", renewed_meanwhile)
    hands.now += 1
    assert second.try_acquire() is None
    assert term.sure
    term.confirm(0)


def test_who_renews_no_more_loses_it_and_writes_nothing(store: Engine) -> None:
    hands = Hands()
    candidate = Candidate(store, "first", hands)
    term, second = begun(candidate), Candidate(store, "second", hands)
    began = hands.now
    assert watch(second, hands, 60) is not None
    assert LEASE_SECONDS <= hands.now - began <= 15
    assert not term.sure
    with pytest.raises(LeaseLost), term.engine.begin() as connection:
        actions.request(connection, Verb.RETRY, "app", "somebody", "", 1.0)
    with pytest.raises(LeaseLost):
        term.confirm()
    with reading(store) as connection:
        assert connection.execute(select(Action.id)).all() == []
    candidate.close()


def test_what_the_owner_writes_renews_the_lease(store: Engine) -> None:
    term = begun(Candidate(store, "first"))
    with reading(store) as connection:
        before = read(connection).renewals
    with term.engine.begin():
        pass
    with reading(term.engine) as connection:
        assert read(connection).renewals == before + 1


def test_a_watcher_that_slept_begins_to_watch_anew(store: Engine) -> None:
    """It, or the database, was away: that says nothing of the owner."""
    hands = Hands()
    first = Candidate(store, "first", hands)
    begun(first)
    second = Candidate(store, "second", hands)
    assert second.try_acquire() is None
    hands.now += 3600
    assert second.try_acquire() is None
    assert watch(second, hands, 15) is not None
    first.close()


def test_only_one_of_two_watchers_takes_over(store: Engine) -> None:
    hands = Hands()
    others = [Candidate(store, name, hands) for name in ("second", "third")]
    begun(Candidate(store, "first", hands)).release()
    assert len([term for other in others if (term := other.try_acquire()) is not None]) == 1


def test_a_lease_that_is_lost_is_not_released(store: Engine) -> None:
    hands = Hands()
    first = Candidate(store, "first", hands)
    term, second = begun(first), Candidate(store, "second", hands)
    assert watch(second, hands, 60) is not None
    term.release()
    with reading(store) as connection:
        assert read(connection).owner == "second"
    first.close()
