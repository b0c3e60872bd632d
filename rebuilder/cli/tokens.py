"""`token`: who may change things over HTTP."""

from __future__ import annotations

import time

import click

from rebuilder.cli.context import Context
from rebuilder.cli.output import as_json, say, table, when
from rebuilder.engine.commands import COMMANDS
from rebuilder.store import tokens
from rebuilder.store.database import reading


@click.group()
def token() -> None:
    """Tokens: who may change things over HTTP."""


@token.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice([*COMMANDS, tokens.ALL]),
              help="What may be ordered with it. May be given several times.")
@click.pass_obj
def add(context: Context, name: str, scopes: tuple[str, ...]) -> None:
    """Make a token and print it, this once: only its SHA-256 is kept. What is done with it is done in NAME."""
    with context.engine.begin() as connection:
        made = tokens.add(connection, name, scopes, time.time())
    click.echo(made)


@token.command("list")
@click.option("--json", "json_", is_flag=True)
@click.pass_obj
def list_(context: Context, json_: bool) -> None:
    """All tokens, without their secrets."""
    with reading(context.engine) as connection:
        found = tokens.listing(connection)
    if json_:
        as_json([{"name": t.name, "scopes": list(t.scopes), "created": when(t.created_at)} for t in found])
    else:
        table(("name", "scopes", "made"), [(t.name, ", ".join(t.scopes), when(t.created_at)) for t in found])


@token.command()
@click.argument("name")
@click.pass_obj
def revoke(context: Context, name: str) -> None:
    """Make a token useless, at once."""
    with context.engine.begin() as connection:
        tokens.revoke(connection, name)
    say(f"{name} is revoked")
