"""Builds in Koji: a `buildContainer` task for each, which Koji hands to OSBS."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any

from rebuilder.config import KojiSettings, Settings
from rebuilder.domain.build import BuildRejected, BuildRequest, InfrastructureError, Phase, Status, Submission
from rebuilder.domain.change import Severity
from rebuilder.domain.image import ImageBuild
from rebuilder.inventory.koji.build import SCM, BuildState, pin
from rebuilder.inventory.koji.hub import Denied, Hub, ask
from rebuilder.inventory.koji.reader import Reader

METHOD = "buildContainer"
OURS = "rebuilder"  # in a task's userdata
REMEMBERED = 14 * 86400.0
MOST_SEVERE = Severity.URGENT.weight
OVERLAP = 600.0  # seconds: a task that was created earlier may have become visible later
PAGE = 500
PIECE = 1 << 20
SCRATCH = "scratch/"  # begins the ident of a build that Koji keeps nothing of
TROUBLE = re.compile(
    r"ServerOffline|ConnectionError|connection (aborted|refused|reset)|timed? ?out|temporary failure in name|"
    r"no space left|remote end closed|broken pipe|cannot allocate memory|50[234] (server error|bad gateway|service)|"
    r"too many requests",
    re.IGNORECASE,
)


class TaskState(IntEnum):
    """Koji's numbers."""

    FREE = 0
    OPEN = 1
    CLOSED = 2
    CANCELED = 3
    ASSIGNED = 4
    FAILED = 5


RUNNING = frozenset({TaskState.FREE, TaskState.OPEN, TaskState.ASSIGNED})


class KojiBuilder:
    """Hands builds to a Koji hub. The ref of a build is the number of its task; our key is in the task's userdata.

    There it is found again for two weeks, which is longer than an engine should be away.

    Raises RequestError where the settings lack what is needed to build.
    """

    name = "koji"

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._koji: KojiSettings = settings.koji
        self._clock = clock
        self._reader = Hub(self._koji)
        self._writer = Hub(self._koji, building=True)
        self._builds = Reader(self._reader)
        self._owner: int | None = None
        self._tasks: dict[str, tuple[int, float]] = {}  # by key: the task, and when the hub created it
        self._seen: float | None = None

    def submit(self, order: BuildRequest) -> Submission:
        known = self._tasks.get(order.key)
        if known is None:
            source, target = self._source(order), self._target(order)
            behind = MOST_SEVERE - order.severity.weight  # of builds by hand, which have 0
            task = self._write(METHOD, source, target, self._options(order), priority=behind)
            known = self._tasks[order.key] = int(task), self._seen or self._clock()
        return self._submission(known[0])

    def _submission(self, task: int) -> Submission:
        web = self._koji.web
        return Submission(str(task), f"{web}/taskinfo?taskID={task}" if web else "")

    def _source(self, order: BuildRequest) -> str:
        """Raises BuildRejected."""
        source = order.image.source
        at = source.commit if self._koji.build_from == "commit" else source.ref
        if not source.git or not at:
            raise BuildRejected(f"{order.image.key} has no {self._koji.build_from} in git to build from")
        url = source.git
        return f"{SCM}{url}#{at}" if url.startswith(("https://", "http://")) else f"{url}#{at}"

    def _target(self, order: BuildRequest) -> str:
        """Raises BuildRejected."""
        fed = self._settings.streams.get(order.image.stream)
        if fed is None or not fed.koji_target:
            raise BuildRejected(f"{order.image.key}: set consumer_config.streams.{order.image.stream}.koji_target")
        return fed.koji_target

    def _options(self, order: BuildRequest) -> dict[str, Any]:
        settings, fed = self._koji, self._settings.streams[order.image.stream]
        causes = [str(change.build) for change in order.causes]
        options = {
            "git_branch": order.image.source.ref or fed.git_branch or order.image.stream,
            "koji_parent_build": pin(order.base),
            "scratch": settings.scratch,
            "yum_repourls": list(settings.yum_repourls),
            "compose_ids": list(settings.compose_ids),
            "signing_intent": settings.signing_intent,
            "userdata": {OURS: {"key": order.key, "image": order.image.key, "causes": causes}},
        }
        return {name: value for name, value in options.items() if value}

    def _read(self, method: str, *arguments: Any, **named: Any) -> Any:
        try:
            return self._reader.call(method, *arguments, **named)
        except Denied as error:
            raise InfrastructureError(f"Koji refused {method}: {error}") from None

    def _write(self, method: str, *arguments: Any, **named: Any) -> Any:
        """A call that changes something. Raises InfrastructureError."""
        try:
            return self._writer.call(method, *arguments, **named)
        except Denied as error:
            raise InfrastructureError(f"Koji refused {method}: {error}") from None

    def find(self, keys: Sequence[str]) -> Mapping[str, Submission]:
        if keys:
            self._look()
        return {key: self._submission(self._tasks[key][0]) for key in keys if key in self._tasks}

    def _look(self) -> None:
        """Learn of our own tasks that are new since the last look, by the hub's clock; at first, of two weeks."""
        if self._owner is None:
            self._owner = int(self._write("getLoggedInUser")["id"])
        since = self._clock() - REMEMBERED if self._seen is None else self._seen - OVERLAP
        wanted = {"method": METHOD, "owner": self._owner, "createdAfter": since, "decode": True}
        found: dict[str, tuple[int, float]] = {}
        newest, offset = self._seen, 0
        while True:
            page = self._read("listTasks", wanted, {"order": "id", "limit": PAGE, "offset": offset})
            for task in page:
                created = float(task.get("create_ts") or 0)
                newest = max(newest or 0.0, created) or None
                key = str(_ours(task.get("request")).get("key", ""))
                if key and key not in found:
                    found[key] = int(task["id"]), created
            offset += len(page)
            if len(page) < PAGE:
                break
        kept = {key: seen for key, seen in self._tasks.items() if seen[1] >= (newest or 0.0) - REMEMBERED}
        self._tasks, self._seen = {**found, **kept}, newest

    def poll(self, refs: Sequence[str]) -> Mapping[str, Status]:
        """Three round trips at most, however many builds there are: the tasks, what the ended ones say, their builds.

        A task that has closed is not enough: its build counts from the moment when Koji has it complete.
        """
        infos = self._together("getTaskInfo", refs)
        results = self._together("getTaskResult", [ref for ref in refs if _over(infos[ref])])
        made = {ref: build for ref, result in results.items() if (build := _made(result))}
        builds = dict(zip(made, self._together("getBuild", list(made.values())).values(), strict=True))
        return {ref: self._status(ref, infos[ref], results.get(ref), builds.get(ref)) for ref in refs}

    def _together(self, method: str, refs: Sequence[str]) -> dict[str, Any]:
        calls = [ask(method, _number(ref)) for ref in refs]
        return dict(zip(refs, self._reader.many(calls, max(len(calls), 1)), strict=True))

    def _status(self, ref: str, info: Any, result: Any, build: Any) -> Status:
        if info is None:
            return Status(Phase.ABORTED, f"Koji does not know task {ref} any more")
        if isinstance(info, Denied):
            raise InfrastructureError(f"Koji refused to tell of task {ref}: {info}")
        if info["state"] == TaskState.CANCELED:
            return Status(Phase.CANCELED, f"task {ref} was canceled in Koji")
        if info["state"] == TaskState.FAILED:
            return _bad(ref, result)
        if info["state"] != TaskState.CLOSED:
            return Status(Phase.RUNNING)
        if isinstance(result, Denied):
            raise InfrastructureError(f"Koji refused the result of task {ref}: {result}")
        if not _made(result):
            done = Status(Phase.SUCCEEDED)
            return done if self._koji.scratch else Status(Phase.ABORTED, f"task {ref} closed without a build in Koji")
        return _of_build(ref, build)

    def result(self, ref: str) -> ImageBuild:
        ours, number = _ours(self._read("getTaskRequest", int(ref))), _made(self._read("getTaskResult", int(ref)))
        image = str(ours.get("image", ""))
        if not image:
            raise InfrastructureError(f"task {ref} is none of ours: its userdata names no image")
        if not number:
            return ImageBuild(image, f"{SCRATCH}{ref}")
        return self._builds.build(image, int(number))

    def cancel(self, ref: str) -> None:
        info = self._read("getTaskInfo", _number(ref))
        if info and info["state"] in RUNNING:
            self._write("cancelTask", int(ref))

    def log(self, ref: str, offset: int = 0) -> Iterator[str]:
        """The logs of the task and its children, one after the other."""
        task = _number(ref)
        if self._read("getTaskInfo", task) is None:
            return
        for number in (task, *(int(child["id"]) for child in self._read("getTaskChildren", task))):
            for name in sorted(self._read("listTaskOutput", number)):
                if name.endswith(".log"):
                    text = self._output(number, name).decode(errors="replace")
                    yield text[offset:]
                    offset = max(0, offset - len(text))

    def _output(self, task: int, name: str) -> bytes:
        found = b""
        while piece := self._read("downloadTaskOutput", task, name, offset=len(found), size=PIECE):
            found += piece
        return found

    def close(self) -> None:
        """Log out; the builds go on."""
        self._reader.close()
        self._writer.close()


