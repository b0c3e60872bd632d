"""Builds in Koji: a `buildContainer` task for each, which Koji hands to OSBS."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from rebuilder.builders import koji_failure
from rebuilder.builders.koji_logs import TaskLogs
from rebuilder.builders.koji_tasks import LIVE, METHOD, OURS, OwnTasks, TaskState, ours
from rebuilder.builders.parent_digests import parent_digests
from rebuilder.config import KojiSettings, Settings
from rebuilder.domain.build import BuildRejected, BuildRequest, PartialResult, Phase, SiteError, Status, Submission
from rebuilder.domain.change import Severity
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.image import ImageBuild
from rebuilder.domain.image_name import ImageName
from rebuilder.inventory.koji import images
from rebuilder.inventory.koji.build import SCM, BuildState, koji_parent_nvr
from rebuilder.inventory.koji.build_reader import Reader
from rebuilder.inventory.koji.session import Denied, KojiSession, ask

log = logging.getLogger(__name__)
SUBMIT_SECONDS = 300.0  # a hub that is busy may take long to answer; the task is made all the same
NOT_ALLOWED = 1004  # ActionNotAllowed
MOST_SEVERE = Severity.URGENT.weight
TOGETHER = 1000  # tasks that are asked for with one round trip
PREPARED = "osbs-build.log"  # where koji-containerbuild puts what OSBS says that is of no platform (_write_logs)
SCRATCH = "scratch/"  # begins the ident of a build that Koji keeps nothing of


class KojiBuilder:
    """Hands builds to a Koji hub. The ref of a build is the number of its task; our key is in the task's userdata.

    There it is found again for two weeks, which is longer than an engine should be away. Threads may share it.

    Raises RequestError where the settings lack what is needed to build.
    """

    name = "koji"

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._koji: KojiSettings = settings.koji
        self._reader = KojiSession(self._koji)
        self._writer = KojiSession(self._koji, building=True)
        self._builds = Reader(self._reader)
        self._logs = TaskLogs(self._reader)
        self._read = partial(_call, self._reader)
        self._write = partial(_call, self._writer)  # as the user who builds
        self._tasks = OwnTasks(self._read, lambda: int(self._write("getLoggedInUser")["id"]), clock)

    def submit(self, order: BuildRequest) -> Submission:
        task = self._tasks.task(order.key)
        if task is None:
            source, target, options = self._source(order), self._target(order), self._options(order)
            behind = MOST_SEVERE - order.severity.weight  # of builds by hand, which have 0
            try:
                task = int(self._writer.call_within(SUBMIT_SECONDS, METHOD, source, target, options, priority=behind))
            except Denied as error:
                raise _not_taken(error) from None
            self._tasks.add(order.key, task)
        return self._submission(task)

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
        userdata = {"key": order.key, "image": order.image.key, "causes": causes}
        if order.image.externals:
            userdata["externals"] = list(order.image.externals)
        options = {
            "git_branch": order.image.source.ref or fed.git_branch or order.image.stream,
            "koji_parent_build": self._base(order.base),
            "scratch": settings.scratch,
            "yum_repourls": list(settings.yum_repourls),
            "compose_ids": list(settings.compose_ids),
            "signing_intent": settings.signing_intent,
            "userdata": {OURS: userdata},
        }
        return {name: value for name, value in options.items() if value}

    def _base(self, base: ImageBuild | None) -> str:
        """The NVR to build on. Koji keeps nothing of a scratch build: children are built on what the tags have."""
        if base is None or not base.ident.startswith(SCRATCH):
            return koji_parent_nvr(base)
        name, stream = ImageName.of(base.image)
        fed = self._settings.streams.get(stream)
        return images.newest_tagged(self._reader, fed.koji_tags if fed else (), name)

    def find(self, keys: Sequence[str]) -> Mapping[str, Submission]:
        if keys:
            self._tasks.refresh(keys)
        tasks = {key: self._tasks.task(key) for key in keys}
        return {key: self._submission(task) for key, task in tasks.items() if task is not None}

    def poll(self, refs: Sequence[str]) -> Mapping[str, Status]:
        """Three round trips for a thousand builds: the tasks, what the ended ones say, and their builds.

        A task that has closed is not enough: its build counts from the moment when Koji has it complete.
        """
        began = time.monotonic()
        infos = _told(self._together("getTaskInfo", refs))
        results = self._together("getTaskResult", [ref for ref, info in infos.items() if _over(info)])
        made = {ref: build for ref, result in results.items() if (build := _made(result))}
        builds = self._together("getBuild", list(made.values()))
        statuses = {
            ref: self._status(ref, info, results.get(ref), builds.get(made.get(ref, ""))) for ref, info in infos.items()
        }
        answered = {ref: status for ref, status in statuses.items() if status is not None}
        return answered | koji_failure.explained(answered, self._logs, began)

    def _together(self, method: str, refs: Sequence[str]) -> dict[str, Any]:
        calls = [ask(method, _number(ref)) for ref in refs]
        return dict(zip(refs, self._reader.many(calls, TOGETHER), strict=True))

    def _status(self, ref: str, info: Any, result: Any, build: Any) -> Status | None:
        """What the task, its result and its build say; None where one of them cannot be read now."""
        if info is None:
            return Status(Phase.ABORTED, f"Koji does not know task {ref} any more")
        begun = info.get("start_ts")
        match info["state"]:
            case TaskState.FREE | TaskState.ASSIGNED:  # it waits for a host, and for that host to take it
                return Status(Phase.WAITING)
            case TaskState.OPEN:
                return Status(Phase.RUNNING, begun=begun)
            case TaskState.CANCELED:
                return Status(Phase.CANCELED, f"task {ref} was canceled in Koji", begun)
            case TaskState.FAILED:
                return koji_failure.failure(ref, result, begun)
        return None if isinstance(result, Denied) else self._of_result(ref, result, build, begun)

    def _of_result(self, ref: str, result: Any, build: Any, begun: float | None) -> Status | None:
        """What it means that the task has closed."""
        if not _made(result):
            if self._koji.scratch:
                return Status(Phase.SUCCEEDED, begun=begun)
            return Status(Phase.ABORTED, f"task {ref} closed without a build in Koji", begun)
        return None if isinstance(build, Denied) else _of_build(ref, build, begun)

    def result(self, ref: str) -> ImageBuild:
        number = _made(self._read("getTaskResult", int(ref)))
        userdata = ours(self._read("getTaskRequest", int(ref)))
        image = str(userdata.get("image", ""))
        if not image:
            raise InfrastructureError(f"task {ref} was not made by rebuilder: its userdata names no image")
        build = self._builds.build(image, int(number)) if number else ImageBuild(image, f"{SCRATCH}{ref}")
        return self._on_parents(int(ref), build, [str(spec) for spec in userdata.get("externals") or ()])

    def _on_parents(self, task: int, build: ImageBuild, externals: Sequence[str]) -> ImageBuild:
        """With the digests of these external parents, as far as the task's log has them.

        Raises PartialResult where the log cannot be read now; one that the hub does not have tells nothing.
        """
        if not externals:
            return build
        try:
            return replace(build, externals=parent_digests(self._logs.of_name(task, PREPARED), externals))
        except Denied as error:
            log.info("on which parents %s stands is not known: %s of task %s: %s", build.ident, PREPARED, task, error)
            return build
        except InfrastructureError as error:
            raise PartialResult(f"the log of task {task} cannot be read: {error}", build) from None

    def cancel(self, ref: str) -> None:
        info = self._read("getTaskInfo", _number(ref))
        if info and info["state"] in LIVE:
            self._write("cancelTask", int(ref))

    def log(self, ref: str, offset: int = 0) -> Iterator[str]:
        """The logs of the task and its children, one after the other."""
        if task := _number(ref):
            yield from self._logs.read(task, offset)

    def close(self) -> None:
        """Log out; the builds go on."""
        self._reader.close()
        self._writer.close()


def _call(hub: KojiSession, method: str, *arguments: Any, **named: Any) -> Any:
    """The hub's answer. Raises InfrastructureError, also where it says no."""
    try:
        return hub.call(method, *arguments, **named)
    except Denied as error:
        raise InfrastructureError(f"Koji refused {method}: {error}", arrived=False) from None


