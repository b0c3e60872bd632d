"""Builds are tested and promoted, and an engine may be killed at any point of that; with the real parts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance.test_push import NEW, Site
from support import registries
from support.buildah_world import Machine, machine, until

from rebuilder.registry import skopeo
from rebuilder.registry.document import parse

# What the engine does with these programs when it delivers; at the first call of each kind it is killed twice: before
# the call is made, and after it is done. `from` is the proof, too: the RPM database is read in a container.
WORDS = {"buildah": ("bud", "from", "mount", "run", "push", "tag"), "skopeo": ("copy", "inspect")}
KILLS = """#!/bin/sh
die() {{ until [ -s {folder}/pid ]; do sleep 0.02; done; kill -9 $(cat {folder}/pid); sleep 0.5; }}
word=
for one in {words}; do case " $* " in *" $one "*) word=$one; break;; esac; done
[ -z "$word" ] || ! mkdir {folder}/$word-before 2>/dev/null || die
{program} "$@"; status=$?
[ -z "$word" ] || ! mkdir {folder}/$word-after 2>/dev/null || die
exit $status
"""
MOST_DEATHS = 40


@pytest.fixture
def site(tmp_path: Path, first_world: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with registries.registry(tmp_path / "registry") as registry, machine(tmp_path / "world", first_world) as world:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries.insecure(tmp_path, registry.host)))
        yield Site(world, registry)


def tests_run(site: Site, *command: str, more: str = "") -> None:
    """Every build is tested by that command."""
    file = site.folder / "config.toml"
    text = file.read_text()
    test = f"test = {json.dumps(list(command))}\n"
    text = text.replace('dist = ".fc42"\n', f'dist = ".fc42"\n{test}').replace(
        "settle_seconds = 0\n", f"settle_seconds = 0\n{more}"
    )
    file.write_text(text)


def contents(site: Site, name: str, tag: str = "f42") -> set[str] | None:
    """The RPMs behind a tag of an image, pulled into an empty storage; None where there is no such tag."""
    if tag not in site.tags(f"team/{name}"):
        return None
    empty = site.folder / f"empty-{name}-{len(list(site.folder.glob('empty-*')))}"
    pulled = site.world.settings.model_copy(update={"root": empty / "s", "runroot": empty / "r"})
    storage = type(site.world.storage)(pulled)
    pull = storage.command("pull", "-q", f"docker://{site.registry.host}/team/{name}:{tag}")
    subprocess.run(pull, check=True, capture_output=True)
    (image,) = storage.images()
    return {rpm.nevra for rpm in storage.manifest(image.ident).rpms}


def fixed(site: Site, name: str) -> list[str]:
    return [tag for tag in site.tags(f"team/{name}") if tag != "f42"]


def test_a_build_that_passes_its_test_is_promoted_and_its_log_is_kept(site: Site) -> None:
    tests_run(site, "sh", "-c", "grep -q fc42 /etc/os-release 2>/dev/null; echo smoke test of $(ls / | wc -l)")
    assert site.types("run", "--until-idle").returncode == 0
    assert contents(site, "base") == contents(site, "child") == NEW
    log = site.types("log", "child:f42", "--test")
    assert log.stdout.startswith("smoke test of ")
    assert "smoke test" not in site.types("log", "child:f42").stdout


def test_a_build_that_fails_its_test_is_pushed_to_be_looked_at_and_no_tag_moves(site: Site) -> None:
    tests_run(site, "sh", "-c", "echo no httpd; exit 3")
    assert site.types("run", "--until-idle").returncode == 1
    wave = site.asked("wave", "1")
    states = {one["image"]: (one["state"], one["reason"]) for one in wave["rebuilds"]}
    assert states["base:f42"] == ("failed", "tests failed: no httpd: exit status 3")
    assert states["child:f42"][0] == "blocked"
    assert (site.tags("team/base")[0][:4], site.tags("team/child")) == ("f42-", [])
    assert contents(site, "base") is None
    assert contents(site, "base", fixed(site, "base")[0]) == NEW, "whoever looks for the fault finds it there"
    storage = {name for image in site.world.storage.images() for name in image.names}
    old = next(i for i in site.world.storage.images() if "localhost/base:f42" in i.names)
    assert "localhost/base:f42" in storage
    assert {rpm.nevra for rpm in site.world.storage.manifest(old.ident).rpms} != NEW


def test_nothing_is_promoted_by_hand_before_somebody_says_so(site: Site) -> None:
    tests_run(site, "true", more='promote = "manual"\n')
    assert site.types("run", "--until-idle").returncode == 0
    assert len(fixed(site, "base")) == len(fixed(site, "child")) == 1
    assert contents(site, "base") is None
    assert site.types("promote", "base").stdout == "promoting base:f42\n"
    assert site.types("run", "--until-idle").returncode == 0
    assert (contents(site, "base"), contents(site, "child")) == (NEW, None)
    assert site.types("promote", "1").stdout == "promoting child:f42\n"
    assert site.types("run", "--until-idle").returncode == 0
    assert contents(site, "child") == NEW


def test_an_engine_killed_at_every_point_delivers_each_image_once_and_nothing_untested(site: Site) -> None:
    tests_run(site, "sh", "-c", "sleep 0.2; echo ran")
    tools = site.folder / "tools"
    tools.mkdir()
    for program, words in WORDS.items():
        script = tools / program
        script.write_text(KILLS.format(words=" ".join(words), folder=tools, program=shutil.which(program)))
        script.chmod(0o755)
    deaths = 0
    while lives_and_dies(site, tools) and deaths < MOST_DEATHS:
        deaths += 1
        for name in ("base", "child"):
            if "f42" in site.tags(f"team/{name}"):
                assert "ran" in site.types("log", f"{name}:f42", "--test").stdout
    killed = {path.name for path in tools.glob("*-*")}
    assert killed == {f"{word}-{when}" for words in WORDS.values() for word in words for when in ("before", "after")}
    assert deaths >= len(killed) / 2, "two calls that are out at the same time may share a death"
    is_delivered_once(site)


def lives_and_dies(site: Site, tools: Path) -> bool:
    """Whether the engine was killed before all was done."""
    pid = tools / "pid"
    pid.unlink(missing_ok=True)
    path = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    engine = subprocess.Popen(site.command("run", "--until-idle"), stderr=subprocess.DEVNULL, env=path)
    pid.write_text(str(engine.pid))
    status = engine.wait(timeout=120)
    assert status in (0, -signal.SIGKILL)
    return status != 0


def is_delivered_once(site: Site) -> None:
    """Each image was built once, tested, and is under one tag that never moves, which the floating one is equal to."""
    assert contents(site, "base") == contents(site, "child") == NEW
    for name in ("base", "child"):
        (tag,) = fixed(site, name)
        one, other = (
            parse(skopeo.raw_manifest(f"{site.registry.host}/team/{name}:{t}", 20), name).digest for t in (tag, "f42")
        )
        assert one == other
        assert "ran" in site.types("log", f"{name}:f42", "--test").stdout
    assert len([path for path in (site.folder / "builds").iterdir() if "-f42-" in path.name]) == 2
    listed = subprocess.check_output(site.world.storage.command("containers", "--json"), text=True)
    until(lambda: "rebuilder-test" not in listed)
