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
from support import registries, servers
from support.buildah_world import machine, until

from rebuilder.registry import skopeo
from rebuilder.registry.document import parse

# What the engine does with these programs when it delivers; each is a point at which it is killed, before and after.
POINTS = ("buildah bud", "buildah from", "buildah run", "buildah push", "skopeo copy", "buildah tag")
# Kills the engine at the first call of a kind, once: before it is made, or after it is done.
KILLS = """#!/bin/sh
case " $* " in *" {word} "*) if mkdir {folder}/{when} 2>/dev/null; then {before}; fi;; esac
{program} "$@"; status=$?
case " $* " in *" {word} "*) if mkdir {folder}/{when}-after 2>/dev/null; then {after}; fi;; esac
exit $status
"""
DIE = "kill -9 $(cat {folder}/pid); sleep 1"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    servers.need("buildah", "buildah", "busybox")
    servers.need("rpm", "rpm", "rpmbuild", "createrepo_c")
    with registries.registry(tmp_path / "registry") as registry, machine(tmp_path / "world") as world:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries.insecure(tmp_path, registry.host)))
        yield Site(world, registry)


def tested(site: Site, *command: str, more: str = "") -> None:
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
    tested(site, "sh", "-c", "grep -q fc42 /etc/os-release 2>/dev/null; echo smoke test of $(ls / | wc -l)")
    assert site.types("run", "--until-idle").returncode == 0
    assert contents(site, "base") == contents(site, "child") == NEW
    log = site.types("log", "child:f42", "--test")
    assert log.stdout.startswith("smoke test of ")
    assert "smoke test" not in site.types("log", "child:f42").stdout


def test_a_build_that_fails_its_test_is_pushed_to_be_looked_at_and_no_tag_moves(site: Site) -> None:
    tested(site, "sh", "-c", "echo no httpd; exit 3")
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
    tested(site, "true", more='promote = "manual"\n')
    assert site.types("run", "--until-idle").returncode == 0
    assert len(fixed(site, "base")) == len(fixed(site, "child")) == 1
    assert contents(site, "base") is None
    assert site.types("promote", "base").stdout == "promoting base:f42\n"
    assert site.types("run", "--until-idle").returncode == 0
    assert (contents(site, "base"), contents(site, "child")) == (NEW, None)
    assert site.types("promote", "1").stdout == "promoting child:f42\n"
    assert site.types("run", "--until-idle").returncode == 0
    assert contents(site, "child") == NEW


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", POINTS)
def test_an_engine_killed_at_any_point_delivers_each_image_once_and_nothing_untested(
    site: Site, point: str, when: str
) -> None:
    tested(site, "sh", "-c", "sleep 0.2; echo ran")
    program, word = point.split()
    tools = site.folder / "tools"
    tools.mkdir()
    die = DIE.format(folder=tools)
    script = tools / program
    script.write_text(
        KILLS.format(
            word=word, folder=tools, when=when, program=shutil.which(program), before=die if when == "before" else ":",
            after=die if when == "after" else ":",
        )
    )
    script.chmod(0o755)
    path = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    engine = subprocess.Popen(site.command("run", "--until-idle"), stderr=subprocess.DEVNULL, env=path)
    (tools / "pid").write_text(str(engine.pid))
    assert engine.wait(timeout=120) == -signal.SIGKILL
    for name in ("base", "child"):
        assert contents(site, name) in (None, NEW)
        if contents(site, name) is not None:
            assert "ran" in site.types("log", f"{name}:f42", "--test").stdout
    assert site.types("run", "--until-idle").returncode == 0
    is_delivered_once(site)


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
