"""OSBS: runs that are over are removed, those of this installation alone."""

from __future__ import annotations

import time
from collections.abc import Collection

import pytest
from support.buildah_world import until
from support.harnesses.osbs import OsbsHarness, changed

from rebuilder.domain.build import Phase


def tidied(osbs: OsbsHarness, settled: Collection[str]) -> list[str]:
    """The runs that are left after the builder has tidied until it has no more to do."""
    asked: list[Collection[str]] = []

    def known(keys: Collection[str]) -> set[str]:
        asked.append(keys)
        return set(keys) & set(settled)

    for _ in range(200):
        osbs.builder.tidy(known)
        if not set(osbs.cluster.runs) & set(settled):
            break
        time.sleep(0.05)
    return sorted(osbs.cluster.runs)


def test_runs_that_are_over_are_removed_once_their_logs_are_kept(osbs: OsbsHarness) -> None:
    osbs.settings = osbs.settings.model_copy(update={"osbs": osbs.settings.osbs.model_copy(update={"keep_runs": 0})})
    osbs.restart()
    for key in ("over-f42-1", "runs-f42-1", "unread-f42-1"):
        osbs.builder.submit(osbs.order(key))
        osbs.cluster.say(key, "a line of its log")
    osbs.succeed("over-f42-1")
    osbs.succeed("unread-f42-1")
    assert tidied(osbs, {"over-f42-1"}) == ["runs-f42-1", "unread-f42-1"]
    assert "a line of its log" in "".join(osbs.builder.log("over-f42-1"))
    assert osbs.builder.poll(["over-f42-1"])["over-f42-1"].phase is Phase.ABORTED


@pytest.mark.parametrize("keep", [3600, "forever"])
def test_runs_are_kept_as_long_as_is_wanted(osbs: OsbsHarness, keep: float | str) -> None:
    osbs.settings = osbs.settings.model_copy(update={"osbs": osbs.settings.osbs.model_copy(update={"keep_runs": keep})})
    osbs.restart()
    osbs.builder.submit(osbs.order("kept-f42-1"))
    osbs.succeed("kept-f42-1")
    until(lambda: osbs.builder.tidy(set))  # it is marked
    assert [osbs.builder.tidy(set) for _ in range(3)] == [0, 0, 0]
    assert list(osbs.cluster.runs) == ["kept-f42-1"]


def test_another_installation_s_runs_are_not_removed(osbs: OsbsHarness) -> None:
    osbs.settings = changed(osbs, keep_runs="forever")
    osbs.restart()
    osbs.builder.submit(osbs.order("theirs-f42-1"))
    osbs.succeed("theirs-f42-1")
    until(lambda: osbs.builder.tidy(set))
    osbs.settings = changed(osbs, keep_runs=0)
    osbs.restart()
    assert osbs.builder.tidy(lambda keys: ()) == 0
    assert list(osbs.cluster.runs) == ["theirs-f42-1"]
    assert osbs.builder.tidy(set) == 1
