"""Proven builds are pushed to registries, each once, under all their names with one digest; with the real parts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import bus, databases, registries, servers, shell
from support.buildah_world import CONFIGURATION, Machine, machine, until
from support.registries import Registry

from rebuilder.config import RegistrySettings
from rebuilder.registry import skopeo
from rebuilder.registry.document import parse
from rebuilder.registry.reader import RegistryReader

PUSHED = """[consumer_config.registry]
push = ["{host}/team/{{name}}", "{host}/mirror/{{name}}"]
"""
NEW = {"openssl-libs-1:3.2.2-1.fc42.noarch"}


class Site:
    """A registry beside the first world, whose engine has the message about the new openssl."""

    def __init__(self, world: Machine, registry: Registry) -> None:
        self.world, self.registry, self.folder = world, registry, world.folder
        text = CONFIGURATION.format(folder=self.folder) + PUSHED.format(host=registry.host)
        (self.folder / "config.toml").write_text(text)
        databases.sqlite(self.folder / "rebuilder.db").dispose()
        assert self.types("inventory", "sync").returncode == 0
        sent = bus.update()
        message = {"id": sent.id, "topic": sent.topic, "headers": {}, "body": sent.body}
        assert self.types("replay", "-", stdin=json.dumps(message)).stdout.startswith("1 accepted")

    def command(self, *arguments: str) -> list[str]:
        return shell.argv("--config", str(self.folder / "config.toml"), *arguments)

    def types(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return shell.types("--config", str(self.folder / "config.toml"), *arguments, stdin=stdin)

    def asked(self, *arguments: str) -> Any:
        done = self.types(*arguments, "--json")
        return json.loads(done.stdout) if done.stdout else None

    def states(self) -> set[str]:
        wave = self.asked("wave", "1")
        return {rebuild["state"] for rebuild in wave["rebuilds"]} if wave else set()

    def tags(self, repository: str) -> list[str]:
        with self.registry.client() as client:
            found = client.get(f"{repository}/tags/list")
        tags = found.json()["tags"] if found.is_success else []
        return sorted(tag for tag in tags if not tag.startswith("sha256-"))  # those are lists of referrers

    def digests(self) -> dict[str, set[str]]:
        """The digests behind all tags of each image, in both places."""
        return {
            name: {
                parse(skopeo.raw_manifest(f"{self.registry.host}/{place}/{name}:{tag}", 20), name).digest
                for place in ("team", "mirror")
                for tag in self.tags(f"{place}/{name}")
            }
            for name in ("base", "child")
        }


@pytest.fixture
def site(tmp_path: Path, first_world: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with registries.registry(tmp_path / "registry") as registry, machine(tmp_path / "world", first_world) as world:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries.insecure(tmp_path, registry.host)))
        yield Site(world, registry)


def is_annotated(name: str, at: str) -> None:
    said = json.loads(skopeo.raw_manifest(at, 20))["annotations"]
    assert (said["rebuilder.key"].partition("-f42-")[0], said["rebuilder.wave"]) == (name, "1")
    assert said["rebuilder.causes"] == '["openssl-3.2.2-1.fc42"]'


def is_delivered(site: Site) -> None:
    """Each image is under a tag that moves and one that never does, in both places, with one digest, and pulls."""
    digests = site.digests()
    for name in ("base", "child"):
        for place in ("team", "mirror"):
            floating, fixed = site.tags(f"{place}/{name}")
            assert (floating, fixed[:4], fixed[-2:]) == ("f42", "f42-", ".1")
        (digest,) = digests[name]
        at = f"{site.registry.host}/team/{name}"
        images = parse(skopeo.raw_manifest(f"{at}:f42", 20), at).platforms.values() or [digest]
        for one in images:
            is_annotated(name, f"{at}@{one}")
        shown = site.asked("inventory", "show", f"{name}:f42")
        assert shown["digest"] == digest
        assert f"{site.registry.host}/team/{name}@{digest}" in shown["tags"]
        empty = site.folder / f"empty-{name}"
        pulled = site.world.settings.model_copy(update={"root": empty / "s", "runroot": empty / "r"})
        storage = type(site.world.storage)(pulled)
        pull = storage.command("pull", "-q", f"docker://{site.registry.host}/team/{name}:f42")
        subprocess.run(pull, check=True, capture_output=True)
        (image,) = storage.images()
        assert {rpm.nevra for rpm in storage.manifest(image.ident).rpms} == NEW


def test_a_proven_build_is_pushed_under_all_its_names_with_one_digest(site: Site) -> None:
    assert site.types("run", "--until-idle").returncode == 0
    is_delivered(site)


def test_a_registry_that_is_away_fails_no_build_and_gets_what_it_missed(site: Site) -> None:
    site.registry.stop()
    engine = subprocess.Popen(site.command("engine"), stderr=subprocess.DEVNULL)
    try:
        until(lambda: site.states() == {"succeeded"})
        until(lambda: "pushes" in {problem["what"] for problem in (site.asked("status") or {}).get("problems", ())})
        site.registry.start()
        until(lambda: len(site.tags("mirror/child")) == len(site.tags("mirror/base")) == 2)
    finally:
        engine.terminate()
        engine.wait()
    is_delivered(site)


DIES = """#!/bin/sh
{skopeo} "$@"; status=$?
case " $* " in *" copy "*) kill -9 $(cat {pid}); sleep 5;; esac
exit $status
"""


def test_an_engine_killed_in_the_middle_of_a_push_goes_on_without_building_or_pushing_anything_twice(
    site: Site,
) -> None:
    tools, pid = site.folder / "tools", site.folder / "pid"
    tools.mkdir()
    program = tools / "skopeo"
    program.write_text(DIES.format(skopeo=shutil.which("skopeo"), pid=pid))
    program.chmod(0o755)
    path = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    deaths = 0
    while deaths < 3:
        engine = subprocess.Popen(site.command("run", "--until-idle"), stderr=subprocess.DEVNULL, env=path)
        pid.write_text(str(engine.pid))
        if engine.wait(timeout=60) != -signal.SIGKILL:
            break
        deaths += 1
    assert deaths
    assert site.types("run", "--until-idle").returncode == 0
    is_delivered(site)
    builds = [path.name for path in (site.folder / "builds").iterdir() if "-f42-" in path.name]
    assert len(builds) == 2


def test_a_tag_that_never_moves_and_is_somebody_else_s_stays_theirs(site: Site) -> None:
    today = subprocess.check_output(["date", "-u", "+%Y%m%d"], text=True).strip()
    theirs = site.registry.push(f"team/base:f42-{today}.1", [registries.layer({"theirs": b"1"})])
    assert site.types("run", "--until-idle").returncode == 0
    digests = {
        tag: parse(skopeo.raw_manifest(f"{site.registry.host}/team/base:{tag}", 20), tag).digest
        for tag in site.tags("team/base")
    }
    assert digests[f"f42-{today}.1"] == theirs != digests["f42"]


SIGNER = """#!/bin/sh -e
echo "$1" >> {folder}/called
if [ -e {folder}/refuses ]; then echo "the key is locked" >&2; exit 4; fi
if [ -e {folder}/dies ]; then rm {folder}/dies; kill -9 $(cat {folder}/pid); sleep 5; fi
{skopeo} --registries-conf {registries} inspect --raw docker://$1 > {folder}/manifest-$$
{skopeo} standalone-sign -o {folder}/signed/$(echo $1 | tr / _) {folder}/manifest-$$ $1 {key} 2>&1
"""


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The fingerprint of a key that signs."""
    servers.need("signatures", "gpg", "skopeo")
    home = Path(tempfile.mkdtemp(prefix="gpg-"))  # its agent's socket must have a short name
    monkeypatch.setenv("GNUPGHOME", str(home))
    make = ["gpg", "--batch", "--passphrase", "", "--quick-gen-key", "rebuilder@example.com", "default", "sign", "1d"]
    subprocess.run(make, check=True, capture_output=True)
    listed = subprocess.check_output(["gpg", "--batch", "--with-colons", "--list-keys"], text=True)
    return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))


