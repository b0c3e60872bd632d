"""What changed from one build to the next."""

from __future__ import annotations

from rebuilder.domain.rpm import Rpm
from rebuilder.store.builds import difference


def test_of_two_kernels_each_version_that_went_and_came_is_told() -> None:
    one, two, three, four = (Rpm.parse(f"kernel-core-6.8.{n}-1.fc42.x86_64") for n in range(1, 5))
    found = difference([one, two], [three, four])
    assert (found.added, found.removed, found.changed) == ((), (), (((one, two), (three, four)),))


def test_what_is_in_both_is_no_change() -> None:
    one, two = Rpm.parse("a-1-1.noarch"), Rpm.parse("b-1-1.noarch")
    assert difference([one], [one, two]).added == (two,)
    assert not difference([one, two], [two, one])
