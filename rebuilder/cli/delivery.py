"""What becomes of builds that are proven: whether they are good, and when the names that people pull move to them."""

from __future__ import annotations

from collections.abc import Sequence

import click

from rebuilder.cli.context import Context
from rebuilder.cli.operators import give, reason_option, targets_argument, who_option, yes_option
from rebuilder.domain.command import Command


@click.command()
@targets_argument
@yes_option
@who_option
@reason_option
@click.pass_obj
def promote(context: Context, named: Sequence[str], yes: bool, who: str, reason: str) -> int:
    """Move the names that people pull to new builds that are proven and tested, and wait for that.

    A wave's number means all of its images, a pattern those that it matches and that wait.
    """
    return give(context, [Command("promote", target, who, reason) for target in named], yes)


@click.command()
@click.argument("image", metavar="IMAGE")
@click.argument("answer", metavar="pass|fail", type=click.Choice(["pass", "fail"]))
@click.option("--build", default="", metavar="BUILD", help="The NVR or image id of the build that was tested.")
@yes_option
@who_option
@reason_option
@click.pass_obj
def gate(context: Context, image: str, answer: str, build: str, yes: bool, who: str, reason: str) -> int:
    """Answer the gate that an image's new build waits for: pass or fail."""
    return give(context, [Command("gate", image, who, reason, passed=answer == "pass", build=build)], yes)
