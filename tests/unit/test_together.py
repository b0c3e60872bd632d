"""Answers that are recorded together."""

from __future__ import annotations

from collections.abc import Iterator

from rebuilder.engine.together import MOST, SECONDS, together


class Answers:
    """A builder that takes its time for each answer, and the clock that it takes it from."""

    def __init__(self, seconds: float) -> None:
        self.now = 100.0
        self.seconds = seconds

    def clock(self) -> float:
        return self.now

    def given(self, count: int) -> Iterator[int]:
        for number in range(count):
            self.now += self.seconds
            yield number


def sizes(count: int, seconds: float) -> list[int]:
    answers = Answers(seconds)
    groups = list(together(answers.given(count), answers.clock))
    assert [number for group in groups for number in group] == list(range(count))
    return [len(group) for group in groups]


def test_what_is_answered_at_once_is_recorded_together_up_to_a_limit() -> None:
    assert sizes(2 * MOST + 1, 0.0) == [MOST, MOST, 1]


def test_a_slow_builder_s_answers_are_recorded_as_they_come() -> None:
    assert sizes(3, SECONDS) == [1, 1, 1]


def test_what_comes_within_a_moment_is_recorded_together() -> None:
    assert sizes(5, SECONDS / 2) == [2, 2, 1]


def test_no_answer_is_no_group() -> None:
    assert sizes(0, 1.0) == []
