"""`init`: from nothing to a configuration that is good, the images read, and each of them built once."""

from __future__ import annotations

import grp
import os
import re
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from rebuilder import config, config_file
from rebuilder.builders.plugin import BuilderPlugin
from rebuilder.cli.context import Context
from rebuilder.cli.init_template import SYSTEM_DATABASE, Answers, KojiAnswers, rendered
from rebuilder.cli.terminal import one_line
from rebuilder.config import BUILDERS, SOURCES
from rebuilder.domain.errors import RequestError
from rebuilder.engine import factory
from rebuilder.inventory.source import InventorySource

NO_BROKER = "none"


class Asker:
    """Gets each answer from an option, else from the user. With `yes`, the default is the answer."""

    def __init__(self, given: dict[str, Any], yes: bool) -> None:
        self._given, self._yes = given, yes
        self._interactive = sys.stdin.isatty() and not yes

    def ask(self, name: str, question: str, usual: str, choices: tuple[str, ...] = ()) -> str:
        """Raises RequestError where there is no terminal to ask in."""
        if self.has(name):
            return str(self._given[name])
        if self._yes:
            return usual
        if not self._interactive:
            option = f"--{name.replace('_', '-')}"
            problem = f"{option} is not given, and there is no terminal to ask in"
            raise RequestError(f"{problem}: give it, or --yes for the default")
        kind = click.Choice(choices) if choices else str
        return str(click.prompt(question, default=usual, type=kind, show_choices=bool(choices)))

    def ask_words(self, name: str, question: str, usual: str) -> tuple[str, ...]:
        """Several words, each an option's value, or all in one answer with spaces between them."""
        return tuple(self._given[name]) if self.has(name) else tuple(self.ask(name, question, usual).split())

    def has(self, name: str) -> bool:
        """Whether an option gives the answer."""
        return self._given.get(name) not in (None, ())

    def sure(self, choice: bool | None, question: str) -> bool:
        """Whether to go on: what the option says, or the user; with neither, no."""
        if choice is not None:
            return choice
        return self._interactive and click.confirm(question, default=True)


@click.command()
@click.option("--source", type=click.Choice(SOURCES.names), help="Where the images come from.")
@click.option("--path", help="The folder of Containerfiles, or the document.")
@click.option("--repository", multiple=True, help="A repository of images, or a pattern: HOST/PATH/*. Can be repeated.")
@click.option("--tags", multiple=True, help="A tag that they have there, or a pattern: 42-*. Can be repeated.")
@click.option("--stream", help="What the images are of, as f42.")
@click.option("--dist", help="The dist tag of its RPMs, as .fc42.")
@click.option("--bodhi", help="Its release in Bodhi, as F42.")
@click.option("--builder", type=click.Choice(BUILDERS.names), help="What builds images.")
@click.option("--database", help="A URL: sqlite:///FILE, or postgresql+psycopg:// with USER@HOST/NAME.")
@click.option("--broker", help="The AMQP URL of the message bus, or none.")
@click.option("--web", help="HOST:PORT of the status pages.")
@click.option("--osbs-conf", help="The configuration of OSBS' client, as /etc/osbs.conf.")
@click.option("--hub", help="The URL of Koji's XML-RPC.")
@click.option("--tag", help="The tag in Koji that the images are in.")
@click.option("--gate-test", help="The test of a CI whose result new builds wait for, as ResultsDB names it.")
@click.option("--first-builds/--no-first-builds", default=None, help="Read the images, and build what was never built.")
@click.option("--yes", "-y", is_flag=True, help="Ask nothing: options that are not given have their defaults.")
@click.option("--force", is_flag=True, help="Replace a configuration that is there.")
@click.pass_obj
def init(context: Context, /, first_builds: bool | None, yes: bool, force: bool, **given: Any) -> int:
    """Write a configuration with comments, check it, and make the first builds.

    Asks a few questions in a terminal; scripts give options, and --yes for the defaults.
    """
    path = context.path or (config_file.OURS if os.geteuid() == 0 else config_file.user_file())
    if path.exists() and not force:
        raise RequestError(f"{path} is there already: use --config FILE for another place, or --force to replace it")
    asker = Asker(given, yes)
    text = rendered(_answers(asker))
    config.settings_of(_ours(text), str(path))
    _write(path, text)
    click.echo(f"wrote {path}")
    settings = config.load(path)
    try:
        factory.check(settings)
    except RequestError as error:
        click.echo(f"rebuilder: {one_line(str(error))}", err=True)
        click.echo(f"next: mend {path} so, then `rebuilder config check`, and `rebuilder inventory sync`")
        return 1
    if settings.dry_run or not asker.sure(first_builds, "Read the images now, and build those that were never built?"):
        _say_next(path, settings, built=False)
        return 0
    failed = _first_builds(path)
    _say_next(path, settings, built=not failed)
    return int(failed)


