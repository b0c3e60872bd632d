"""`log`: what a build says."""

from __future__ import annotations

import time

import click

from rebuilder.cli.client import Source, server_option, source
from rebuilder.cli.context import Context
from rebuilder.cli.terminal import log_text
from rebuilder.domain.errors import RequestError

LOOK_SECONDS = 0.5


@click.command()
@click.argument("image")
@click.option("--follow", "-f", is_flag=True, help="Go on until the build ends.")
@server_option
@click.pass_obj
def log(context: Context, image: str, follow: bool, server: str | None) -> None:
    """The log of an image's last build, also while it runs."""
    with source(context, server) as asked:
        _print(asked, image, follow)


def _print(asked: Source, image: str, follow: bool) -> None:
    offset, last = 0, not follow
    while True:
        part = asked.log(image, offset)
        if not (part.built or follow):
            raise RequestError(f"{image} has not been built by rebuilder yet")
        click.echo(log_text(part.text), nl=False)
        offset = part.next
        if part.text:
            continue  # there may be more of it already
        if last:
            return
        last = part.built and not part.live  # its last lines may be on their way
        time.sleep(LOOK_SECONDS)