def test_no_tag_moves_to_a_build_before_it_is_described_and_signed(site: Site, key: str) -> None:
    folder = site.folder / "signing"
    (folder / "signed").mkdir(parents=True)
    signer = folder / "sign"
    signer.write_text(SIGNER.format(folder=folder, key=key, skopeo=shutil.which("skopeo"),
                                    registries=os.environ["CONTAINERS_REGISTRIES_CONF"]))  # fmt: skip
    signer.chmod(0o755)
    with (site.folder / "config.toml").open("a") as file:
        file.write(f'sbom = true\nsign = ["{signer}", "{{ref}}"]\n')
    (folder / "refuses").touch()

    def moved() -> list[str]:
        places = [f"{place}/{name}" for name in ("base", "child") for place in ("team", "mirror")]
        return [place for place in places if "f42" in site.tags(place)]

    engine = subprocess.Popen(site.command("engine"), stderr=subprocess.DEVNULL)
    (folder / "pid").write_text(str(engine.pid))
    until(lambda: site.states() == {"succeeded"})
    until(lambda: "the key is locked" in json.dumps((site.asked("status") or {}).get("problems", ())))
    until(lambda: len(site.tags("mirror/child")) == 1)
    assert not moved()
    (folder / "dies").touch()
    (folder / "refuses").unlink()
    assert engine.wait(60) == -signal.SIGKILL
    assert not moved()
    assert site.types("run", "--until-idle").returncode == 0
    is_delivered(site)
    for name, digests in site.digests().items():
        (digest,) = digests
        for place in ("team", "mirror"):
            at = f"{site.registry.host}/{place}/{name}@{digest}"
            assert at in (folder / "called").read_text()
            described = json.loads(skopeo.raw_manifest(at.replace("@sha256:", ":sha256-"), 20))["manifests"]
            assert [one["artifactType"] for one in described] == ["application/vnd.cyclonedx+json"]
            (folder / "manifest").write_bytes(skopeo.raw_manifest(at, 20))
            signature = folder / "signed" / at.replace("/", "_")
            verify = ["skopeo", "standalone-verify", folder / "manifest", at, key, signature]
            assert digest in subprocess.check_output(verify, text=True)
    called = (folder / "called").read_text()
    assert site.types("run", "--until-idle").returncode == 0
    assert (folder / "called").read_text() == called, "what is signed is not signed again"


def test_one_index_for_several_platforms_is_delivered_whatever_kills_the_engine(site: Site) -> None:
    """Two platforms that this machine runs by itself, so that RUN updates both."""
    platforms = "linux/amd64", "linux/386"
    (site.folder / "images/rebuilder.toml").write_text(f"platforms = {json.dumps(platforms)}\ntest = ['/bin/true']\n")
    assert site.types("inventory", "sync").returncode == 0
    engine = subprocess.Popen(site.command("engine"), stderr=subprocess.DEVNULL)
    until(lambda: "building" in site.states())
    engine.kill()
    engine.wait()
    assert site.types("run", "--until-idle").returncode == 0
    is_delivered(site)
    reader = RegistryReader(RegistrySettings(), site.folder / "layers")
    for name in ("base", "child"):
        image = reader.resolve(f"{site.registry.host}/team/{name}:f42")
        assert set(image.document.platforms) == set(platforms)
        for platform in platforms:
            assert {rpm.nevra for rpm in reader.contents(image, platform).rpms or ()} == NEW
    builds = [path.name for path in (site.folder / "builds").iterdir() if "-f42-" in path.name]
    assert len(builds) == 2
