"""`help`, `version`, `completion` and `manual`: what the command says of itself."""

from __future__ import annotations

import platform
from pathlib import Path

import click

from rebuilder import distribution
from rebuilder.cli import completion as completions
from rebuilder.cli import manual as pages
from rebuilder.cli.output import as_json, json_option


@click.command("help")
@click.argument("verbs", nargs=-1, metavar="[VERB]...")
@click.pass_context
def help_(context: click.Context, verbs: tuple[str, ...]) -> None:
    """Show what a verb does, as `rebuilder VERB --help`; without one, which verbs there are."""
    current = context.find_root()
    for verb in verbs:
        command = current.command
        if not isinstance(command, click.Group):
            raise click.UsageError(f"{current.command_path} has no verbs")
        _, sub, _ = command.resolve_command(current, [verb])
        assert sub is not None  # else it is a usage error
        current = click.Context(sub, parent=current, info_name=sub.name)
    click.echo(current.get_help())


@click.command()
@json_option
def version(json_: bool) -> None:
    """Show which version this is, and of what."""
    from rebuilder.store.database import HEAD

    versions = {"rebuilder": distribution.version(), "database": HEAD, "python": platform.python_version()}
    if json_:
        as_json(versions)
        return
    click.echo(f"rebuilder {versions['rebuilder']}, tables {versions['database']}, Python {versions['python']}")


@click.command()
@click.argument("shell", type=click.Choice(completions.SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script with which a shell completes verbs, options, images, waves and updates.

    bash: `rebuilder completion bash >/etc/bash_completion.d/rebuilder`; zsh: as `_rebuilder` in a folder of its fpath;
    fish: as `rebuilder.fish` in ~/.config/fish/completions.
    """
    click.echo(completions.script(context.find_root().command, shell))


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.pass_context
def manual(context: click.Context, folder: Path) -> None:
    """Write the manual pages, one for each verb, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.pages(context.find_root().command).items():
        (folder / name).write_text(text, encoding="utf-8")
