"""`log`: what a build says."""

from __future__ import annotations

import time

import click

from rebuilder.cli.context import Context
from rebuilder.domain.errors import RequestError
from rebuilder.domain.lifecycle import LIVE
from rebuilder.engine import workshop
from rebuilder.store import inventory, rebuilds
from rebuilder.store.database import reading

LOOK_SECONDS = 0.5


@click.command()
@click.argument("image")
@click.option("--follow", "-f", is_flag=True, help="Go on until the build ends.")
@click.pass_obj
def log(context: Context, image: str, follow: bool) -> None:
    """The log of an image's last build, also while it runs."""
    builder = workshop.builder_for(context.engine, context.settings)
    offset, last = 0, not follow
    while True:
        with reading(context.engine) as connection:
            inventory.load(connection).image(image)
            entry = rebuilds.latest_of_image(connection, image)
        if entry is None or not (entry.ref or follow):
            raise RequestError(f"{image} has not been built by rebuilder yet")
        for part in builder.log(entry.ref, offset) if entry.ref else ():
            click.echo(part, nl=False)
            offset += len(part)
        if last:
            return
        last = entry.state not in LIVE  # its last lines may be on their way
        time.sleep(LOOK_SECONDS)


VERBS: tuple[click.Command, ...] = (log,)
