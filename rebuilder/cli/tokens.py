"""`token`: who may change things over HTTP."""

from __future__ import annotations

import time

import click

from rebuilder.cli.context import Context
from rebuilder.cli.output import as_json, json_option, print_line, table
from rebuilder.domain.command import COMMANDS, OF_IMAGES
from rebuilder.domain.errors import RequestError
from rebuilder.domain.scope import ALL, Scope
from rebuilder.domain.times import format_time
from rebuilder.store import tokens
from rebuilder.store.database import reading


def _checked(_context: click.Context, _option: click.Parameter, scopes: tuple[str, ...]) -> tuple[str, ...]:
    """The scopes as they are written. Raises BadParameter."""
    for text in scopes:
        try:
            scope = Scope.parse(text)
        except RequestError as error:
            raise click.BadParameter(f"{text!r}: {error}") from None
        if scope.order not in (*COMMANDS, ALL):
            raise click.BadParameter(f"{text!r}: the orders are {', '.join((*COMMANDS, ALL))}")
        if scope.images is not None and scope.order not in (*OF_IMAGES, ALL):
            raise click.BadParameter(f"{text!r}: {scope.order} is about no image: leave {scope.images.text!r} out")
    return scopes


@click.group()
def token() -> None:
    """Make, list and revoke tokens: who may change things over HTTP."""


@token.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, callback=_checked, metavar="ORDER[:IMAGES]",
              help="What may be ordered with it, and about which images: retry, retry:httpd*:f42, all, all:*:f42. "
                   "Can be repeated.")
@click.pass_obj
def add(context: Context, name: str, scopes: tuple[str, ...]) -> None:
    """Make a token and print it, this once: only its SHA-256 is kept. What is done with it is done in NAME."""
    with context.engine.begin() as connection:
        made = tokens.add(connection, name, scopes, time.time())
    click.echo(made)


@token.command("list")
@json_option
@click.pass_obj
def list_(context: Context, json_: bool) -> None:
    """All tokens, without their secrets."""
    with reading(context.stored) as connection:
        entries = tokens.listing(connection)
    if json_:
        as_json([{"name": t.name, "scopes": list(t.scopes), "created": format_time(t.created_at)} for t in entries])
    else:
        table(("name", "scopes", "made"), [(t.name, ", ".join(t.scopes), format_time(t.created_at)) for t in entries])


@token.command()
@click.argument("name")
@click.pass_obj
def revoke(context: Context, name: str) -> None:
    """Revoke a token, at once."""
    with context.stored.begin() as connection:
        tokens.revoke(connection, name)
    print_line(f"{name} is revoked")
