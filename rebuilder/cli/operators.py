"""What operators decide. It goes through the database, whether the engine runs or not."""

from __future__ import annotations

import getpass
import re
import time
from datetime import UTC, datetime

import click

from rebuilder.cli.context import Context
from rebuilder.cli.output import when
from rebuilder.domain.errors import RequestError
from rebuilder.store import actions, holds, waves
from rebuilder.store.actions import Verb
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
    end = moment(until, now) if until else None
    with context.engine.begin() as connection:
        holds.hold(connection, image, who, reason, end, now)
    click.echo(f"{image} is held{f' until {when(end)}' if end else ''}")


@click.command()
@click.argument("image")
@who_option
@reason_option
@click.pass_obj
def release(context: Context, image: str, who: str, reason: str) -> None:
    """Let an image that is on hold be built again."""
    with context.engine.begin() as connection:
        was = holds.release(connection, image, who, reason, time.time())
    click.echo(f"{image} is released" if was else f"{image} was not held")


@click.command()
@click.argument("wave_id", metavar="WAVE", type=int)
@who_option
@reason_option
@click.pass_obj
def approve(context: Context, wave_id: int, who: str, reason: str) -> None:
    """Let a wave begin that a rule of the policy keeps waiting."""
    now = time.time()
    with context.engine.begin() as connection:
        found = waves.find(connection, wave_id)
        if found is None:
            raise RequestError(f"there is no wave {wave_id}")
        done = waves.approve(connection, wave_id, who, now)
        if done:
            actions.record(connection, "approve", str(wave_id), who, reason, now)
    click.echo(f"wave {wave_id} is approved" if done else f"wave {wave_id} needs no approval: it is {found.state}")


@click.command()
@who_option
@reason_option
@click.pass_obj
def pause(context: Context, who: str, reason: str) -> None:
    """Start no builds until `resume`. Messages are taken in and planned, and builds that run go on."""
    with context.engine.begin() as connection:
        new = holds.pause(connection, who, reason, time.time())
        by = holds.paused(connection)
    click.echo("paused: no builds are started" if new else f"paused already, by {by}")


@click.command()
@who_option
@reason_option
@click.pass_obj
def resume(context: Context, who: str, reason: str) -> None:
    """Start builds again."""
    with context.engine.begin() as connection:
        was = holds.resume(connection, who, reason, time.time())
    click.echo("builds are started again" if was else "it was not paused")


@click.command()
@click.argument("target", metavar="IMAGE|WAVE")
@who_option
@reason_option
@click.pass_obj
def retry(context: Context, target: str, who: str, reason: str) -> None:
    """Build again what failed or was canceled, and then what it blocked: an image's last rebuild, or all of a wave."""
    _ask(context, Verb.RETRY, target, who, reason)


@click.command()
@click.argument("target", metavar="IMAGE|WAVE")
@who_option
@reason_option
@click.pass_obj
def cancel(context: Context, target: str, who: str, reason: str) -> None:
    """Stop the rebuilds of an image or of a wave, also at the builder. What waits for them is blocked."""
    _ask(context, Verb.CANCEL, target, who, reason)


@click.command()
@click.argument("image")
@click.option("--with-descendants", is_flag=True, help="And then every image that is built on it.")
@who_option
@reason_option
@click.pass_obj
def rebuild(context: Context, image: str, with_descendants: bool, who: str, reason: str) -> None:
    """Rebuild an image, whether an update asks for it or not."""
    if image.isdigit():
        raise RequestError(f"{image} is no image; `retry {image}` builds again what failed in wave {image}")
    _ask(context, Verb.REBUILD_ALL if with_descendants else Verb.REBUILD, image, who, reason)


def _ask(context: Context, verb: Verb, target: str, who: str, reason: str) -> None:
    """Ask the engine, and say what it answers. Raises RequestError for an unknown image or wave."""
    with context.engine.begin() as connection:
        if not (target.isascii() and target.isdigit()):
            holds.image_id(connection, target)
        elif waves.find(connection, int(target)) is None:
            raise RequestError(f"there is no wave {target}")
        asked = actions.request(connection, verb, target, who, reason, time.time())
    until = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < until:
        with reading(context.engine) as connection:
            answer = actions.answer(connection, asked)
        if answer is not None:
            click.echo(answer)
            return
        time.sleep(LOOK_SECONDS)
    click.echo("asked for; the engine does it in its next pass (does it run?)")


VERBS: tuple[click.Command, ...] = (hold, release, approve, pause, resume, retry, cancel, rebuild)
