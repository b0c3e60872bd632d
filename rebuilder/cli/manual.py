"""Manual pages and the reference of the command line, from the commands' own help."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
from msgspec import Struct

NAME = "rebuilder"
STATUS = (
    ("0", "Done."),
    ("1", "The answer is \"not well\": a rebuild failed, something is wrong."),
    ("2", "The request was wrong; one line on standard error says how."),
    ("3", "A service could not be reached: the database, the broker, the builder, a server."),
)
ENVIRONMENT = (
    ("REBUILDER_CONFIG", "The configuration file, where --config does not name one."),
    ("REBUILDER_LOG", "What is logged: debug, info, warning, error or critical, for single loggers as LOGGER=LEVEL."),
)
FILES = (
    ("/etc/rebuilder/config.toml", "The configuration, where neither option nor variable names another."),
    ("~/.local/state/rebuilder/", "The database and logs, where the configuration does not name another place."),
)
_PARAGRAPHS = re.compile(r"\n\s*\n")


class Page(Struct, frozen=True):
    """A command as its help has it. `options`, `arguments` and `verbs` are pairs of what is typed and what it means."""

    path: str
    summary: str
    usage: str
    text: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    verbs: tuple[tuple[str, str], ...]


def walk(command: click.Command, parent: click.Context | None = None) -> Iterator[Page]:
    """The command and all below it, parents first. Hidden ones are left out."""
    settings = command.context_settings
    context = click.Context(command, parent=parent, info_name=command.name if parent else NAME, **settings)
    yield _page(command, context)
    if isinstance(command, click.Group):
        for sub in _verbs(command, context):
            yield from walk(sub, context)


def _verbs(group: click.Group, context: click.Context) -> Iterator[click.Command]:
    for name in sorted(group.list_commands(context)):
        sub = group.get_command(context, name)
        if sub is not None and not sub.hidden:
            yield sub


def _page(command: click.Command, context: click.Context) -> Page:
    paragraphs = tuple(" ".join(part.split()) for part in _PARAGRAPHS.split((command.help or "").strip()))
    records = (param.get_help_record(context) for param in command.get_params(context))
    subs = _verbs(command, context) if isinstance(command, click.Group) else ()
    return Page(
        context.command_path,
        command.get_short_help_str(limit=500) if command.short_help else paragraphs[0],
        " ".join(command.collect_usage_pieces(context)),
        paragraphs,
        tuple(record for record in records if record is not None),
        tuple((str(sub.name), sub.get_short_help_str(limit=500)) for sub in subs),
    )


def pages(command: click.Command) -> dict[str, str]:
    """Every manual page of section 1, by its file's name: one for the command, and one for each verb."""
    pages = list(walk(command))
    names = [page.path for page in pages]
    return {f"{page.path.replace(' ', '-')}.1": _roff(page, names) for page in pages}


def _roff(page: Page, names: list[str]) -> str:
    name = page.path.replace(" ", "-")
    lines = [f'.TH "{name.upper()}" 1 "" "{NAME}" "{NAME}"']
    lines += [".SH NAME", f"{_escaped(name)} \\- {_escaped(page.summary)}"]
    lines += [".SH SYNOPSIS", f".B {_escaped(page.path)}", _escaped(page.usage), ".SH DESCRIPTION"]
    lines += [line for paragraph in page.text for line in (".PP", _escaped(paragraph))]
    sections = {"OPTIONS": page.options, "COMMANDS": page.verbs, "EXIT STATUS": STATUS}
    if page.path == NAME:
        sections |= {"ENVIRONMENT": ENVIRONMENT, "FILES": FILES}
    for title, pairs in sections.items():
        lines += [f".SH {title}"] if pairs else []
        for word, meaning in pairs:
            lines += [".TP", f".B {_escaped(word)}", _escaped(meaning or "See above.")]
    return "\n".join([*lines, ".SH SEE ALSO", _see(page, names), ""])


def _see(page: Page, names: list[str]) -> str:
    """The page above, and those directly below."""
    above = page.path.rpartition(" ")[0]
    near = [name for name in names if name == above or name.rpartition(" ")[0] == page.path]
    others = [f".BR {_escaped(name.replace(' ', '-'))} (1)" for name in near]
    return " ,\n".join([*others, ".BR fedora\\-messaging (1)"])


def _escaped(text: str) -> str:
    """Text that roff shows as it is, also where it begins as a request would."""
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe
