"""`inventory`."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from rebuilder.cli import externals, sbom
from rebuilder.cli.context import Context, whoami
from rebuilder.cli.output import as_json, json_option, print_line, progress, styled, table
from rebuilder.cli.terminal import one_line
from rebuilder.domain.deployment import by_digest
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Care, ImageBuild, Inventory
from rebuilder.domain.naming import meant
from rebuilder.domain.times import format_duration
from rebuilder.engine import external_parents, inventory_sync
from rebuilder.engine.external_parents import Refreshed
from rebuilder.inventory import document_writer
from rebuilder.queries import image_state
from rebuilder.store import inventory as store
from rebuilder.store.database import reading
from rebuilder.store.externals import images_on as parents_outside
from rebuilder.store.sync import SyncResult

LISTED = 20  # changes of one kind that are listed
NO_BUILD: Mapping[str, object] = {
    "build": None, "digest": "", "tags": [], "pull_specs": [], "externals": {}, "rpms": None,
}  # fmt: skip


@click.group()
def inventory() -> None:
    """The images, what they are built on, and what is in them."""


inventory.add_command(sbom.sbom)


@inventory.command()
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--reset", multiple=True, metavar="IMAGE",
              help="Take what the document says of this image, although a rebuild recorded something else.")
@json_option
@click.pass_obj
def sync(context: Context, dry_run: bool, reset: tuple[str, ...], json_: bool) -> int:
    """Read the images from their source. One that cannot be read keeps its last known state; exit status 1.

    What a document says of an image that was rebuilt since is old: it counts only with a `built` time that is later.
    """
    with progress("reading the images") as advance:
        who = whoami()
        result = inventory_sync.sync(context.engine, context.settings, who, advance, reset=reset, rehearsing=dry_run)
    with progress("asking registries for external parents"):
        refreshed = Refreshed() if dry_run else external_parents.refresh(context.engine, context.settings, who)
    lists = {name: getattr(result, name) for name in ("added", "changed", "removed", "rebuilt", "overruled")}
    if json_:
        unread = [{"image": fault.image, "reason": fault.told} for fault in result.faults]
        as_json({**{name: list(keys) for name, keys in lists.items()}, "unchanged": result.unchanged, "unread": unread,
                 "externals": {"asked": refreshed.asked, "new": list(refreshed.moved),
                               "unreachable": list(refreshed.troubles)}})
    else:
        _print_changes(lists)
        counts = ", ".join(f"{len(keys)} {name}" for name, keys in lists.items() if keys or name != "overruled")
        click.echo(f"{'would be: ' if dry_run else ''}{counts}, {result.unchanged} unchanged")
        externals.told(refreshed)
        _print_notes(result)
    return int(bool(result.faults))


def _print_changes(lists: Mapping[str, Sequence[str]]) -> None:
    for name, keys in lists.items():
        for key in keys[:LISTED]:
            print_line(f"{name}: {key}")
        if len(keys) > LISTED:
            click.echo(f"{name}: and {len(keys) - LISTED} more")


def _print_notes(result: SyncResult) -> None:
    """On standard error: hints, and what could not be read."""
    if result.overruled:
        click.echo("note: overruled images keep the builds that rebuilds made: what the document says of them is older "
                   "(write when they were `built`, or insist with --reset IMAGE)", err=True)
    for hint in result.hints:
        click.echo(f"note: {one_line(hint)}", err=True)
    for fault in result.faults:
        click.echo(f"rebuilder: {one_line(fault.told)}", err=True)
    if result.faults:
        summary = f"{len(result.faults)} images cannot be read and keep their last known state; fix the files above"
        click.echo(f"rebuilder: {summary}", err=True)


@inventory.command("list")
@click.option("--external", is_flag=True, help="The images of others that these are built on.")
@json_option
@click.pass_obj
def list_(context: Context, external: bool, json_: bool) -> None:
    """All images, and what each of them is: current, stale, unknown, held or waiting."""
    if external:
        externals.list_all(context, json_)
        return
    with reading(context.stored) as connection:
        graph, builds = store.load(connection), store.current_builds(connection)
        states = image_state.read(connection, context.settings, time.time())
    if json_:
        as_json([
            {"image": image.key, **image_state.written(states[image.key]),
             "parents": [str(parent) for parent in image.parents],
             "build": builds[image.key].ident if image.key in builds else None}
            for image in graph.images
        ])  # fmt: skip
        return
    table(("image", "state", "parents", "build"), [
        (image.key, styled(image_state.sentence(states[image.key]), states[image.key].state),
         ", ".join(map(str, image.parents)), builds[image.key].ident[:40] if image.key in builds else "none")
        for image in graph.images
    ])  # fmt: skip


@inventory.command()
@click.argument("image")
@json_option
@click.pass_obj
def show(context: Context, image: str, json_: bool) -> None:
    """One image: parents, children, current build and its RPMs; or an external parent, by its pull spec."""
    with reading(context.stored) as connection:
        graph = store.load(connection)
        outside = image not in graph and image in parents_outside(connection)
    if outside:
        externals.show(context, image, json_)
        return
    with reading(context.stored) as connection:
        image = meant(image, graph.keys)
        entry = graph.image(image)
        build = store.manifest_of(connection, image)
        state = image_state.read(connection, context.settings, time.time(), [image])[image]
    answer: dict[str, Any] = {
        "image": image,
        **image_state.written(state),
        "parents": [{"name": str(parent), "kind": str(parent.kind)} for parent in entry.parents],
        "children": list(graph.children(image)),
        "source": document_writer.source_written(entry.source),
        **(NO_BUILD if build is None else _of_build(build)),
    }
    if json_:
        as_json(answer)
    else:
        print_line("state: ", styled(image_state.sentence(state), state.state))
        _print_image(answer, entry.source.care)


def _of_build(build: ImageBuild) -> dict[str, object]:
    return {
        "build": build.ident,
        "digest": build.digest,
        "tags": list(build.tags),
        "pull_specs": list(by_digest(build.tags, build.digest)),
        "externals": {parent.spec: parent.at for parent in build.externals},
        "rpms": None if build.manifest is None else sorted(rpm.nevra for rpm in build.manifest.rpms),
    }


def _print_image(answer: Mapping[str, Any], care: Care) -> None:
    parents = [f"{parent['name']} ({parent['kind']})" for parent in answer["parents"]]
    for name, keys in (("parents", parents), ("children", answer["children"])):
        print_line(f"{name}: {', '.join(keys) or 'none'}")
    for name, value in _told_of(care):
        print_line(f"{name}: {value}")
    print_line(f"build: {answer['build'] or 'none'}")
    for name, value in (("digest", answer["digest"]), ("tags", ", ".join(answer["tags"])),
                        ("pull", ", ".join(answer["pull_specs"]))):
        if value:
            print_line(f"{name}: {value}")
    for external in answer["externals"].values():
        print_line(f"built on: {external}")
    _print_rpms(answer["rpms"])


def _print_rpms(rpms: Sequence[str] | None) -> None:
    click.echo("rpms: unknown" if rpms is None else f"rpms: {len(rpms)}")
    for nevra in rpms or ():
        print_line(f"  {nevra}")


def _told_of(care: Care) -> Iterator[tuple[str, str]]:
    """What is said of the image for those who look after it."""
    if care.owners:
        yield "owners", ", ".join(care.owners)
    if care.test or care.test_script:
        limit = f" (within {format_duration(care.test_timeout)})" if care.test_timeout else ""
        yield "test", (care.test_script or shlex.join(care.test)) + limit
    if care.gate:
        yield "gate", "each new build waits for somebody to say that it is good"
    if care.max_age:
        yield "too old after", format_duration(care.max_age)


@inventory.command()
@click.pass_obj
def export(context: Context) -> None:
    """Print the inventory as a document that `--inventory` and `source = "file"` take."""
    with reading(context.stored) as connection:
        graph = store.load(connection)
        if not len(graph):
            raise RequestError("the inventory is empty: run `rebuilder inventory sync` first")
        whole = Inventory(graph.images, store.streams(connection))
        click.echo(json.dumps(document_writer.written(whole, lambda key: store.manifest_of(connection, key)), indent=1))
