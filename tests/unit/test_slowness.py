"""Limits of tests in seconds: they hold on an idle machine, and make no test fail for what other tests do."""

from __future__ import annotations

import pytest
from support import slowness
from support.slowness import within


def test_what_is_in_time_needs_no_look_at_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(slowness, "stretched")
    took = 4.9
    assert took < within(5)


@pytest.mark.parametrize(("took", "is_in_time"), [(5.1, True), (9.9, True), (10.1, False)])
def test_a_limit_is_longer_by_what_others_have_of_the_processor(
    took: float, is_in_time: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slowness, "stretched", lambda seconds: 2 * seconds)
    assert (took < within(5)) is is_in_time
