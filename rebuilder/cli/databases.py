"""`config` and `db`."""

from __future__ import annotations

import time

import click

from rebuilder.cli.context import Context
from rebuilder.cli.output import as_json, say
from rebuilder.config import configuration_file
from rebuilder.engine import pruning, site_check, workshop
from rebuilder.store import database


@click.group()
def config() -> None:
    """The configuration."""


@config.command()
@click.option("--json", "json_", is_flag=True, help="All settings, defaults included, as JSON.")
@click.option("--online", is_flag=True, help="Ask Koji and OSBS, too: credentials, tags, targets. Changes nothing.")
@click.pass_obj
def check(context: Context, json_: bool, online: bool) -> int:
    """Read the configuration and say whether it is good, and has all that the builder needs."""
    settings = context.settings
    workshop.check(settings)
    if json_:
        as_json(settings.model_dump(mode="json"))
        return 0
    if online:
        found = list(site_check.online(settings))
        for finding in found:
            say(f"wrong: {finding.about}: {finding.fault}" if finding.fault else f"ok: {finding.about}")
        if any(finding.fault for finding in found):
            return 1
    origin = configuration_file(context.path) or "no file, defaults alone"
    click.echo(f"good: {origin}: builder {settings.builder}, database {database.shown(settings.database)}")
    return 0


@click.group()
def db() -> None:
    """The database."""


@db.command()
@click.option("--to", default="head", metavar="VERSION", help="An earlier version than the newest, as 0008.")
@click.option("--sql", is_flag=True, help="Print what PostgreSQL would be told, and change nothing.")
@click.pass_obj
def upgrade(context: Context, to: str, sql: bool) -> None:
    """Bring the database's tables to this version. Of several at once one works, and the others wait."""
    engine = database.open_database(context.settings.database)
    if sql:
        click.echo(database.upgrade_sql(engine, to), nl=False)
        return
    before, after = database.upgrade(engine, to)
    click.echo(f"{database.where(engine)}: {f'already at {after}' if before == after else f'now at {after}'}")


@db.command()
@click.option("--dry-run", is_flag=True, help="Say what would go, and delete nothing.")
@click.option("--json", "json_", is_flag=True)
@click.pass_obj
def prune(context: Context, dry_run: bool, json_: bool) -> None:
    """Delete what is older than [consumer_config.retention] says; safe while everything runs.

    What is current stays, and each image's last rebuild; so does what is on hold or not announced yet.
    """
    work = pruning.rehearse if dry_run else pruning.prune
    gone = work(context.engine, context.settings, time.time())
    if json_:
        as_json({"dry_run": dry_run, "deleted": gone})
        return
    told = ", ".join(f"{count} {name}" for name, count in gone.items() if count) or "nothing"
    click.echo(f"{'would delete' if dry_run else 'deleted'}: {told}")
