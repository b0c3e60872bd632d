"""What operators decide. It goes through the database, whether the engine runs or not."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import click
from msgspec.structs import replace
from sqlalchemy import Connection

from rebuilder.cli.context import Context, whoami
from rebuilder.cli.follow import follow, wait_option
from rebuilder.cli.output import as_json, table
from rebuilder.cli.targets import confirm
from rebuilder.cli.terminal import printable
from rebuilder.domain.command import Command
from rebuilder.domain.errors import RequestError
from rebuilder.domain.times import format_time
from rebuilder.engine import commands, targets
from rebuilder.engine.commands import CommandReceipt
from rebuilder.queries import records
from rebuilder.store import actions, installed_packages, lease, rebuilds
from rebuilder.store.database import reading

ANSWER_SECONDS, LOOK_SECONDS = 3.0, 0.1
NO_ENGINE = "no engine is running: start `rebuilder run`"
UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

who_option = click.option("--who", default=whoami, help="Who decides this; default: the user.")
reason_option = click.option("--reason", default="", help="Why; people will read it.")
until_option = click.option("--until", metavar="TIME", help="When that ends by itself: 2h, 3d, a date; else never.")
yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask to confirm, also for several images or waves.")
images_argument = click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
targets_argument = click.argument("named", metavar="IMAGE|WAVE...", nargs=-1, required=True)


def moment(text: str, now: float) -> float:
    """`2h`, `3d` from now, or a date and time (UTC unless it says otherwise), as seconds since the epoch.

    Raises RequestError for anything else, and for what is over.
    """
    if match := re.fullmatch(r"(\d{1,6})([mhdw])", text):
        return now + int(match[1]) * UNITS[match[2]]
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        hint = "use 2h, 3d or an ISO 8601 date such as 2026-01-31T12:00"
        raise RequestError(f"{text!r} is not a valid time: {hint}") from None
    seconds = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    if seconds <= now:
        raise RequestError(f"{text} is in the past: give a time in the future")
    return seconds


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1)
@click.option("--list", "list_", is_flag=True, help="Say what is on hold, by whom, since when, until when and why.")
@click.option("--json", "json_", is_flag=True, help="The list as JSON.")
@until_option
@yes_option
@who_option
@reason_option
@click.pass_obj
def hold(
    context: Context, images: Sequence[str], list_: bool, json_: bool, until: str | None, yes: bool, who: str,
    reason: str,
) -> None:
    """Do not build images until they are released. A build that runs is not stopped."""
    if list_ == bool(images) or (json_ and not list_):
        raise RequestError("name images to hold, or give --list (with --json, where wanted)")
    if list_:
        _list_holds(context, json_)
        return
    ends = _ends(until)
    give(context, [Command("hold", image, who, reason, ends) for image in images], yes)


def _list_holds(context: Context, json_: bool) -> None:
    with reading(context.stored) as connection:
        held = records.held(connection, time.time())
    if json_:
        as_json(held)
    elif held:
        rows = [
            (one.image, one.who, format_time(one.since), format_time(one.until) or "released", one.reason)
            for one in held
        ]
        table(("image", "held by", "since", "until", "reason"), rows)
    else:
        click.echo("no image is on hold")


@click.command()
@images_argument
@yes_option
@who_option
@reason_option
@click.pass_obj
def release(context: Context, images: Sequence[str], yes: bool, who: str, reason: str) -> None:
    """Release images from hold, so that they are built again. A pattern means the held images that it matches."""
    give(context, [Command("release", image, who, reason) for image in images], yes)


@click.command()
@click.argument("waves", metavar="WAVE...", type=int, nargs=-1, required=True)
@wait_option
@yes_option
@who_option
@reason_option
@click.pass_obj
def approve(context: Context, waves: Sequence[int], wait: bool, yes: bool, who: str, reason: str) -> int:
    """Approve waves that a rule of the policy holds back."""
    return give(context, [Command("approve", str(wave), who, reason) for wave in waves], yes, wait)


@click.command()
@until_option
@who_option
@reason_option
@click.pass_obj
def pause(context: Context, until: str | None, who: str, reason: str) -> None:
    """Start no builds until `resume`. Messages are taken in and planned, and builds that run go on."""
    give(context, [Command("pause", "", who, reason, _ends(until))])


@click.command()
@who_option
@reason_option
@click.pass_obj
def resume(context: Context, who: str, reason: str) -> None:
    """Start builds again."""
    give(context, [Command("resume", "", who, reason)])


@click.command()
@targets_argument
@wait_option
@yes_option
@who_option
@reason_option
@click.pass_obj
def retry(context: Context, named: Sequence[str], wait: bool, yes: bool, who: str, reason: str) -> int:
    """Build again what failed or was canceled, and then what it blocked: images' last rebuilds, or all of waves.

    A pattern means the images that it matches and whose last rebuilds failed, were canceled or are blocked.
    """
    return give(context, [Command("retry", target, who, reason) for target in named], yes, wait)


@click.command()
@targets_argument
@yes_option
@who_option
@reason_option
@click.pass_obj
def cancel(context: Context, named: Sequence[str], yes: bool, who: str, reason: str) -> None:
    """Stop the rebuilds of images or of waves, also at the builder. What waits for them is blocked."""
    give(context, [Command("cancel", target, who, reason) for target in named], yes)


@click.command()
@click.argument("images", metavar="IMAGE...", nargs=-1)
@click.option("--with-descendants", is_flag=True, help="Also rebuild every image that is built on them.")
@click.option("--unknown", is_flag=True,
              help="Instead of named images: all that were never built, or whose contents are unknown.")
@wait_option
@yes_option
@who_option
@reason_option
@click.pass_obj
def rebuild(
    context: Context, images: Sequence[str], with_descendants: bool, unknown: bool, wait: bool, yes: bool, who: str,
    reason: str,
) -> int:
    """Rebuild images, whether an update asks for it or not; all in one wave. With --unknown, make all first builds."""
    if unknown == bool(images):
        raise RequestError("name images, or give --unknown for all whose contents are unknown")
    if unknown and not (images := _unknown(context)):
        click.echo("nothing to rebuild: the contents of every image are known")
        return 0
    given = [Command("rebuild", image, who, reason, with_descendants=with_descendants) for image in images]
    return give(context, given, yes, wait)


def _unknown(context: Context) -> list[str]:
    with reading(context.stored) as connection:
        return sorted(installed_packages.unread(connection))


def _ends(until: str | None) -> float | None:
    return moment(until, time.time()) if until else None


def give(context: Context, given: Sequence[Command], yes: bool = True, wait: bool = False) -> int:
    """Give the commands, all or none, and say what came of them.

    What only the engine can do is waited for a little, if one runs. Where they are about several images or waves,
    these are shown, and the user is asked.
    """
    verb = given[0].verb
    with reading(context.stored) as connection:
        chosen = targets.resolved(connection, verb, [command.target for command in given], time.time())
    confirm(verb, chosen, yes)
    with context.stored.begin() as connection:
        receipts = {
            target: commands.give(connection, replace(given[0], target=target), time.time()) for target in chosen
        }
    answers = _answers(context, receipts)
    for answer in dict.fromkeys(answers[target] for target in chosen):
        click.echo(printable(answer))
    numbers = {target: receipt.id for target, receipt in receipts.items()}
    return follow(context, lambda connection: _waves(connection, numbers)) if wait else 0


def _answers(context: Context, receipts: Mapping[str, CommandReceipt]) -> dict[str, str]:
    """What came of each of these, by its target."""
    answers = {target: receipt.answer for target, receipt in receipts.items() if receipt.answer is not None}
    pending = {target: receipt.id for target, receipt in receipts.items() if receipt.answer is None}
    return answers | (answers_of_engine(context, pending) if pending else {})


def _waves(connection: Connection, ids: Mapping[str, int]) -> set[int] | None:
    """The waves that these commands are about, by target; None until the engine has carried all of them out."""
    if any(actions.answer(connection, number) is None for number in ids.values()):
        return None
    numbers = {int(target) for target in ids if target.isdigit()}
    newest = rebuilds.newest_waves(connection, [target for target in ids if not target.isdigit()])
    return numbers | newest


def answers_of_engine(context: Context, ids: Mapping[str, int], patience: float = ANSWER_SECONDS) -> dict[str, str]:
    """What the engine answered to each of these; that it has not, where none runs or it takes long (seconds)."""
    until = time.monotonic() + patience
    while True:
        with reading(context.stored) as connection:
            answers = {target: actions.answer(connection, number) for target, number in ids.items()}
            runs = bool(lease.read(connection).owner)
        late = runs and time.monotonic() >= until
        if None not in answers.values() or not runs or late:
            break
        time.sleep(LOOK_SECONDS)
    pending = f"queued; {'the engine takes it up in its next pass' if runs else NO_ENGINE}"
    return {target: pending if answer is None else answer for target, answer in answers.items()}
