"""`log`: what a build says."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import click

from rebuilder.cli.client import server_option, source
from rebuilder.cli.context import Context
from rebuilder.cli.terminal import log_text
from rebuilder.domain.errors import RequestError
from rebuilder.queries.logs import LogChunk

LOOK_SECONDS = 0.5


@click.command()
@click.argument("image", required=False)
@click.option("--rebuild", "rebuild_id", type=click.IntRange(1, 2**31 - 1), metavar="ID",
              help="That rebuild instead of an image's last build.")
@click.option("--attempt", type=click.IntRange(1, 2**31 - 1), metavar="N",
              help="With --rebuild: its first attempt is 1; default: its last.")
@click.option("--test", is_flag=True, help="What the test of the new image printed, instead of its build.")
@click.option("--follow", "-f", is_flag=True, help="Follow the log until the build ends.")
@server_option
@click.pass_obj
def log(
    context: Context, image: str | None, rebuild_id: int | None, attempt: int | None, test: bool, follow: bool,
    server: str | None,
) -> None:
    """The log of an image's last build, of its test, or of any attempt of a rebuild; also while it runs."""
    if (image is None) == (rebuild_id is None):
        raise RequestError("log: name an image, or a rebuild with --rebuild ID")
    if attempt is not None and rebuild_id is None:
        raise RequestError("--attempt: is one of a rebuild: add --rebuild ID")
    with source(context, server) as client:
        if rebuild_id is not None:
            _print(partial(client.rebuild_log, rebuild_id, attempt, test=test), f"rebuild {rebuild_id}", follow)
        elif image is not None:
            _print(partial(client.log, image, test=test), image, follow)


def _print(read: Callable[[int], LogChunk], what: str, follow: bool) -> None:
    offset, last = 0, not follow
    while True:
        part = read(offset)
        if not (part.built or follow):
            raise RequestError(f"{what} has not been built by rebuilder yet")
        click.echo(log_text(part.text), nl=False)
        offset = part.next
        if part.text:
            continue  # there may be more of it already
        if last:
            if not offset:
                click.echo(f"note: {what}: the log is empty, or its builder keeps none that can be read", err=True)
            return
        last = part.built and not part.live  # its last lines may be on their way
        time.sleep(LOOK_SECONDS)
