"""Builds by OSBS (Tekton on OpenShift), driven with osbs-client.

A rebuild's run has a name made from its key, so that the cluster itself keeps it from being made twice: what is there
already was submitted. The run says of itself which image it is of, so that any engine can adopt it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from msgspec.structs import replace

from rebuilder.builders import pipeline_run, reactor_log, task_run
from rebuilder.builders.log_collector import LogCollector
from rebuilder.builders.osbs_client import Client, Kept
from rebuilder.builders.osbs_library import PARAMETERS
from rebuilder.builders.parent_digests import parent_digests
from rebuilder.builders.pipeline_run import PipelineRun, name_of
from rebuilder.builders.task_run import TaskRun
from rebuilder.config import Settings, StreamSettings, state_directory
from rebuilder.domain.build import BuildRejected, BuildRequest, PartialResult, Phase, Status, Submission
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.image import ImageBuild
from rebuilder.inventory.koji.build import koji_parent_nvr
from rebuilder.inventory.koji.build_reader import Reader
from rebuilder.inventory.koji.session import KojiSession

T = TypeVar("T")
log = logging.getLogger(__name__)
OPEN = frozenset({Phase.WAITING, Phase.RUNNING})
MARKED, REMOVED = 1000, 500  # runs that one call marks and removes at the most
REMEMBERED = 1000  # runs that succeeded and whose results are still to be read
AT_ONCE = 20  # requests for single runs
LOST = "OSBS does not know this run any more"


class OsbsBuilder:
    """What it has built is read from Koji, where one is configured: only there is told which RPMs are in it.

    Raises RequestError where osbs-client is missing, unfit, or not configured.
    """

    name = "osbs"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.osbs
        self._streams = settings.streams
        self._koji = Reader(KojiSession(settings.koji)) if settings.koji.hub else None
        self._client = Client(self._settings, self._streams)
        self._good: dict[str, PipelineRun] = {}  # that succeeded, until their results are read: they may be removed
        self._logs = LogCollector(self._settings.logs or state_directory() / "osbs", self._client)

    def site(self) -> Iterator[tuple[str, str]]:
        """What of the site was looked at, and what is wrong with it; for `config check --online`."""
        yield from self._client.site()

    def submit(self, order: BuildRequest) -> Submission:
        """Hand over the build. The client clones its repository for that, and tries for minutes where git is away."""
        name = name_of(order.key)
        parameters = self._parameters(order)
        self._client.create(name, pipeline_run.annotations_of(order), parameters)
        return self._submission(name)

    def _submission(self, name: str) -> Submission:
        return Submission(name, str(self._logs.path(name)))

    def _parameters(self, order: BuildRequest) -> dict[str, object]:
        """What the client is told of the build. `koji_task_id` is not: it must name a task that is open, and none is.

        Raises BuildRejected for an image that has no place to be built from.
        """
        image, settings = order.image, self._settings
        source, stream = image.source, self._streams.get(image.stream, StreamSettings())
        own = {name: value for name, value in stream.osbs if value is not None}
        if not (source.git and source.ref):
            needed = "its source needs a git repository and a ref (branch)"
            raise BuildRejected(f"{image.key} cannot be built by OSBS: {needed}")
        parameters = {
            "git_uri": source.git,
            "git_ref": source.commit or source.ref,
            "git_branch": source.ref,
            "user": settings.user,
            "target": stream.koji_target,
            "platforms": settings.platforms,
            "koji_parent_build": koji_parent_nvr(order.base),
            "scratch": settings.scratch,
            "yum_repourls": settings.yum_repourls,
            "compose_ids": settings.compose_ids,
            "signing_intent": settings.signing_intent,
            "userdata": {"rebuilder": name_of(order.key)},
            **self._client.limits,
            **own,
        }
        assert parameters.keys() <= PARAMETERS
        return {key: list(value) if isinstance(value, tuple) else value for key, value in parameters.items() if value}

    def _all(self, ask: Callable[[str], T], names: Sequence[str]) -> dict[str, T]:
        """The answer for each name, a few asked at a time. Raises InfrastructureError where one cannot be had."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(names, pool.map(ask, names), strict=True))

    def find(self, keys: Sequence[str]) -> Mapping[str, Submission]:
        """One list tells of many. What lost its label is not in it, and is found when it is submitted again."""
        names = {key: name_of(key) for key in keys}
        if len(keys) == 1:
            runs: Collection[str] = self._alone(list(names.values()))
        else:
            runs = self._client.runs(Kept.ANY)
        return {key: self._submission(name) for key, name in names.items() if name in runs}

    def _alone(self, names: Sequence[str]) -> dict[str, PipelineRun]:
        """The runs of these names, each asked for. Raises InfrastructureError where one cannot be had."""
        return {name: run for name, run in self._all(self._client.run, names).items() if run is not None}

    def poll(self, refs: Sequence[str]) -> Mapping[str, Status]:
        """One list tells of all, and one of the tasks of all that failed why they did."""
        if not refs:
            return {}
        runs = self._runs(refs)
        statuses = {ref: runs[ref].status if ref in runs else Status(Phase.ABORTED, LOST) for ref in refs}
        self._remember({ref: runs[ref] for ref, status in statuses.items() if status.phase is Phase.SUCCEEDED})
        self._collect(runs, statuses)
        return self._explained(statuses)

    def _remember(self, good: Mapping[str, PipelineRun]) -> None:
        """Not for ever: some results are never read whole."""
        self._good |= good
        for ref in list(islice(self._good, max(0, len(self._good) - REMEMBERED))):
            del self._good[ref]

    def _runs(self, names: Sequence[str]) -> dict[str, PipelineRun]:
        """The runs of these names; one that is in no list is asked for by its name."""
        listed = self._client.runs()
        runs = {name: listed[name] for name in names if name in listed}
        return runs | self._alone([name for name in names if name not in listed])

    def _collect(self, runs: Mapping[str, PipelineRun], statuses: Mapping[str, Status]) -> None:
        """See to the logs of runs that go, have ended, or are gone."""
        self._logs.follow(run for run in runs.values() if statuses[run.name].phase is Phase.RUNNING)
        self._logs.complete([name for name in runs if statuses[name].phase not in OPEN])
        for name in statuses.keys() - runs.keys():
            self._logs.lost(name)

    def _explained(self, statuses: Mapping[str, Status]) -> dict[str, Status]:
        """With what the runs that failed died of; they are left out where that is unknown now."""
        failed = [ref for ref, status in statuses.items() if status.phase is Phase.FAILED]
        others = {ref: status for ref, status in statuses.items() if ref not in failed}
        if not failed:
            return others
        try:
            tasks = self._client.tasks(failed)
        except InfrastructureError as error:
            log.warning("why %d runs failed cannot be read yet: %s", len(failed), error)
            return others
        failures = {ref: self._failure(ref, tasks[ref], statuses[ref].reason) for ref in failed}
        return others | {ref: status for ref, status in failures.items() if status is not None}

    def _failure(self, ref: str, tasks: Sequence[TaskRun], message: str) -> Status | None:
        """With the error that the log has. None where the log is to tell it, and is still being read."""
        labels = task_run.vague(tasks)
        if labels and self._logs.is_coming(ref) and task_run.failure(tasks, message).phase is Phase.FAILED:
            return None
        said = {name: reactor_log.error(self._logs.of(ref).end_of(its)) for name, its in labels.items()}
        return task_run.failure(tasks, message, {name: error for name, error in said.items() if error})

    def result(self, ref: str) -> ImageBuild:
        """Koji's build where there is one and Koji is configured; else what OSBS says, and the RPMs are unknown.

        What a TaskRun says that is gone, or has no status, is left out.
        """
        run = self._client.run(ref) or self._good.get(ref)
        if run is None:
            raise InfrastructureError(f"the result of {ref} cannot be read: {LOST}")
        try:
            build = self._on_parents(run, self._built(run, self._client.tasks([ref])[ref]))
        except PartialResult:
            raise
        except InfrastructureError as error:
            raise PartialResult(f"the tasks of {ref} cannot be read: {error}", self._built(run, ())) from None
        self._good.pop(ref, None)
        return build

    def _on_parents(self, run: PipelineRun, build: ImageBuild) -> ImageBuild:
        """With the digests of external parents. Raises PartialResult where the log that tells them is not whole yet."""
        if not run.externals:
            return build
        whole = self._logs.is_whole(run.name)
        pinned = replace(build, externals=parent_digests(self._logs.of(run.name).read(0), run.externals))
        if len(pinned.externals) < len(run.externals) and not whole:
            raise PartialResult(f"the log of {run.name} does not say yet on which parents it was built", pinned)
        return pinned

    def _built(self, run: PipelineRun, tasks: Sequence[TaskRun]) -> ImageBuild:
        """Raises PartialResult where Koji cannot be read."""
        specs = tuple(pipeline_run.pull_specs(run.results.get("repositories")))
        digest = task_run.digest_of(specs, tasks)
        result = ImageBuild(run.image, digest or next(iter(specs), run.name), None, run.parents, digest, specs)
        number = pipeline_run.one_line(str(run.results.get("koji-build-id") or ""))
        if self._koji is None or not number.isdecimal():
            return result
        try:
            build = self._koji.build(run.image, int(number))
        except InfrastructureError as error:
            raise PartialResult(f"Koji's build {number} cannot be read: {error}", result) from None
        return replace(build, parents=build.parents or run.parents, digest=build.digest or digest)

    def cancel(self, ref: str) -> None:
        run = self._client.run(ref)
        if run is None or run.canceled or run.status.phase not in OPEN:
            return
        try:
            self._client.cancel(ref)
        except InfrastructureError:
            if (run := self._client.run(ref)) is not None and not run.canceled and run.status.phase in OPEN:
                raise

    def tidy(self, settled: Callable[[Collection[str]], Collection[str]]) -> int:
        """Remove runs that ended `keep_runs` ago and whose logs are whole; read the logs of ended runs that are not.

        One that is not to be removed yet gets a label, so that lists of what runs do not grow with what ended.
        """
        ended = {run.key: run for run in self._client.runs().values() if run.ended is not None}
        over = [ended[key] for key in sorted(settled(ended.keys()))]
        self._logs.complete([run.name for run in over])
        kept = [run for run in over if self._logs.is_whole(run.name)][:MARKED]
        self._all(self._client.mark_kept, [run.name for run in kept])
        return len(kept) + self._remove(settled)

    def _remove(self, settled: Callable[[Collection[str]], Collection[str]]) -> int:
        """Remove what ended `keep_runs` ago; how many. Another installation's runs are its own affair."""
        if self._settings.keep_runs == "forever":
            return 0
        until = time.time() - self._settings.keep_runs
        marked = self._client.runs(Kept.YES).values()
        old = {run.key: run.name for run in marked if run.ended is not None and run.ended <= until}
        names = [old[key] for key in sorted(settled(old.keys()))][:REMOVED]
        self._all(self._client.remove, names)
        return len(names)

    @property
    def tidying(self) -> bool:
        """Whether the log of a run that ended a moment ago is still being read."""
        return self._logs.busy

    def log_is_whole(self, ref: str) -> bool:
        """Whether nothing will be added to the log any more."""
        return self._logs.is_whole(ref)

    def log(self, ref: str, offset: int = 0) -> Iterator[str]:
        return self._logs.of(ref).read(offset)

    def close(self) -> None:
        """The runs go on in the cluster."""
        self._logs.close()
        if self._koji is not None:
            self._koji.close()
