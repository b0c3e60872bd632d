"""The cluster as osbs-client sees it, with the client's exceptions turned into ours."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, TypeVar

from rebuilder.builders.osbs_library import NAMING, WRITING, Library
from rebuilder.builders.pipeline_run import LABELS, PipelineRun, Task, one_line
from rebuilder.config import OsbsSettings
from rebuilder.domain.build import BuildRejected, InfrastructureError, SiteError
from rebuilder.domain.errors import RequestError

T = TypeVar("T")
NOT_FOUND, CONFLICT, UNAUTHORIZED, FORBIDDEN, INVALID = 404, 409, 401, 403, 422
TEKTON_API, TEKTON_VERSION = "apis", "tekton.dev/v1beta1"  # of osbs-client's own osbs/tekton.py
PAGE = 500  # runs in one answer
NAMED = 50  # runs in one selector, which is part of a URL
RUN_LABEL = "tekton.dev/pipelineRun"


class Client:
    """The cluster as osbs-client sees it. Every method may raise InfrastructureError."""

    def __init__(self, settings: OsbsSettings) -> None:
        self._settings = settings
        self._library = Library()
        self._check_configuration()
        self._lock = Lock()
        self._osbs: Any = None

    def _check_configuration(self) -> None:
        configuration, settings = self._configuration(), self._settings
        place = f"{settings.file} [{settings.section}] or consumer_config.osbs.overrides"
        needed = {
            "openshift_url": configuration.get_openshift_base_uri(),
            "pipeline_run_path": configuration.get_pipeline_run_path(),
        }
        for key, value in needed.items():
            if not value:
                raise RequestError(f"builder osbs: {key} is not set: set it in {place}")
        overrides = settings.overrides
        for file in (overrides.token_file, overrides.pipeline_run_path, overrides.client_cert, overrides.client_key):
            if file is not None and not file.is_file():
                raise RequestError(f"consumer_config.osbs.overrides: {file}: no such file")

    def _configuration(self) -> Any:
        overrides = self._settings.overrides.model_dump(exclude_none=True, mode="json")
        return self._library.conf.Configuration(
            conf_file=str(self._settings.file), conf_section=self._settings.section, **overrides
        )

    @functools.cached_property
    def limits(self) -> dict[str, int]:
        """The two limits of a build in seconds, where the client takes them: then it cannot do without either."""
        if not self._library.takes_limits:
            return {}
        configuration, settings = self._configuration(), self._settings
        return {
            "default_buildtime_limit": settings.default_buildtime_limit
            or int(configuration.get_default_buildtime_limit()),
            "max_buildtime_limit": settings.max_buildtime_limit or int(configuration.get_max_buildtime_limit()),
        }

    def _connected(self) -> Any:
        """A client, which reads the token now and never again. It shall not repeat requests: we do, and know of it."""
        osbs = self._library.api.OSBS(self._configuration())
        osbs.os.retries_enabled = False
        return osbs

    def _call(self, use: Callable[[Any], T]) -> T:
        """Use the client; where its token is not accepted any more, once more with a new client and a fresh token."""
        with self._lock:
            if self._osbs is None:
                self._osbs = self._translated(self._connected)
            osbs = self._osbs
        try:
            return self._translated(lambda: use(osbs))
        except Unauthorized:
            with self._lock:
                if self._osbs is osbs:
                    self._osbs = self._translated(self._connected)
                osbs = self._osbs
            return self._translated(lambda: use(osbs))

    def _translated(self, call: Callable[[], T]) -> T:
        exceptions = self._library.exceptions
        try:
            return call()
        except self._library.refusals as error:
            raise BuildRejected(f"OSBS refuses it: {_told(error)}") from None
        except exceptions.OsbsAuthException as error:
            raise Unauthorized(_told(error)) from None
        except exceptions.OsbsException as error:
            code = getattr(error, "status_code", None)
            if code == UNAUTHORIZED:
                raise Unauthorized(_told(error)) from None
            told = f"OSBS: {code}: {_told(error)}" if code else f"OSBS: {_told(error)}"
            if code == FORBIDDEN:
                raise SiteError(told) from None
            own = type(error) is exceptions.OsbsException and error.cause is None
            gap = isinstance(error.cause, LookupError | TypeError | AttributeError)
            raise Answered(told, code if isinstance(code, int) else None, own=own, gap=gap) from None

    def site(self, user: str) -> Iterator[tuple[str, str]]:
        """What of the site was looked at, and what is wrong with it; empty where nothing is."""
        configuration = self._configuration()
        url = str(configuration.get_openshift_base_uri())
        yield f"openshift_url {url}", "" if "://" in url else "it has no scheme: write https://…"
        no_map = "it is not set: osbs-client would send the text None"
        yield "reactor_config_map", "" if configuration.get_reactor_config_map() else no_map
        quoted = "it has an apostrophe, which breaks the template"
        yield f"user {user}", quoted if "'" in user else ""
        default, most = self.limits.get("default_buildtime_limit", 0), self.limits.get("max_buildtime_limit", 0)
        yield "limits of a build", f"the default, {default} s, is over the most, {most} s" if default > most else ""
        try:
            yield f"{len(self.runs())} runs of ours at {url}", ""
        except InfrastructureError as error:
            hint = ": name its CA in REQUESTS_CA_BUNDLE" if "CERTIFICATE_VERIFY_FAILED" in str(error) else ""
            yield f"OSBS at {url}", f"{error}{hint}"

    def create(self, name: str, annotations: Mapping[str, str], parameters: Mapping[str, object]) -> None:
        """Make the run, under exactly this name. One that is there already is left as it is.

        Raises BuildRejected where the repository is not one that OSBS builds: it is cloned for that. Raises SiteError
        where the cluster takes no run of this template.
        """

        def use(osbs: Any) -> None:
            named = _naming(type(osbs), name, annotations)(self._configuration())
            named.os = osbs.os  # the same connection, and the same token
            named.create_binary_container_build(**parameters)

        try:
            self._call(use)
        except Answered as answer:
            if answer.own:
                raise BuildRejected(f"OSBS refuses it: {str(answer).removeprefix('OSBS: ')}") from None
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

    def runs(self) -> dict[str, PipelineRun]:
        """All runs that say they are ours, by name, with a call for each page of the list."""
        ours = ",".join(f"{key}={value}" for key, value in LABELS.items())
        runs = map(PipelineRun, self._listed("pipelineruns", ours))
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

    def tasks(self, names: Sequence[str]) -> dict[str, list[Task]]:
        """How the tasks of these runs stand, with a call for many runs; those that are gone already are left out.

        Tekton labels each TaskRun with its run (tekton.dev/docs/pipelines/labels).
        """
        found: dict[str, list[Task]] = {name: [] for name in names}
        for at in range(0, len(names), NAMED):
            for document in self._listed("taskruns", f"{RUN_LABEL} in ({','.join(names[at : at + NAMED])})"):
                run = str(((document.get("metadata") or {}).get("labels") or {}).get(RUN_LABEL, ""))
                found.setdefault(run, []).append(Task.of(document))
        return found

    def error(self, name: str) -> str:
        """What the client itself says of a run that failed; empty where it finds no words."""
        try:
            return str(self._call(lambda osbs: osbs.get_build_error_message(name)))
        except Answered as answer:
            if answer.code is None:  # it stumbled over a task without a status
                return ""
            raise

    def results(self, name: str) -> Mapping[str, object]:
        """What the run wrote down; nothing where the cluster has that no more, as of a TaskRun that was removed."""
        return self._kept(lambda osbs: osbs.get_build_results(name))

    def task_results(self, name: str) -> Mapping[str, Mapping[str, str]]:
        """What each task of the run wrote down; nothing where the cluster has that no more."""
        return self._kept(lambda osbs: osbs.get_task_results(name))

    def _kept(self, ask: Callable[[Any], Any]) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = self._call(ask)
        except Answered as answer:
            if answer.gone:
                return {}
            raise
        return found or {}

    def cancel(self, name: str) -> None:
        self._call(lambda osbs: osbs.cancel_build(name))

    def remove(self, name: str) -> None:
        """Remove the run with all that belongs to it; nothing happens where it is not there."""

        def use(osbs: Any) -> Any:
            return self._library.tekton.PipelineRun(osbs.os, name).remove_pipeline_run()

        try:
            self._call(self._library.api.osbsapi(use))
        except Answered as answer:
            if answer.code != NOT_FOUND:
                raise

    def follow(self, name: str) -> Iterator[tuple[str, str]]:
        """(task, line) as they are written, until the run ends. Waits for them."""
        stream = self._call(lambda osbs: osbs.get_build_logs(name, follow=True, wait=True))
        try:
            yield from stream
        except Exception as error:  # what it is made of is not the client's alone: requests', and gaps in the documents
            raise InfrastructureError(f"OSBS: the log's stream broke: {_told(error)}") from None

    def written(self, name: str) -> Iterator[tuple[str, str]]:
        """(task, line) of all that is written by now."""
        logs = self._call(lambda osbs: osbs.get_build_logs(name)) or {}
        for task, containers in logs.items():
            texts = containers.values() if isinstance(containers, Mapping) else [containers]
            for text in texts:
                yield from ((task, line) for line in lines_of(str(text or "")))


def lines_of(text: str) -> list[str]:
    """The lines as the stream splits them, which it does in bytes: a form feed or U+2028 ends none."""
    return [line.decode(errors="surrogateescape") for line in text.encode(errors="surrogateescape").splitlines()]


def _naming(osbs_class: Any, name: str, annotations: Mapping[str, str]) -> Any:
    """A client whose next run has this name and these annotations, and our label."""

    def written(self: Any, *args: Any, **kwargs: Any) -> Any:
        document = getattr(super(named, self), WRITING)(*args, **kwargs)
        metadata = document["metadata"]
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **annotations}
        metadata["labels"] = {**(metadata.get("labels") or {}), **LABELS}
        return document

    named: Any = type("OSBS", (osbs_class,), {NAMING: lambda self, *args, **kwargs: name, WRITING: written})
    return named


class Answered(InfrastructureError):
    """The cluster answered, or the client did in its place; `code` is the HTTP status where there is one.

    With `own` it is the client's judgement on what it was given, and no exception of something else made it say so.
    With `gap` the client stumbled over what a document of the cluster does not have.
    """

    def __init__(self, told: str, code: int | None, *, own: bool = False, gap: bool = False) -> None:
        super().__init__(told)
        self.code = code
        self.own = own
        self.gap = gap

    @property
    def gone(self) -> bool:
        """Whether asking again is of no use: what was asked for is not in the cluster any more."""
        return self.gap or self.code == NOT_FOUND


class Unauthorized(InfrastructureError):
    """The token is not accepted."""

    def __init__(self, told: str) -> None:
        super().__init__(f"OSBS does not accept our credentials (renew the token or its file): {told}")


def _told(error: Exception) -> str:
    """The client's exception in one line: of an answer in Kubernetes' own form, its message; of a cause, the cause."""
    cause = getattr(error, "cause", None)
    message = error.args[0] if error.args else ""
    text = message.decode(errors="replace") if isinstance(message, bytes) else str(message)
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict) and document.get("message"):
        text = str(document["message"])
    return one_line(text) or one_line(repr(cause or error))
