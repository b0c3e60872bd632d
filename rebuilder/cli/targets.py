"""Before a command is about several images or waves, they are shown, and the user is asked."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from rebuilder.cli.terminal import printable
from rebuilder.domain.errors import RequestError

SHOWN = 40


def confirm(verb: str, targets: Sequence[str], yes: bool) -> None:
    """Show what the command is about, where that is several; raise Abort where the user does not want it.

    Raises RequestError where there is no terminal to ask on: scripts give --yes.
    """
    if len(targets) < 2 or yes:
        return
    for target in targets[:SHOWN]:
        click.echo(f"  {printable(target)}", err=True)
    if len(targets) > SHOWN:
        click.echo(f"  and {len(targets) - SHOWN} more", err=True)
    if not sys.stdin.isatty():
        raise RequestError(f"{verb} is about these {len(targets)}; confirm with --yes")
    click.confirm(f"{verb} these {len(targets)}?", abort=True, err=True)
