"""osbs-client itself: found, and checked by what it does with what it is told."""

from __future__ import annotations

import ast
import inspect
import logging
import os
import re
import signal
import subprocess
import textwrap
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

from rebuilder.domain.errors import RequestError

NAMING, WRITING = "_get_binary_container_pipeline_name", "_get_binary_container_pipeline_data"
CHECKING = "_checks_for_flatpak"
GIT_SECONDS = 120.0  # for one call of git; a submission has more
GIT = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_HTTP_LOW_SPEED_LIMIT": "1000", "GIT_HTTP_LOW_SPEED_TIME": "30"}
GONE = re.compile(r"Remote branch \S+ not found.*")  # what git says of a branch that the repository does not have
USED = ("create_binary_container_build", "get_build", "cancel_build")
PARAMETERS = frozenset({
    *("git_uri", "git_ref", "git_branch", "user", "target", "platforms", "koji_parent_build", "scratch"),
    *("yum_repourls", "compose_ids", "signing_intent", "userdata", "default_buildtime_limit", "max_buildtime_limit"),
    *("isolated", "release"),
})  # fmt: skip
LIMITS = frozenset({"default_buildtime_limit", "max_buildtime_limit"})


class Library:
    """The modules of osbs-client that we use. Raises RequestError, in one line, where they are missing or unfit."""

    def __init__(self) -> None:
        try:
            self.api, self.conf, self.exceptions, self.tekton, self.params, http, utils = map(import_module, (
                "osbs.api", "osbs.conf", "osbs.exceptions", "osbs.tekton", "osbs.build.user_params", "osbs.osbs_http",
                "osbs.utils",
            ))
        except ModuleNotFoundError as error:
            if error.name == "osbs":
                problem = "osbs-client is not installed: install python3-osbs-client from the distribution"
            else:
                problem = f"osbs-client cannot be used here: {error.name} is missing"
            raise RequestError(f"builder osbs: {problem}") from None
        for handler in list(logging.getLogger("osbs").handlers):  # osbs/__init__.py adds its own: each line came twice
            logging.getLogger("osbs").removeHandler(handler)
        # The engine pauses between tries by itself, and asks meanwhile what others wait for.
        vars(utils).update(subprocess=_Subprocess(self.exceptions.OsbsCommitNotFound), GIT_BACKOFF_FACTOR=0)
        _check_urllib3(http)
        self._check_signatures()

    @property
    def takes_limits(self) -> bool:
        """Whether a build's limits are given with it, as since 2.2; before, only the pipeline bounds it."""
        return hasattr(self.conf.Configuration, "get_default_buildtime_limit")

    def _check_signatures(self) -> None:
        """The client drops keywords that it does not know without a word: each of ours must have a place in it."""
        api = self.api.OSBS
        missing = [name for name in (*USED, NAMING, WRITING, CHECKING) if not hasattr(api, name)]
        if missing:
            raise RequestError(f"builder osbs: this osbs-client has no {', '.join(missing)}: version 2 is needed")
        names = ("create_binary_container_build", "create_binary_container_pipeline_run", "get_user_params")
        takes = [getattr(api, name, None) for name in names]
        takes += [base.__dict__.get("make_params") for base in self.params.BuildUserParams.__mro__]
        needed = PARAMETERS if self.takes_limits else PARAMETERS - LIMITS
        if dropped := sorted(needed - _keywords(takes)):
            raise RequestError(f"builder osbs: this osbs-client would drop {', '.join(dropped)} without a word")


class _Subprocess:
    """The standard module for osbs-client, which calls git: in English, silently, without asking, and bounded.

    The client looks for "nothing to commit" in what git says, lets `git reset` print to our standard output, and waits
    for a server that hangs.
    """

    def __init__(self, not_found: type[Exception]) -> None:
        self._not_found = not_found

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    def check_call(self, command: Any, **options: Any) -> int:
        self._run(command, {"stdout": subprocess.DEVNULL, **options})
        return 0

    def check_output(self, command: Any, **options: Any) -> Any:
        return self._run(command, {"stdout": subprocess.PIPE, **options})

    def _run(self, command: Any, options: dict[str, Any]) -> Any:
        """Raises as the standard module does, and the client's own exception for a branch that is not there."""
        ours = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": {**os.environ, **GIT}}
        with subprocess.Popen(command, **{**ours, **options}, start_new_session=True) as process:
            try:
                output, _ = process.communicate(timeout=GIT_SECONDS)
            except BaseException as error:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # git's own helpers, too
                if isinstance(error, subprocess.TimeoutExpired):
                    raise TimeoutError(f"{' '.join(command[:2])} took longer than {GIT_SECONDS:g} s") from None
                raise
        if process.returncode:
            said = output.decode(errors="replace") if isinstance(output, bytes) else str(output or "")
            if gone := GONE.search(said):
                raise self._not_found(gone[0])
            raise subprocess.CalledProcessError(process.returncode, command, output)
        return output


def _check_urllib3(http: ModuleType) -> None:
    """osbs-client 2.8 hands urllib3 a keyword that urllib3 2 has no more; every request would fail."""
    try:
        outdated, release = "method_whitelist" in inspect.getsource(http), version("urllib3")
    except (OSError, PackageNotFoundError):
        return
    if outdated and int(release.partition(".")[0]) >= 2:
        raise RequestError(f"builder osbs: this osbs-client does not work with urllib3 {release}: install urllib3 < 2")


def _keywords(functions: Iterable[Any]) -> set[str]:
    """What these functions take: the parameters that they name, and what they read out of their `**kwargs`."""
    plain = [getattr(function, "__func__", function) for function in functions if function is not None]
    named = {name for function in plain for name in inspect.signature(function).parameters}
    return named.union(*map(_read_from_kwargs, plain))


def _read_from_kwargs(function: Any) -> set[str]:
    """The keywords that the function's source takes by name out of its `**kwargs`; none where there is no source."""
    function = inspect.unwrap(function)
    kinds = inspect.signature(function).parameters.values()
    rest = next((parameter.name for parameter in kinds if parameter.kind is parameter.VAR_KEYWORD), None)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):
        return set()
    return {name for node in ast.walk(tree) if rest and (name := _key_read(node, rest))}


def _key_read(node: ast.AST, mapping: str) -> str:
    """`key` where the node is `mapping.get("key")`, `mapping.pop("key")` or `mapping["key"]`, else nothing."""
    match node:
        case (
            ast.Call(
                func=ast.Attribute(value=ast.Name(id=name), attr="get" | "pop"), args=[ast.Constant(value=str(key)), *_]
            )
            | ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key)), ctx=ast.Load())
        ) if name == mapping:
            return key
    return ""
