"""Help, manual pages and completion: what the command says of itself, in the shells that people have."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from support import servers, shell
from support.users import ROOT, User, update

from rebuilder.cli import VERBS, completion, rebuilder

Complete = Callable[[str], set[str]]
BASH = """
source <(rebuilder completion bash)
COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
_rebuilder_completion rebuilder
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    """Somebody whose PATH has `rebuilder`, with images, a wave and a change."""
    found = User(tmp_path_factory.mktemp("completing"))
    found.types("inventory", "sync")
    found.types("replay", "-", stdin=update())
    found.types("run", "--until-idle")
    program = found.folder / "bin" / "rebuilder"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m rebuilder "$@"\n')
    program.chmod(0o755)
    where = {"PATH": f"{program.parent}:{os.environ['PATH']}", "REBUILDER_CONFIG": str(found.folder / "config.toml")}
    found.environment |= where | {"PYTHONPATH": str(ROOT)}
    return found


@pytest.fixture(params=["bash", "fish"])
def complete(request: pytest.FixtureRequest, user: User) -> Complete:
    """What the shell offers for a line that has been typed so far."""
    if request.param == "fish":
        servers.need("shells", "fish")
        script = 'rebuilder completion fish | source; complete --do-complete "$argv[1]"'
        command = ["fish", "--no-config", "-c", script]
    else:
        command = ["bash", "--norc", "-c", BASH, "bash"]

    def offered(line: str) -> set[str]:
        done = subprocess.run([*command, line], cwd=user.folder, env=user.environment, capture_output=True, text=True,
                              timeout=60, check=False)  # fmt: skip
        assert not done.stderr
        return {offer.partition("\t")[0] for offer in done.stdout.splitlines() if offer}

    return offered


def test_verbs_and_options_are_completed(complete: Complete) -> None:
    assert complete("rebuilder wa") == {"wave"}
    assert {"--json", "--update"} <= complete("rebuilder plan --")
    assert complete("rebuilder inventory sh") == {"show"}


def test_images_waves_and_updates_are_completed(complete: Complete) -> None:
    assert complete("rebuilder why ht") == {"httpd:f42"}
    assert complete("rebuilder wave ") == {"1"}
    assert complete("rebuilder plan --update open") == {"openssl-3.2.2-1.fc42"}
    assert {"1", "httpd:f42", "base:f42"} <= complete("rebuilder retry ")


def test_bash_takes_a_name_apart_at_its_colon_and_is_given_the_rest(user: User) -> None:
    command = ["bash", "--norc", "-c", BASH, "bash", "rebuilder why httpd:f"]
    assert subprocess.check_output(command, env=user.environment, text=True, timeout=60) == "f42\n"


def test_zsh_takes_its_script_and_is_given_names(user: User) -> None:
    servers.need("shells", "zsh")
    script = "autoload -U compinit; compinit -u -D; source <(rebuilder completion zsh); print $_comps[rebuilder]"
    command = ["zsh", "-f", "-c", script]
    assert subprocess.check_output(command, env=user.environment, text=True, timeout=60) == "_rebuilder_completion\n"
    asked = {"COMP_WORDS": "rebuilder why ht", "COMP_CWORD": "2", "_REBUILDER_COMPLETE": "zsh_complete"}
    told = subprocess.check_output(["rebuilder"], env=user.environment | asked, text=True, timeout=60)
    assert told == "plain\nhttpd:f42\n_\n"


def test_a_shell_is_shown_nothing_where_there_is_no_database(user: User, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[consumer_config]\ndatabase_url = "postgresql+psycopg://me@127.0.0.1:1/rebuilder"\n')
    asked = {"COMP_LINE": "rebuilder why ht", "COMP_POINT": "16", "_REBUILDER_COMPLETE": "bash_complete"}
    environment = user.environment | asked | {"REBUILDER_CONFIG": str(config)}
    done = subprocess.run(["rebuilder"], env=environment, capture_output=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (b"\n", b"")


# --- help, version, manual


def test_help_is_what_the_verb_says_of_itself(user: User) -> None:
    for words in ((), ("why",), ("inventory", "show")):
        assert shell.types("help", *words).stdout == shell.types(*words, "--help").stdout
    done = shell.types("help", "whi")
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such command 'whi'" in done.stderr


def test_the_version_is_told_also_for_scripts(user: User) -> None:
    assert user.types("version").stdout.startswith(f"rebuilder {version('container-rebuilder')}, tables ")
    assert user.reads("version")["rebuilder"] == version("container-rebuilder")


def test_each_verb_has_a_manual_page_that_man_shows_without_a_warning(tmp_path: Path) -> None:
    assert shell.types("manual", str(tmp_path)).returncode == 0
    pages = {page.name for page in tmp_path.glob("*.1")}
    hidden = {"notify"}  # the engine starts it
    assert pages >= {f"rebuilder-{verb}.1" for verb in VERBS.keys() - hidden}
    assert pages >= {"rebuilder.1", "rebuilder-inventory-show.1"}
    if shutil.which("man"):
        for page in (tmp_path / "rebuilder.1", tmp_path / "rebuilder-graph.1", tmp_path / "rebuilder-debug-dump.1"):
            command = ["man", "--warnings", "-E", "UTF-8", "-l", str(page)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            assert (done.returncode, done.stderr) == (0, "")
            assert "EXIT STATUS" in done.stdout


def test_every_parameter_that_names_images_or_waves_is_completed() -> None:
    names = {}
    for verb in VERBS:
        command = rebuilder.get_command(click.Context(rebuilder), verb)
        assert command is not None
        names |= {param.name: param for param in command.params}
    assert completion.NAMES.keys() <= names.keys(), "a parameter has another name now"
    about = {name for name, param in names.items() if re.search("IMAGE|WAVE|NVR", param.metavar or "")}
    assert about <= completion.NAMES.keys()


def commands(command: click.Command, *words: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """The command and all below it, each with the words that are typed for it."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, *words, name)


def test_at_sixty_columns_no_word_of_any_help_is_cut() -> None:
    """The list of verbs is left out: of what each does it has as much as there is room for."""
    for words, _ in commands(rebuilder):
        narrow, wide = (
            CliRunner().invoke(rebuilder, [*words, "--help"], terminal_width=width, max_content_width=width).output
            for width in (60, 400)
        )
        assert [line for line in narrow.splitlines() if len(line) > 60] == []
        assert set(wide.partition("\nCommands:")[0].split()) - set(narrow.split()) == set(), words


def test_every_option_says_what_it_does() -> None:
    silent = {
        (*words, option.opts[0])
        for words, command in commands(rebuilder)
        for option in command.params
        if isinstance(option, click.Option) and not option.hidden and not option.help
    }
    assert not silent
