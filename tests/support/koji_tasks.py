"""Tasks in a Koji hub, for tests, which move them on by hand.

Answers have the shapes of a real hub's, as far as anybody here reads them, with the oddities that matter: faults of
tasks with codes of their own, sizes of logs as texts.
"""

from __future__ import annotations

import base64
import itertools
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any
from xmlrpc.client import Fault

from msgspec import Struct, field

FREE, OPEN, CLOSED, CANCELED, ASSIGNED, FAILED = range(6)
GENERIC, CONTAINER_FAULT = 1000, 2001
OPTIONS = frozenset({
    *("scratch", "isolated", "dependency_replacements", "yum_repourls", "arch_override", "git_branch", "release"),
    *("koji_parent_build", "flatpak", "compose_ids", "signing_intent", "skip_build", "userdata"),
    "operator_csv_modifications_url",
})  # fmt: skip


class Task(Struct):
    id: int
    request: list[Any]
    owner: int
    created: float
    state: int = FREE
    started: float | None = None
    result: dict[str, Any] | None = None
    fault: tuple[int, str] | None = None
    log: str = ""
    prepared: str = ""  # what OSBS says that is of no platform (osbs-build.log)
    build: int | None = None

    @property
    def options(self) -> dict[str, Any]:
        found: dict[str, Any] = self.request[2]
        return found

    @property
    def logs(self) -> dict[str, str]:
        """By their names."""
        texts = {"container-build.log": self.log, "osbs-build.log": self.prepared}
        return {name: text for name, text in texts.items() if text}

    def open(self) -> None:
        """A host has begun with it."""
        self.state, self.started = OPEN, self.started or time.time()

    @property
    def key(self) -> str:
        return str(self.options.get("userdata", {}).get("rebuilder", {}).get("key", ""))


class Tasks(Struct, dict=True):  # so that a test may put a method of its own in place of one
    """`scan` is how long it takes to go through all tasks, in seconds: each query does that no index serves."""

    tasks: dict[int, Task] = field(default_factory=dict)
    names: Iterable[int] = field(default_factory=lambda: itertools.count(101))  # of tasks, and of all else
    scan: float = 0.0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def _next(self) -> int:
        return next(iter(self.names))

    # --- what tests do with them

    def live(self) -> list[Task]:
        with self.lock:
            return [task for task in self.tasks.values() if task.state in (FREE, OPEN, ASSIGNED)]

    def submitted(self) -> list[Task]:
        """The tasks that carry our key."""
        with self.lock:
            return [task for task in self.tasks.values() if task.key]

    def fail(self, task: Task, text: str = "the build is\nbad", code: int = CONTAINER_FAULT) -> None:
        with self.lock:
            task.state, task.fault = FAILED, (code, text)

    # --- what the hub answers

    def build_container(
        self, owner: int | None, src: str, target: str, opts: Any = None, priority: Any = None,
        channel: str = "container",
    ) -> int:
        if owner is None:
            raise Fault(GENERIC, "must have an owner")
        if unknown := set(opts or {}) - OPTIONS:
            raise Fault(GENERIC, f"unexpected options: {', '.join(sorted(unknown))}")
        if priority and priority < 0:
            raise Fault(1004, "only admins may create high-priority tasks")
        task = Task(self._next(), [src, target, dict(opts or {})], owner, time.time())
        self.tasks[task.id] = task
        return task.id

    def list_tasks(self, opts: Mapping[str, Any], queryOpts: Mapping[str, Any] | None = None) -> Any:  # noqa: N803
        """As listTasks in the hub's kojihub.py; the index is task_by_no_parent_state_method of its schema.sql."""
        if opts.get("parent", 0) is not None or "state" not in opts or "method" not in opts:
            time.sleep(self.scan)
        query = queryOpts or {}
        found = [
            {**self._told(task), "request": task.request if opts.get("decode") else None}
            for task in self.tasks.values()
            if task.owner == opts["owner"] and task.state in opts.get("state", range(6))
            and task.created > (opts.get("createdAfter") or 0)
            and task.created < (opts.get("createdBefore") or task.created + 1)
        ]  # fmt: skip
        return found[query.get("offset", 0) :][: query.get("limit")]

    @staticmethod
    def _told(task: Task) -> dict[str, Any]:
        return {
            "id": task.id, "state": task.state, "method": "buildContainer", "owner": task.owner, "parent": None,
            "create_ts": task.created, "start_ts": task.started,
        }  # fmt: skip

    def get_task_info(self, task: int, request: bool = False, strict: bool = False) -> Any:
        found = self.tasks.get(task)
        return found and self._told(found)

    def get_task_result(self, task: int) -> Any:
        found = self.tasks.get(task)
        if found is None:
            raise Fault(GENERIC, f"No such task: {task}")
        if found.fault is not None:
            raise Fault(*found.fault)
        if found.state == CANCELED:
            raise Fault(GENERIC, f"Task {task} is canceled")
        if found.result is None:
            raise Fault(GENERIC, f"Task {task} is not finished")
        return found.result

    def get_task_request(self, task: int) -> Any:
        found = self.tasks.get(task)
        if found is None:
            raise Fault(GENERIC, f"No such task: {task}")
        return found.request

    def cancel_task(self, owner: int | None, task: int, recurse: bool = True) -> None:
        found = self.tasks.get(task)
        if found is None:
            raise Fault(GENERIC, f"No such task: {task}")
        if owner != found.owner:
            raise Fault(1004, "Cannot cancel task, not owner")
        if found.state in (FREE, OPEN, ASSIGNED):
            found.state = CANCELED

    def list_output(self, task: int, stat: bool = False) -> Any:
        """The names or, with `stat`, what os.stat says of each, in which sizes are texts (list_task_output)."""
        found = self.tasks.get(task)
        if found is None or not found.log + found.prepared:
            return {} if stat else []
        sizes = {name: len(text.encode()) for name, text in found.logs.items()} | {"metadata.json": 2}
        return {name: {"st_size": str(size)} for name, size in sizes.items()} if stat else list(sizes)

    def output(self, task: int, name: str, offset: int = 0, size: int = -1) -> str:
        if name not in self.tasks[task].logs:
            raise Fault(GENERIC, f'no file "{name}" output by task {task}')
        content = self.tasks[task].logs[name].encode()[offset:]
        return base64.b64encode(content if size < 0 else content[:size]).decode()
