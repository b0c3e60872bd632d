"""`inventory sbom`."""

from __future__ import annotations

import click

from rebuilder.cli.context import Context
from rebuilder.domain.errors import RequestError
from rebuilder.domain.naming import meant
from rebuilder.sbom.documents import Format, document
from rebuilder.store import contents
from rebuilder.store import inventory as store
from rebuilder.store.database import reading


@click.command()
@click.argument("image")
@click.option("--format", "form", type=click.Choice([str(form) for form in Format]), default=str(Format.CYCLONEDX),
              show_default=True, help="CycloneDX 1.6 or SPDX 2.3, as JSON.")
@click.pass_obj
def sbom(context: Context, image: str, form: str) -> None:
    """The bill of materials of an image's current build: its RPMs with their package URLs. Needs the extra `sbom`."""
    with reading(context.stored) as connection:
        image = meant(image, store.load(connection).keys)
        listing = contents.current(connection, image)
    if listing is None:
        raise RequestError(f"{image}: its contents are unknown: it has no build, or its RPM database is unreadable")
    click.echo(document(listing, Format(form)))