def _number(ref: str) -> int:
    """The task's or build's number; 0, which none has, for what is not a number."""
    return int(ref) if ref.isascii() and ref.isdigit() else 0


def _over(info: Any) -> bool:
    """Whether the task has a result, be it a bad one."""
    return isinstance(info, dict) and info["state"] in (TaskState.CLOSED, TaskState.FAILED)


def _made(result: Any) -> str:
    """The number of the build that a task made, which its result has as text; nothing where it made none."""
    builds = result.get("koji_builds") if isinstance(result, dict) else None
    return str(builds[0]) if builds else ""


def _told(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were answered: what cannot be read now is left out."""
    return {ref: answer for ref, answer in answers.items() if not isinstance(answer, Denied)}


def _not_taken(error: Denied) -> InfrastructureError:
    """The hub did not make a task. Where we may not build at all, it will make none for any image."""
    text = f"Koji refused {METHOD}: {error}"
    return SiteError(text) if error.code == NOT_ALLOWED else InfrastructureError(text, arrived=False)


def _of_build(ref: str, build: Any, begun: float | None) -> Status:
    """What the state of the build means that a closed task has made."""
    state = build["state"] if isinstance(build, dict) else None
    match state:
        case BuildState.COMPLETE:
            return Status(Phase.SUCCEEDED, begun=begun)
        case BuildState.BUILDING:
            return Status(Phase.RUNNING, begun=begun)
        case BuildState.CANCELED:
            return Status(Phase.CANCELED, f"the build {build['nvr']} of task {ref} was canceled in Koji", begun)
        case BuildState.FAILED | BuildState.DELETED:
            word = BuildState(state).name.lower()
            return Status(Phase.FAILED, f"the build {build['nvr']} of task {ref} is {word} in Koji", begun)
    return Status(Phase.ABORTED, f"task {ref} closed, but Koji does not know its build", begun)
