"""Our own tasks in Koji, found by the key that each carries in its userdata."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import IntEnum
from typing import Any

METHOD = "buildContainer"
OURS = "rebuilder"  # in a task's userdata
DAY = 86400.0
REMEMBERED = 14 * DAY
OVERLAP = 600.0  # seconds: a task that was created earlier may have become visible later
Ask = Callable[..., Any]


class TaskState(IntEnum):
    """Koji's numbers."""

    FREE = 0
    OPEN = 1
    CLOSED = 2
    CANCELED = 3
    ASSIGNED = 4
    FAILED = 5


LIVE = (TaskState.FREE, TaskState.OPEN, TaskState.ASSIGNED)
ENDED = (TaskState.CLOSED, TaskState.CANCELED, TaskState.FAILED)


class OwnTasks:
    """The tasks that carry our key, as far as they were seen. Threads may share it.

    A hub's table of tasks has tens of millions of rows, and no index on owner or time. The one that serves us is on
    parent, state and method where there is no parent (`task_by_no_parent_state_method`), so every question names all
    three. Live tasks are few, and most that are looked for are among them. Ended ones are asked for in days, the last
    one first, each day once: after that, only what is new.

    `ask` makes a call, `owner` asks the hub for the number of the user who builds.
    """

    def __init__(self, ask: Ask, owner: Callable[[], int], clock: Callable[[], float] = time.time) -> None:
        self._ask = ask
        self._user = owner
        self._clock = clock
        self._lock = threading.Lock()  # of what follows; never held during a call
        self._owner: int | None = None
        self._tasks: dict[str, tuple[int, float]] = {}  # by key: the task, and when the hub created it
        self._newest = 0.0  # the creation of the newest task of ours, by the hub's clock
        self._seen: tuple[float, float] | None = None  # ended tasks created in this span were all seen

    def task(self, key: str) -> int | None:
        """The task that carries the key, as far as is known here."""
        entry = self._tasks.get(key)
        return entry[0] if entry else None

    def add(self, key: str, task: int) -> None:
        """This task was just made for the key."""
        with self._lock:
            self._tasks.setdefault(key, (task, self._newest or self._clock()))

    def refresh(self, keys: Iterable[str]) -> None:
        """Learn of tasks that carry these keys, where there are any."""
        wanted = set(keys)
        self._learn(LIVE)
        for after, before in self._unseen():
            if wanted <= self._tasks.keys():
                return
            self._learn(ENDED, after, before)
            self._note(after, before)
        self._forget()

    def _unseen(self) -> Iterator[tuple[float, float | None]]:
        """The spans of time in which ended tasks were not seen yet, newest first: what is new, then days before.

        They begin by the hub's clock, where that is known; else the two clocks are taken to be less than a day apart.
        """
        now, oldest = self._clock(), self._clock() - REMEMBERED
        if self._seen is None:
            yield now - DAY, None
        else:
            yield self._seen[1], None
        while self._seen is not None and self._seen[0] > oldest:
            yield max(oldest, self._seen[0] - DAY), self._seen[0] + 1

    def _note(self, after: float, before: float | None) -> None:
        """Ended tasks of this span were seen; `before` is None for all that is new."""
        with self._lock:
            until = max(self._newest - OVERLAP, self._clock() - DAY)
            if self._seen is None:
                self._seen = after, until
            elif before is None:
                self._seen = self._seen[0], max(self._seen[1], until)
            else:
                self._seen = min(self._seen[0], after), self._seen[1]

    def _learn(self, states: Iterable[TaskState], after: float | None = None, before: float | None = None) -> None:
        if self._owner is None:
            self._owner = self._user()
        options = {
            "parent": None, "method": METHOD, "state": [int(state) for state in states], "owner": self._owner,
            "decode": True, "createdAfter": after, "createdBefore": before,
        }  # fmt: skip
        tasks: dict[str, tuple[int, float]] = {}
        newest = 0.0
        for task in sorted(self._ask("listTasks", options), key=lambda task: int(task["id"])):
            created = float(task.get("create_ts") or 0)
            newest = max(newest, created)
            key = str(ours(task.get("request")).get("key", ""))
            if key:
                tasks.setdefault(key, (int(task["id"]), created))
        with self._lock:
            self._newest = max(self._newest, newest)
            self._tasks = {**tasks, **self._tasks}

    def _forget(self) -> None:
        """Let go of what is too old to be asked for."""
        with self._lock:
            oldest = self._clock() - REMEMBERED - DAY
            self._tasks = {key: seen for key, seen in self._tasks.items() if seen[1] >= oldest}


def ours(request: Any) -> Mapping[str, Any]:
    """What we wrote into a task's userdata."""
    for part in request or ():
        userdata = part.get("userdata") if isinstance(part, dict) else None
        written = userdata.get(OURS) if isinstance(userdata, dict) else None
        if isinstance(written, dict):
            return written
    return {}
