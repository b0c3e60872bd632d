"""Shell completion: verbs and options by click, and the names of images, waves and updates from the database.

`rebuilder completion SHELL` prints a script; the shell then runs `rebuilder` with `_REBUILDER_COMPLETE` set.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, suppress
from io import StringIO

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from rebuilder.cli.context import Context

SHELLS = ("bash", "zsh", "fish")
MOST = 1000  # names that a shell is given
# Bash takes `httpd:f42` apart at the colon; from the line as it was typed it comes whole. In what it is answered, the
# part before the last colon must be missing.
BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' response
    response=$(COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" BREAKS="$COMP_WORDBREAKS" \\
        %(complete_var)s=bash_complete $1)
    COMPREPLY=()
    local completion type value
    for completion in $response; do
        IFS=',' read type value <<< "$completion"
        case $type in
            dir) COMPREPLY=(); compopt -o dirnames ;;
            file) COMPREPLY=(); compopt -o default ;;
            plain) COMPREPLY+=($value) ;;
        esac
    done
    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


def images(context: Context, begins: str) -> Sequence[tuple[str, str]]:
    """The images whose names begin so, each with nothing to say about it."""
    from rebuilder.store import completion
    from rebuilder.store.database import reading

    with reading(context.stored) as connection:
        return [(name, "") for name in completion.images(connection, begins, MOST)]


def waves(context: Context, begins: str) -> Sequence[tuple[str, str]]:
    """The newest waves whose numbers begin so, each with its state."""
    from rebuilder.store import completion
    from rebuilder.store.database import reading

    with reading(context.stored) as connection:
        return [(str(number), state) for number, state in completion.waves(connection, begins, MOST)]


def updates(context: Context, begins: str) -> Sequence[tuple[str, str]]:
    """The newest changes whose source packages' builds begin so, each with its stream."""
    from rebuilder.store import completion
    from rebuilder.store.database import reading

    with reading(context.stored) as connection:
        return completion.changes(connection, begins, MOST)


Names = Callable[[Context, str], Sequence[tuple[str, str]]]
# By the names of arguments and options, which are the same in all verbs.
NAMES: dict[str, tuple[Names, ...]] = {
    "image": (images,),
    "images": (images,),
    "named": (images, waves),
    "names": (images, updates),
    "wave_id": (waves,),
    "waves": (waves,),
    "nvrs": (updates,),
    "updates": (updates,),
}


class Named(click.ParamType):  # type: ignore[type-arg]
    """A parameter's type while a shell completes it: it knows what is called so."""

    name = "name"

    def __init__(self, names: Sequence[Names]) -> None:
        self._names = names

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """What begins so. Nothing where no database answers, or a server is meant: a shell shows no errors."""
        if ctx.params.get("server"):
            return []
        given = Context(ctx.find_root().params.get("config"))
        items: list[CompletionItem] = []
        with suppress(Exception), redirect_stderr(StringIO()):
            for names in self._names:
                items += [CompletionItem(value, help=summary or None) for value, summary in names(given, incomplete)]
        return items


def teach(command: click.Command) -> None:
    """Let a command's parameters, and those of its verbs, know what there is."""
    for param in command.params:
        if names := NAMES.get(param.name or ""):
            param.type = Named(names)
    if isinstance(command, click.Group):
        for verb in command.commands.values():
            teach(verb)


class Bash(BashComplete):
    """Bash 4.4 and newer, with or without the package bash-completion."""

    source_template = BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_LINE"].encode()[: int(os.environ["COMP_POINT"])].decode(errors="replace")
        words = split_arg_string(line)[1:]
        self._incomplete = "" if line[-1:].isspace() or not words else words.pop()
        return words, self._incomplete

    def format_completion(self, item: CompletionItem) -> str:
        before = self._incomplete.rpartition(":")[0] if ":" in os.environ.get("BREAKS", "") else ""
        value = str(item.value)
        return f"{item.type},{value.removeprefix(f'{before}:') if before else value}"


def register() -> None:
    """Take the place of click's own class for Bash."""
    add_completion_class(Bash, "bash")


def script(cli: click.Command, shell: str) -> str:
    """What the shell must read to complete our command."""
    register()
    completer = get_completion_class(shell)
    assert completer is not None
    return completer(cli, {}, "rebuilder", "_REBUILDER_COMPLETE").source()
