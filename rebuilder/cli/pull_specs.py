"""`images`: what to pull."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import click
import yaml

from rebuilder.cli.client import server_option, source
from rebuilder.cli.context import Context
from rebuilder.cli.output import as_json, print_line
from rebuilder.cli.terminal import one_line
from rebuilder.domain.deployment import Deployable, as_compose, as_kustomize
from rebuilder.domain.errors import UnknownError
from rebuilder.domain.naming import no_image_fits
from rebuilder.domain.policy import Pattern
from rebuilder.domain.wording import few
from rebuilder.queries.pull_specs import PullSpecs

SHOWN = 5
WRITTEN: Mapping[str, Callable[[Iterable[Deployable]], Mapping[str, object]]] = {
    "compose": as_compose, "kustomize": as_kustomize,
}  # fmt: skip


@click.command()
@click.argument("images", metavar="[IMAGE]...", nargs=-1)
@click.option("--stream", default="", metavar="STREAM", help="Only the images of this stream.")
@click.option("--format", "format_", type=click.Choice(["text", "json", *WRITTEN]), default="text", show_default=True,
              help="compose is a file to merge with a Compose file; kustomize is a component, which sets digests.")
@click.option("--json", "json_", is_flag=True, help="The same as --format json.")
@server_option
@click.pass_obj
def images(
    context: Context, images: tuple[str, ...], stream: str, format_: str, json_: bool, server: str | None
) -> int:
    """What to pull: the images by digest, each as its floating tags point to it, so that a deployment can follow.

    IMAGE is a name, name:stream or a pattern; without any, all are meant. Exit status 1 where an image is in no
    registry.
    """
    with source(context, server) as client:
        available = client.pull_specs(stream)
        if not available:
            raise UnknownError(f"no image is in the stream {stream}" if stream else "there are no images")
        chosen = _chosen(available, images)
        if json_ or format_ == "json":
            as_json(chosen)
        elif format_ == "text":
            _print(chosen)
        else:
            written = WRITTEN[format_](Deployable(one.image, one.pull_specs) for one in chosen)
            click.echo(yaml.safe_dump(written, sort_keys=False), nl=False)
        return _told_missing(chosen)


def _chosen(available: Sequence[PullSpecs], named: Sequence[str]) -> Sequence[PullSpecs]:
    """Those that are named. Raises UnknownError for a name that fits none."""
    if not named:
        return available
    chosen: set[str] = set()
    for text in named:
        fitting = {one.image for one in available if Pattern.parse(text).fits_image(one.image)}
        if not fitting:
            raise UnknownError(no_image_fits(text, [one.image for one in available]))
        chosen |= fitting
    return [one for one in available if one.image in chosen]


def _print(entries: Sequence[PullSpecs]) -> None:
    """A line for each pull spec, for people and for `while read image spec`."""
    for one in entries:
        for spec in one.pull_specs:
            print_line(f"{one.image} {spec}")


def _told_missing(entries: Sequence[PullSpecs]) -> int:
    """Say on standard error of which images nothing can be pulled; the exit status."""
    missing = [one.image for one in entries if not one.pull_specs]
    if missing:
        names = few(missing, SHOWN)
        click.echo(f"rebuilder: nothing to pull, as no build of it is in a registry: {one_line(names)}", err=True)
    return int(bool(missing))
