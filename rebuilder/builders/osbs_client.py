"""The cluster as osbs-client sees it, with the client's exceptions turned into ours."""

from __future__ import annotations

import configparser
import functools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from threading import Lock
from typing import Any, TypeVar

from rebuilder.builders import osbs_site
from rebuilder.builders.log_collector import NoLog
from rebuilder.builders.osbs_errors import CONFLICT, INVALID, NOT_FOUND, NOT_STARTED, Answered, Unauthorized, translated
from rebuilder.builders.osbs_library import Library
from rebuilder.builders.osbs_submission import submit, submitting_class
from rebuilder.builders.pipeline_run import LABELS, PipelineRun, one_line
from rebuilder.builders.task_run import RUN_LABEL, LogSource, TaskRun
from rebuilder.config import OsbsSettings, StreamSettings
from rebuilder.domain.build import SiteError
from rebuilder.domain.errors import InfrastructureError, RequestError

T = TypeVar("T")
KEPT_LABEL = "rebuilder/kept"


class Kept(Enum):
    """Runs by whether their log and result are kept here, as a part of a selector."""

    ANY = ""
    NO = f"!{KEPT_LABEL}"
    YES = f"{KEPT_LABEL}=true"


TEKTON_API, TEKTON_VERSION = "apis", "tekton.dev/v1beta1"  # of osbs-client's own osbs/tekton.py
PAGE = 500  # runs in one answer
NAMED = 50  # runs in one selector, which is part of a URL
CORE_API, CORE_VERSION = "api", "v1"
READ_SECONDS = 30.0  # without a byte of a log that is written already
CHUNK = 1 << 16  # bytes of a log that are in the memory at a time