def _number(ref: str) -> int:
    """The task's or build's number; 0, which none has, for what is no number."""
    return int(ref) if ref.isascii() and ref.isdigit() else 0


def _over(info: Any) -> bool:
    """Whether the task has a result, be it a bad one."""
    return isinstance(info, dict) and info["state"] in (TaskState.CLOSED, TaskState.FAILED)


def _made(result: Any) -> str:
    """The number of the build that a task made, which its result has as text; nothing where it made none."""
    builds = result.get("koji_builds") if isinstance(result, dict) else None
    return str(builds[0]) if builds else ""


def _ours(request: Any) -> Mapping[str, Any]:
    """What we wrote into a task's userdata."""
    for part in request or ():
        userdata = part.get("userdata") if isinstance(part, dict) else None
        ours = userdata.get(OURS) if isinstance(userdata, dict) else None
        if isinstance(ours, dict):
            return ours
    return {}


def _bad(ref: str, result: Any) -> Status:
    """What a failed task means: its fault says whether the image is bad, or what builds it is in trouble."""
    reason = str(result) if isinstance(result, Denied) else ""
    phase = Phase.ABORTED if TROUBLE.search(reason) else Phase.FAILED
    return Status(phase, reason or f"task {ref} failed and said nothing")


def _of_build(ref: str, build: Any) -> Status:
    """What the state of the build means that a closed task has made."""
    state = build["state"] if isinstance(build, dict) else None
    match state:
        case BuildState.COMPLETE:
            return Status(Phase.SUCCEEDED)
        case BuildState.BUILDING:
            return Status(Phase.RUNNING)
        case BuildState.CANCELED:
            return Status(Phase.CANCELED, f"the build {build['nvr']} of task {ref} was canceled in Koji")
        case BuildState.FAILED | BuildState.DELETED:
            word = BuildState(state).name.lower()
            return Status(Phase.FAILED, f"the build {build['nvr']} of task {ref} is {word} in Koji")
    return Status(Phase.ABORTED, f"task {ref} closed, but Koji does not know its build")
