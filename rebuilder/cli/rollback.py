"""`rollback`: a bad build is taken back."""

from __future__ import annotations

import time

import click

from rebuilder.cli.context import Context
from rebuilder.cli.operators import answers_of_engine, reason_option, who_option
from rebuilder.cli.terminal import printable
from rebuilder.domain.command import Command
from rebuilder.domain.errors import RequestError
from rebuilder.engine import commands, rollbacks

PATIENCE = 60.0  # seconds in which registries have mostly answered


@click.command()
@click.argument("image", metavar="IMAGE")
@click.option("--to", "build", default="", metavar="BUILD",
              help="The build to go back to: NVR, image id, digest or tag; default: the last one that can be pulled.")
@click.option("--with-descendants", is_flag=True, help="Also roll back all that is built on the bad build.")
@who_option
@reason_option
@click.pass_obj
def rollback(context: Context, image: str, build: str, with_descendants: bool, who: str, reason: str) -> None:
    """Move an image's floating tags back to an earlier build, which is current again, and hold the image.

    The registry is asked first whether the build is still there. Images that are built on the bad build are listed.
    """
    command = Command("rollback", image, who, reason, with_descendants=with_descendants, build=build)
    with context.stored.begin() as connection:
        receipt = commands.give(connection, command, time.time())
    (answer,) = answers_of_engine(context, {image: receipt.id}, PATIENCE).values()
    if answer.startswith(rollbacks.REFUSED):
        raise RequestError(answer)
    click.echo(printable(answer))