class Client:
    """The cluster as osbs-client sees it. Every method may raise InfrastructureError."""

    def __init__(self, settings: OsbsSettings, streams: Mapping[str, StreamSettings]) -> None:
        self._settings = settings
        self._streams = streams
        self._library = Library()
        self._check_site()
        self._lock = Lock()
        self._osbs: Any = None

    def _check_site(self) -> None:
        """Raises RequestError for what keeps every build from being made."""
        for about, fault in self._findings():
            if fault:
                raise RequestError(f"builder osbs: {about}: {fault}")

    def _findings(self) -> Iterator[osbs_site.Finding]:
        limits = (self.limits["default_buildtime_limit"], self.limits["max_buildtime_limit"]) if self.limits else None
        return osbs_site.findings(self._settings, self._streams, self._configuration(), limits)

    def _configuration(self, **more: object) -> Any:
        file, overrides = self._settings.file, self._settings.overrides.model_dump(exclude_none=True, mode="json")
        try:
            return self._library.conf.Configuration(
                conf_file=str(file), conf_section=self._settings.section, **overrides, **more
            )
        except (configparser.Error, UnicodeDecodeError) as error:
            raise RequestError(f"builder osbs: {file} cannot be read: {one_line(str(error))}") from None

    @functools.cached_property
    def limits(self) -> dict[str, int]:
        """The two limits of a build in seconds, where the client takes them: then it cannot do without either.

        Raises RequestError where one is not a number.
        """
        if not self._library.takes_limits:
            return {}
        configuration, settings = self._configuration(), self._settings
        try:
            default = settings.default_buildtime_limit or int(configuration.get_default_buildtime_limit())
            most = settings.max_buildtime_limit or int(configuration.get_max_buildtime_limit())
        except ValueError as error:
            raise RequestError(f"builder osbs: {settings.file}: a limit is not a number of seconds: {error}") from None
        return {"default_buildtime_limit": default, "max_buildtime_limit": most}

    def _connected(self) -> Any:
        """A client, which reads the token now and never again. It shall not repeat requests: we do, and know of it."""
        osbs = self._library.api.OSBS(self._configuration())
        osbs.os.retries_enabled = False
        return osbs

    def _call(self, use: Callable[[Any], T]) -> T:
        """Use the client; where its token is not accepted any more, once more with a new client and a fresh token."""
        with self._lock:
            if self._osbs is None:
                self._osbs = translated(self._library, self._connected)
            osbs = self._osbs
        try:
            return translated(self._library, lambda: use(osbs))
        except Unauthorized:
            with self._lock:
                if self._osbs is osbs:
                    self._osbs = translated(self._library, self._connected)
                osbs = self._osbs
            return translated(self._library, lambda: use(osbs))

    def site(self) -> Iterator[osbs_site.Finding]:
        """What of the site was looked at, and what is wrong with it; empty where nothing is."""
        yield from self._findings()
        url = str(self._configuration().get_openshift_base_uri())
        try:
            yield f"{len(self.runs())} runs of ours at {url}", ""
        except InfrastructureError as error:
            hint = ": name its CA in REQUESTS_CA_BUNDLE" if "CERTIFICATE_VERIFY_FAILED" in str(error) else ""
            yield f"OSBS at {url}", f"{error}{hint}"

    def create(self, name: str, annotations: Mapping[str, str], parameters: Mapping[str, object]) -> None:
        """Make the run, under exactly this name. One that is there already is left as it is.

        Raises BuildRejected where the repository is not one that OSBS builds: it is cloned for that. Raises SiteError
        where the cluster takes no run of this template, and InfrastructureError where it is unreachable.
        """

        def use(osbs: Any) -> None:
            # osbs.conf's `scratch` would win over what the build is told.
            configuration = self._configuration(scratch=bool(parameters.get("scratch")))
            named = submitting_class(self._library, name, annotations)(configuration)
            named.os = osbs.os  # the same connection, and the same token
            submit(self._library, named, parameters)

        try:
            self._call(use)
        except Answered as answer:
            if answer.code == INVALID:
                raise SiteError(f"{answer}: mend the template (pipeline_run_path)") from None
            if answer.code != CONFLICT or self.run(name) is None:
                raise

    def run(self, name: str) -> PipelineRun | None:
        """The run as it is now, None where there is none."""
        try:
            document = self._call(lambda osbs: osbs.get_build(name))
        except Answered as answer:
            if answer.code == NOT_FOUND:
                return None
            raise
        return PipelineRun(document) if document else None

    def runs(self, kept: Kept = Kept.NO) -> dict[str, PipelineRun]:
        """The runs that say they are ours, by name, with a call for each page of the list."""
        ours = [f"{key}={value}" for key, value in LABELS.items()]
        runs = map(PipelineRun, self._listed("pipelineruns", ",".join([*ours, *filter(None, [kept.value])])))
        return {run.name: run for run in runs}

    def _listed(self, kind: str, selector: str) -> Iterator[Mapping[str, Any]]:
        more = ""
        while True:
            document = self._page(kind, selector, more)
            yield from document.get("items") or ()
            more = str((document.get("metadata") or {}).get("continue") or "")
            if not more:
                return

    def _page(self, kind: str, selector: str, more: str) -> Mapping[str, Any]:
        """One page of a list. The client has no call for it; its session does, with its token and its certificates."""
        query = {"labelSelector": selector, "limit": PAGE, **({"continue": more} if more else {})}

        def read(osbs: Any) -> Any:
            return osbs.os.get(osbs.os.build_url(TEKTON_API, TEKTON_VERSION, kind, **query)).json()

        document: Mapping[str, Any] = self._call(self._library.api.osbsapi(read))
        return document

    def tasks(self, names: Sequence[str]) -> dict[str, list[TaskRun]]:
        """The TaskRuns of these runs, in the order in which they began, with a call for many runs.

        Those that are gone already are left out.
        """
        by_run: dict[str, list[TaskRun]] = {name: [] for name in names}
        for at in range(0, len(names), NAMED):
            for document in self._listed("taskruns", f"{RUN_LABEL} in ({','.join(names[at : at + NAMED])})"):
                task = TaskRun(document)
                by_run.setdefault(task.run, []).append(task)
        return {name: sorted(tasks, key=lambda task: task.order) for name, tasks in by_run.items()}

    def log(self, source: LogSource, *, follow: bool) -> Iterator[bytes]:
        """What the container wrote, as bytes and a piece at a time; with `follow` until it ends.

        The client's own reading decodes the whole log at once, has it in the memory, and gives up all logs of a run for
        one that is missing. Raises NoLog where the cluster does not have it, and InfrastructureError where it is
        unreachable.
        """
        query = {"container": source.container, **({"follow": "true"} if follow else {})}

        def opened(osbs: Any) -> Any:
            url = osbs.os.build_url(CORE_API, CORE_VERSION, f"pods/{source.pod}/log", **query)
            stream = osbs.os.get(url, stream=True)
            if not follow:
                _hurry(stream.req.raw)
            self._library.tekton.check_response(stream, logging.DEBUG)
            return stream

        try:
            stream = self._call(self._library.api.osbsapi(opened))
        except Answered as answer:
            if answer.code in (NOT_FOUND, NOT_STARTED):
                raise NoLog(str(answer)) from None
            raise
        try:
            yield from stream.req.iter_content(CHUNK)
        except OSError as error:  # all that requests raises is one
            raise InfrastructureError(f"OSBS: the log's stream broke: {one_line(str(error))}") from None
        finally:
            stream.req.close()

    def cancel(self, name: str) -> None:
        """Stop the run. Raises InfrastructureError where the cluster does not: it may have ended, or be gone."""
        self._call(lambda osbs: osbs.cancel_build(name))

    def mark_kept(self, name: str) -> None:
        """Note at the run that its log and its result are kept here; nothing happens where it is not there."""
        body = json.dumps({"metadata": {"labels": {KEPT_LABEL: "true"}}})
        headers = {"Content-Type": "application/merge-patch+json", "Accept": "application/json"}

        def use(osbs: Any) -> Any:
            url = osbs.os.build_url(TEKTON_API, TEKTON_VERSION, f"pipelineruns/{name}")
            return osbs.os.patch(url, data=body, headers=headers).json()

        self._unless_gone(use)

    def remove(self, name: str) -> None:
        """Remove the run with all that belongs to it; nothing happens where it is not there."""

        def use(osbs: Any) -> Any:
            return self._library.tekton.PipelineRun(osbs.os, name).remove_pipeline_run()

        self._unless_gone(use)

    def _unless_gone(self, use: Callable[[Any], Any]) -> None:
        try:
            self._call(self._library.api.osbsapi(use))
        except Answered as answer:
            if answer.code != NOT_FOUND:
                raise


def _hurry(raw: Any) -> None:
    """What is written already comes soon, or not at all: the client would wait for ten minutes."""
    connection = getattr(raw, "_connection", None)
    if (sock := getattr(connection, "sock", None)) is not None:
        sock.settimeout(READ_SECONDS)