def _answers(asker: Asker) -> Answers:
    name = asker.ask("source", "Where do the images come from?", "containerfiles", SOURCES.names)
    source: InventorySource = SOURCES.load(name)
    path = asker.ask("path", "Which folder, or document?", source.usual_path) if "path" in source.asks else ""
    repositories = _repositories(asker) if "repositories" in source.asks else ()
    stream = asker.ask("stream", "Which stream are they of?", "f42")
    tags = asker.ask_words("tags", "Which tags do they have (as 42 42-*)?", stream) if "tags" in source.asks else ()
    dist = asker.ask("dist", "Which dist tag do its RPMs have?", _dist(stream))
    bodhi = asker.ask("bodhi", "Which release is that in Bodhi (empty: none)?", _bodhi(stream))
    builder = asker.ask("builder", "What builds images?", source.usual_builder, BUILDERS.names)
    plugin: BuilderPlugin = BUILDERS.load(builder)
    koji = _koji(asker, plugin, stream, tagged="koji_tags" in source.asks or plugin.builds_in_koji)
    more = {option: asker.ask(option, *question) for option, question in plugin.asks.items()}
    usual = SYSTEM_DATABASE if os.geteuid() == 0 else _user_database()
    database = asker.ask("database", "Which database?", usual)
    broker = asker.ask("broker", "Which message bus (amqp://…, or none)?", NO_BROKER)
    web = asker.ask("web", "Where do the status pages listen?", "127.0.0.1:8080")
    if not re.fullmatch(r".+:\d{1,5}", web):
        raise RequestError(f"--web: {web!r} is not HOST:PORT, as 127.0.0.1:8080")
    bus = "" if broker == NO_BROKER else broker
    place = str(Path(path).absolute()) if path else ""
    return Answers(
        name, source, place, repositories, stream, tags, dist, bodhi, builder, plugin, more, database, bus, web,
        koji,
    )


def _repositories(asker: Asker) -> tuple[str, ...]:
    patterns = asker.ask_words("repository", "Which repositories (as registry.example.com/team/*)?", "")
    if not patterns:
        raise RequestError("--repository: name the repositories of the images, as registry.example.com/team/*")
    return patterns


def _koji(asker: Asker, builder: BuilderPlugin, stream: str, *, tagged: bool) -> KojiAnswers:
    """What is known of Koji, which has the images in a tag, or the builds: those that a CI usually tests."""
    concerned = tagged or builder.needs_target
    hub = asker.ask("hub", "Koji's hub?", "https://koji.fedoraproject.org/kojihub") if concerned else ""
    tag = asker.ask("tag", "Which tag are the images in?", f"{stream}-container") if tagged else ""
    gated = concerned or asker.has("gate_test")
    test = asker.ask("gate_test", "Which test of a CI do new builds wait for (empty: none)?", "") if gated else ""
    return KojiAnswers(hub, tag, test)


def _dist(stream: str) -> str:
    """The dist tag of a stream that is called as Fedora, CentOS Stream or EPEL call theirs."""
    if match := re.fullmatch(r"f(\d+)", stream):
        return f".fc{match[1]}"
    match = re.fullmatch(r"(?:c|el|epel)(\d+)s?", stream)
    return f".el{match[1]}" if match else f".{stream}"


def _bodhi(stream: str) -> str:
    return stream.upper() if re.fullmatch(r"f\d+", stream) else ""


def _user_database() -> str:
    return f"sqlite:///{config.state_directory() / 'rebuilder.db'}"


def _ours(text: str) -> dict[str, Any]:
    ours: dict[str, Any] = tomllib.loads(text)["consumer_config"]
    return ours


def _write(path: Path, text: str) -> None:
    """Write the file whole or not at all: for its owner, and for the group of the services where root writes it."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        config.own_folder(path.parent)
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o640)
        with suppress(KeyError, PermissionError):
            os.chown(temporary, -1, grp.getgrnam("rebuilder").gr_gid)
        temporary.replace(path)
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror or error}") from None


def _first_builds(path: Path) -> bool:
    """Read the images and build those that were never built, as the user would; whether something failed."""
    verbs: tuple[tuple[str, ...], ...] = (
        ("inventory", "sync"), ("rebuild", "--unknown", "--yes"), ("run", "--until-idle"),
    )  # fmt: skip
    for verb in verbs:
        click.echo(f"rebuilder {' '.join(verb)}")
        command = [sys.executable, "-m", "rebuilder", "--config", str(path), *verb]
        if subprocess.run(command, check=False).returncode:
            return True
    return False


def _say_next(path: Path, settings: config.Settings, *, built: bool) -> None:
    """What to type next; with `built` the images are read and built."""
    usual = path in (config_file.OURS, config_file.user_file())
    lines = [] if usual else [(f"export REBUILDER_CONFIG={path}", "this is not the default path")]
    if not built:
        lines.append(("rebuilder inventory sync", "read the images"))
    if not built and not settings.dry_run:
        lines.append(("rebuilder rebuild --unknown", "build those that were never built"))
    lines.append(("rebuilder run", "consumer, engine and status pages; as services: docs/admin.md"))
    if not config_file.bus(path).configured:
        lines.append(("rebuilder update NVR", "announce an update: no message bus is configured"))
    lines += [
        ("rebuilder status", "what is being rebuilt, what comes next, what failed"),
        ("rebuilder doctor", "what is wrong, and how to mend it"),
    ]
    click.echo("next:")
    for command, comment in lines:
        click.echo(f"  {command:<32} # {comment}")
