"""Questions about many subjects: one call where that is answered, smaller ones where it hangs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rebuilder.engine.batching import SPLIT_SECONDS, Batch, Batches

ALL = tuple("abcdefgh")


def test_all_are_asked_about_in_one_call_and_none_twice_meanwhile() -> None:
    batches = Batches()
    assert batches.next(ALL) == [ALL]
    batches.asked(ALL, 0)
    assert batches.next([*ALL, "new"]) == [("new",)]
    batches.answered(ALL)
    assert batches.next(ALL) == [ALL]


def test_what_is_slow_is_asked_again_in_halves_while_the_first_call_goes_on() -> None:
    batches = Batches()
    batches.asked(ALL, 0)
    assert batches.split(SPLIT_SECONDS / 2) == []
    assert batches.split(SPLIT_SECONDS) == list(ALL)
    assert batches.next(ALL) == [ALL[:4], ALL[4:]]
    assert batches.split(2 * SPLIT_SECONDS) == [], "once"


def test_what_could_not_be_read_is_asked_alone_until_it_can() -> None:
    batches = Batches()
    batches.asked(ALL, 0)
    batches.answered(ALL, left_out=["c"])
    assert batches.next(ALL) == [("a", "b", "d", "e", "f", "g", "h"), ("c",)]
    batches.asked(("c",), 0)
    batches.answered(("c",))
    assert batches.next(ALL) == [ALL]


@given(st.integers(2, 100), st.sets(st.integers(0, 99), max_size=10))
def test_whatever_hangs_all_others_are_answered_after_a_few_calls(count: int, hanging: set[int]) -> None:
    subjects = [str(number) for number in range(count)]
    hung = {str(number) for number in hanging}
    batches, answered, now, longest = Batches(), set[str](), 0.0, 0
    while not answered >= set(subjects) - hung:
        batches.split(now)
        for batch in batches.next(subjects):
            batches.asked(batch, now)
            if hung.isdisjoint(batch):
                answered.update(batch)
                batches.answered(batch)
        now += SPLIT_SECONDS
        longest += 1
        assert longest <= 9, "halves, and halves of those: at most log2 of all"


def test_a_call_that_failed_may_be_made_again_at_once() -> None:
    batches, both = Batches(), ("a", "b")
    batches.asked(both, 0)
    batches.unanswered(both)
    assert batches.next(both) == [both]
    alone: Batch = ("a",)
    batches.asked(alone, 0)
    batches.unanswered(alone)
    assert batches.next(both) == [("a",), ("b",)]
