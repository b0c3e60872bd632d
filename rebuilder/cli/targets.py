"""Before a command is about several images or waves, they are shown, and the user is asked."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from rebuilder.cli.terminal import printable
from rebuilder.domain.errors import RequestError

SHOWN = 40


def confirm(verb: str, found: Sequence[str], yes: bool) -> None:
    """Show what the command is about, where that is several; raise Abort where the user does not want it.

    Raises RequestError where there is no terminal to ask on: scripts give --yes.
    """
    if len(found) < 2 or yes:
        return
    for target in found[:SHOWN]:
        click.echo(f"  {printable(target)}", err=True)
    if len(found) > SHOWN:
        click.echo(f"  and {len(found) - SHOWN} more", err=True)
    if not sys.stdin.isatty():
        raise RequestError(f"{verb} is about these {len(found)}; confirm with --yes")
    click.confirm(f"{verb} these {len(found)}?", abort=True, err=True)
