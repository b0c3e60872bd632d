"""`graph`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import click
from rich.text import Text
from rich.tree import Tree

from rebuilder.cli.client import server_option, source
from rebuilder.cli.context import Context
from rebuilder.cli.output import as_json, bold, console, sanitize
from rebuilder.cli.plans import document_in, draft_of, update_options
from rebuilder.domain import graph_export, graph_svg
from rebuilder.domain.change import Severity
from rebuilder.domain.errors import RequestError
from rebuilder.domain.graph import Graph
from rebuilder.domain.image_name import name_of
from rebuilder.engine.plan_preview import AskedUpdates
from rebuilder.queries import graph_view
from rebuilder.queries.graph_view import GraphRequest

GUIDE = 4
DEEPEST = 40


@click.command()
@click.option("--format", "format_", type=click.Choice(["text", "json", "dot", "svg"]), default="text",
              show_default=True, help="dot is Graphviz's language.")
@click.option("--json", "json_", is_flag=True, help="The same as --format json.")
@click.option("--image", metavar="NAME:STREAM", help="Only this image, all it is built on, and all built on it.")
@click.option("--wave", "wave_id", type=int, metavar="ID", help="The images of a wave, with their rebuilds' states.")
@update_options(required=False)
@click.option("--inventory", "document", type=click.Path(path_type=Path), metavar="FILE",
              help="Draw this inventory document instead of the database.")
@server_option
@click.pass_obj
def graph(
    context: Context,
    format_: str,
    json_: bool,
    image: str | None,
    wave_id: int | None,
    updates: tuple[str, ...],
    stream: str | None,
    severity: str,
    document: Path | None,
    server: str | None,
) -> None:
    """The images and what they are built on: a tree, a drawing, or JSON. Changes nothing.

    With --wave or --update only the images that these are about, each with its state; with --image too, that one's
    whole family.
    """
    request = GraphRequest(image, wave_id, AskedUpdates(updates, stream, Severity(severity)))
    _check(request, document, server)
    format_ = "json" if json_ else format_
    if document is not None:
        _print(_of_document(context, request, document), format_, image)
        return
    with source(context, server) as answering:
        _print(answering.graph(request), format_, image)


def _check(request: GraphRequest, document: Path | None, server: str | None) -> None:
    """Raises RequestError for options that cannot be combined."""
    if request.wave is not None and (request.updates or document is not None):
        raise RequestError("--wave cannot be combined with --update or --inventory")
    if document is not None and server is not None:
        raise RequestError("--server cannot be combined with --inventory")
    if request.updates.is_incomplete:
        raise RequestError("--stream and --severity need --update")


def _print(view: graph_view.GraphView, format_: str, image: str | None) -> None:
    if format_ == "json":
        as_json(view.document)
    elif format_ == "text":
        _show(view.layers, view.keys, view.states, image)
    else:
        write = graph_export.as_dot if format_ == "dot" else graph_svg.of_layers
        click.echo(write(view.layers, view.keys, view.states), nl=False)


def _of_document(context: Context, request: GraphRequest, path: Path) -> graph_view.GraphView:
    document = document_in(path)
    if not request.updates:
        return graph_view.view(document.graph, {}, request)
    drafted = draft_of(document, request.updates, context.settings)
    return graph_view.view(document.graph, graph_view.of_plan(drafted.plan), request)


def _show(layers: Graph, keys: Collection[str], states: Mapping[str, str], image: str | None) -> None:
    """The tree: at most half of a terminal is indentation; in a pipe every image has one whole line.

    The image that was asked about stands out.
    """
    if not keys:
        click.echo("no images")
        return
    screen = console()
    deepest = min(DEEPEST, screen.width // 2 // GUIDE) if screen.is_terminal else DEEPEST
    root = Tree("", hide_root=True)
    nodes: dict[str, Tree] = {}
    widest = 0
    for line in graph_export.lines(layers, keys, deepest):
        label = _label(line, states.get(line.image, ""), image in (line.image, name_of(line.image)))
        widest = max(widest, label.cell_len)
        nodes[line.image] = nodes.get(line.under, root).add(label)
    if not screen.is_terminal:
        screen.width = max(screen.width, widest + GUIDE * deepest)
    screen.print(root)


def _label(line: graph_export.Line, state: str, highlighted: bool) -> Text:
    label = bold(line.image) if highlighted else sanitize(line.image)
    if state:
        label.append(" ").append_text(sanitize(state))
    if line.others:
        label.append(" also on " if line.under else " on ", "dim").append_text(sanitize(", ".join(line.others)))
    if line.continued:
        label.append(" (continued below)", "dim")
    return label
