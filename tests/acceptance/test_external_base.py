"""Images on a base that somebody else pushes to a registry, with the real engine, buildah, skopeo and registry."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import bus, registries, servers, shell
from support.buildah_world import Machine, machine
from support.registries import Registry

from rebuilder.config import load
from rebuilder.inventory.buildah_cli import Storage

CONFIGURATION = """[consumer_config]
database_url = "sqlite:///{folder}/rebuilder.db"
builder = "buildah"
settle_seconds = 0
poll_seconds = 0.05
[consumer_config.inventory]
source = "containerfiles"
path = "{folder}/ours"
stream = "f42"
[consumer_config.streams.f42]
dist = ".fc42"
bodhi_releases = ["F42"]
[consumer_config.reconcile]
externals_seconds = 1
[consumer_config.buildah]
root = "{folder}/ours-storage"
runroot = "{folder}/ours-run"
storage_driver = "vfs"
isolation = "chroot"
state = "{folder}/our-builds"
"""
OLD, NEW = "openssl-libs-1:3.2.1-1.fc42.noarch", "openssl-libs-1:3.2.2-1.fc42.noarch"


class Site:
    """Our machine, and theirs, which builds the base and pushes it."""

    def __init__(self, theirs: Machine, registry: Registry) -> None:
        self.theirs, self.spec = theirs, f"{registry.host}/team/base:42"
        self.folder = theirs.folder
        self.pushed = 0
        for name, text in (("app", f"FROM {self.spec}\nRUN true\n"), ("sub", "FROM app\nRUN true\n")):
            (self.folder / "ours" / name).mkdir(parents=True)
            (self.folder / "ours" / name / "Containerfile").write_text(text)
        (self.folder / "config.toml").write_text(CONFIGURATION.format(folder=self.folder))
        self.storage = Storage(load(self.folder / "config.toml").buildah)

    def push(self) -> str:
        """They build the base on what their repository has now, and push it; its digest."""
        self.pushed += 1
        build = self.theirs.build("base", f"theirs-{self.pushed}")
        file = self.folder / "digest"
        command = self.theirs.storage.command("push", "-q", f"--digestfile={file}", build.ident, f"docker://{self.spec}")
        subprocess.run(command, check=True)
        return file.read_text()

    def types(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return shell.types("--config", str(self.folder / "config.toml"), *arguments, stdin=stdin)

    def asked(self, *arguments: str) -> Any:
        return json.loads(self.types(*arguments, "--json").stdout)

    def feed(self) -> None:
        sent = bus.update()
        message = {"id": sent.id, "topic": sent.topic, "headers": {}, "body": sent.body}
        assert self.types("replay", "-", stdin=json.dumps(message)).stdout.startswith("1 accepted")

    def works(self) -> int:
        return self.types("run", "--until-idle").returncode

    def rpms(self, name: str) -> set[str]:
        return {rpm.nevra for rpm in self.storage.manifest(f"localhost/{name}:f42").rpms}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    servers.need("buildah", "buildah", "busybox")
    servers.need("rpm", "rpm", "rpmbuild", "createrepo_c")
    with registries.registry(tmp_path / "registry") as registry, machine(tmp_path / "theirs") as theirs:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries.insecure(tmp_path, registry.host)))
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        yield Site(theirs, registry)


def test_ours_wait_for_the_base_and_stand_on_the_new_one_in_order_when_it_is_pushed(site: Site) -> None:
    old = site.push()
    assert site.types("inventory", "sync").returncode == 0
    for name in ("app", "sub"):
        assert site.types("rebuild", name).returncode == 0
        assert site.works() == 0
    assert site.rpms("app") == site.rpms("sub") == {OLD}
    before = site.storage.ids()
    site.feed()
    assert site.works() == 0
    assert site.storage.ids() == before
    for name in ("app", "sub"):
        (verdict,) = site.asked("why", f"{name}:f42")["not_rebuilt"]
        assert (verdict["verdict"], old[:19] in verdict["by"]) == ("waits-for-parent", True)
    site.theirs.offer("3.2.2")
    new = site.push()
    assert new != old
    assert site.works() == 0
    assert site.rpms("app") == site.rpms("sub") == {NEW}
    app, sub = (site.storage.inspect(f"localhost/{name}:f42") for name in ("app", "sub"))
    assert [pin.at for pin in app.externals] == [f"{site.spec.rpartition(':')[0]}@{new}"]
    assert sub.parents == (app.ident,)
    states = {rebuild["image"]: rebuild["state"] for rebuild in site.asked("wave", "3")["rebuilds"]}
    assert states == {"app:f42": "succeeded", "sub:f42": "succeeded"}


def test_where_any_digest_counts_the_command_line_tells_a_new_base_truly_before_and_after(site: Site) -> None:
    file = site.folder / "config.toml"
    text = file.read_text()
    file.write_text(text.replace("settle_seconds = 0\n", 'settle_seconds = 0\nexternal_changes = "digest"\n'))
    old = site.push()
    site.types("inventory", "sync")
    for name in ("app", "sub"):
        site.types("rebuild", name)
        assert site.works() == 0
    site.theirs.offer("3.2.2")
    new = site.push()
    planned = site.types("plan", "--base", site.spec).stdout
    assert planned.count(f"new base {site.spec}") == 2
    assert "2 left out" in site.types("plan", "--base", f"{site.spec}@{old}").stdout
    assert site.types("status", f"{site.spec}@{new}").returncode == 1
    site.types("inventory", "sync")
    assert "on an old base" in site.types("why", "sub").stdout
    assert site.works() == 0
    assert site.rpms("app") == site.rpms("sub") == {NEW}
    told = site.types("status", f"{site.spec}@{new[:19]}")
    assert (told.returncode, "2 of 2 images stand on it" in told.stdout) == (0, True)
    assert f"became {new[:19]}" in site.types("why", "sub").stdout
