"""`db`."""

from __future__ import annotations

import time

import click

from rebuilder.cli.context import Context
from rebuilder.cli.output import as_json, json_option
from rebuilder.engine import pruning
from rebuilder.store import database


@click.group()
def db() -> None:
    """Upgrade the database, or prune it."""


@db.command()
@click.option("--to", default="head", metavar="VERSION", help="Of the tables, as 0008; default: the newest.")
@click.option("--sql", is_flag=True, help="Print the SQL for PostgreSQL, and change nothing.")
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
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing.")
@json_option
@click.pass_obj
def prune(context: Context, dry_run: bool, json_: bool) -> None:
    """Delete what is older than [consumer_config.retention] says; safe while everything runs.

    What is current stays, and each image's last rebuild; so does what is on hold or not announced yet.
    """
    work = pruning.rehearse if dry_run else pruning.prune
    gone = work(context.stored, context.settings, time.time())
    if json_:
        as_json({"dry_run": dry_run, "deleted": gone})
        return
    counts = ", ".join(f"{count} {name}" for name, count in gone.items() if count) or "nothing"
    click.echo(f"{'would delete' if dry_run else 'deleted'}: {counts}")
