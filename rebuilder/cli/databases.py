"""`config` and `db`."""

from __future__ import annotations

import click

from rebuilder.cli.context import Context
from rebuilder.cli.output import as_json
from rebuilder.config import configuration_file
from rebuilder.engine import workshop
from rebuilder.store import database


@click.group()
def config() -> None:
    """The configuration."""


@config.command()
@click.option("--json", "json_", is_flag=True, help="All settings, defaults included, as JSON.")
@click.pass_obj
def check(context: Context, json_: bool) -> None:
    """Read the configuration and say whether it is good, and has all that the builder needs."""
    settings = context.settings
    workshop.check(settings)
    if json_:
        as_json(settings.model_dump(mode="json"))
        return
    origin = configuration_file(context.path) or "no file, defaults alone"
    click.echo(f"good: {origin}: builder {settings.builder}, database {database.shown(settings.database)}")


@click.group()
def db() -> None:
    """The database."""


@db.command()
@click.pass_obj
def upgrade(context: Context) -> None:
    """Bring the database's tables to this version."""
    engine = database.open_database(context.settings.database)
    before = database.revision(engine)
    database.upgrade(engine)
    after = database.revision(engine)
    click.echo(f"{database.where(engine)}: {f'already at {after}' if before == after else f'now at {after}'}")
