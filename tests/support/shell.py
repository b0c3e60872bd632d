"""The `rebuilder` command as a user types it, without a process for each: to start one takes longer than most verbs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from click.testing import CliRunner

from rebuilder.cli import status_of

ROOT = Path(__file__).parents[2]
STAYING = frozenset({"demo", "engine", "notify", "run", "web"})  # they take signals, and set up logs
LONGEST = 60.0


class StandardInput(BytesIO):
    """Named as the real one is."""

    name = "<stdin>"


def argv(*arguments: str) -> list[str]:
    """The command line of a process of its own."""
    return [sys.executable, "-m", "rebuilder", *arguments]


def types(
    *arguments: str, environment: Mapping[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """What the command answers. A verb that stays runs in a process of its own; all others in this one."""
    environment = os.environ if environment is None else environment
    if STAYING.isdisjoint(arguments):
        return _in_this_process(arguments, environment, stdin)
    return subprocess.run(
        argv(*arguments), cwd=ROOT, env=environment, input=stdin, capture_output=True, text=True, timeout=LONGEST,
        check=False,
    )  # fmt: skip


def _in_this_process(
    arguments: tuple[str, ...], environment: Mapping[str, str], stdin: str
) -> subprocess.CompletedProcess[str]:
    changed = {name: environment.get(name) for name in {*os.environ, *environment}}
    with CliRunner().isolation(input=StandardInput(stdin.encode()), env=changed) as (output, errors, _):
        try:
            status = status_of(list(arguments))
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        told = [stream.getvalue().decode() for stream in (output, errors)]
    return subprocess.CompletedProcess(argv(*arguments), status, *told)
