"""`simulate` as a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.users import PLAN, User

SIMULATE = ("simulate", *PLAN[1:])


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    found = User(tmp_path_factory.mktemp("user"))
    found.types("inventory", "sync")
    return found


def test_the_answer_has_the_shape_that_scripts_read(user: User) -> None:
    found = user.reads(*SIMULATE, "--slots", "2")
    assert found == {"makespan_s": 720.0, "lower_bound_s": 720.0, "ratio": 1.0, "builds": 2, "slots": 2,
                     "policy": "critical-path"}  # fmt: skip
    document = str(Path(user.folder) / "inventory.yaml")
    assert user.reads(*SIMULATE, "--slots", "2", "--inventory", document) == found


def test_people_see_the_policies_side_by_side(user: User) -> None:
    said = user.types(*SIMULATE).stdout
    assert [line.split()[0] for line in said.splitlines()] == ["policy", "critical-path", "fifo", "levels"]


def test_noise_is_the_same_for_the_same_seed(user: User) -> None:
    one, same, other = (user.reads(*SIMULATE, "--noise", "0.5", "--seed", seed) for seed in ("1", "1", "2"))
    assert one == same
    assert one["makespan_s"] != other["makespan_s"]


def test_nothing_to_rebuild_takes_no_time(user: User) -> None:
    found = user.reads("simulate", "--update", "openssl-3.1.0-1.fc42", "--policy", "fifo")
    assert (found["makespan_s"], found["ratio"], found["builds"]) == (0, 1, 0)


@pytest.mark.parametrize(
    "options",
    [("--slots", "0"), ("--noise", "-1"), ("--policy", "luck"), ("--seed", "x"), ("--stream", "f9"), ("--update", "a")],
)
def test_a_wrong_request_is_one_line(user: User, options: tuple[str, ...]) -> None:
    user.is_refused(*SIMULATE, *options)
