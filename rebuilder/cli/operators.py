"""What operators decide. It goes through the database, whether the engine runs or not."""

from __future__ import annotations

import getpass
import re
import time
from datetime import UTC, datetime

import click

from rebuilder.cli.context import Context
from rebuilder.cli.terminal import printable
from rebuilder.domain.errors import RequestError
from rebuilder.engine import commands
from rebuilder.engine.commands import Command
from rebuilder.store import actions, lease
from rebuilder.store.database import reading

ANSWER_SECONDS, LOOK_SECONDS = 3.0, 0.1
UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

who_option = click.option("--who", default=getpass.getuser, help="Who decides this; default: the user.")
reason_option = click.option("--reason", default="", help="Why; people will read it.")


def moment(text: str, now: float) -> float:
    """`2h`, `3d` from now, or a date and time (UTC unless it says otherwise). Raises RequestError."""
    if found := re.fullmatch(r"(\d{1,6})([mhdw])", text):
        return now + int(found[1]) * UNITS[found[2]]
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise RequestError(f"{text!r} is no moment: say 2h, 3d, or 2026-01-31T12:00") from None
    seconds = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    if seconds <= now:
        raise RequestError(f"{text} is over")
    return seconds


@click.command()
@click.argument("image")
@click.option("--until", metavar="TIME", help="When the hold ends by itself: 2h, 3d, or a date. Default: never.")
@who_option
@reason_option
@click.pass_obj
def hold(context: Context, image: str, until: str | None, who: str, reason: str) -> None:
    """Do not build an image until it is released. A build that runs is not stopped."""
    now = time.time()
    _order(context, Command("hold", image, who, reason, moment(until, now) if until else None))


@click.command()
@click.argument("image")
@who_option
@reason_option
@click.pass_obj
def release(context: Context, image: str, who: str, reason: str) -> None:
    """Let an image that is on hold be built again."""
    _order(context, Command("release", image, who, reason))


@click.command()
@click.argument("wave_id", metavar="WAVE", type=int)
@who_option
@reason_option
@click.pass_obj
def approve(context: Context, wave_id: int, who: str, reason: str) -> None:
    """Let a wave begin that a rule of the policy keeps waiting."""
    _order(context, Command("approve", str(wave_id), who, reason))


@click.command()
@who_option
@reason_option
@click.pass_obj
def pause(context: Context, who: str, reason: str) -> None:
    """Start no builds until `resume`. Messages are taken in and planned, and builds that run go on."""
    _order(context, Command("pause", "", who, reason))


@click.command()
@who_option
@reason_option
@click.pass_obj
def resume(context: Context, who: str, reason: str) -> None:
    """Start builds again."""
    _order(context, Command("resume", "", who, reason))


@click.command()
@click.argument("target", metavar="IMAGE|WAVE")
@who_option
@reason_option
@click.pass_obj
def retry(context: Context, target: str, who: str, reason: str) -> None:
    """Build again what failed or was canceled, and then what it blocked: an image's last rebuild, or all of a wave."""
    _order(context, Command("retry", target, who, reason))


@click.command()
@click.argument("target", metavar="IMAGE|WAVE")
@who_option
@reason_option
@click.pass_obj
def cancel(context: Context, target: str, who: str, reason: str) -> None:
    """Stop the rebuilds of an image or of a wave, also at the builder. What waits for them is blocked."""
    _order(context, Command("cancel", target, who, reason))


@click.command()
@click.argument("image")
@click.option("--with-descendants", is_flag=True, help="And then every image that is built on it.")
@who_option
@reason_option
@click.pass_obj
def rebuild(context: Context, image: str, with_descendants: bool, who: str, reason: str) -> None:
    """Rebuild an image, whether an update asks for it or not."""
    _order(context, Command("rebuild", image, who, reason, with_descendants=with_descendants))


def _order(context: Context, order: Command) -> None:
    """Give the order, and say what came of it; what only the engine can do is waited for a little, if one runs."""
    with context.stored.begin() as connection:
        given = commands.give(connection, order, time.time())
    answer = given.answer
    if answer is None:
        answer = _answer_of_engine(context, given.id)
    click.echo(printable(answer))


def _answer_of_engine(context: Context, command_id: int) -> str:
    until = time.monotonic() + ANSWER_SECONDS
    while True:
        with reading(context.stored) as connection:
            answer, runs = actions.answer(connection, command_id), bool(lease.read(connection).owner)
        if answer is not None:
            return answer
        if not runs:
            return "queued; no engine is running: start `rebuilder run`"
        if time.monotonic() > until:
            return "queued; the engine takes it up in its next pass"
        time.sleep(LOOK_SECONDS)
