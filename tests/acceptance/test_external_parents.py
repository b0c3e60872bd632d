"""The base is somebody else's: what rebuilds do before and after it has the update, with all parts real."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import registries, servers, shell
from support.buildah_world import CONFIGURATION, Machine, machine
from support.registries import Registry


class Owner:
    """Somebody with images app and sub, app on a base in a registry, and sub on app."""

    def __init__(self, world: Machine, registry: Registry) -> None:
        self.world, self.registry = world, registry
        self.spec = f"{registry.host}/team/base:42"
        self.pushed = 0

    def push_base(self) -> None:
        """The owners of the base build it from what the repository has now, elsewhere, and push it."""
        self.pushed += 1
        build = self.world.build("base", f"theirs-{self.pushed}")
        subprocess.run(self.world.storage.command("push", "-q", build.ident, f"docker://{self.spec}"), check=True)

    def write_images(self) -> None:
        images = self.world.folder / "images"
        (images / "base").rename(self.world.folder / "theirs")
        self.world.write("app", f"FROM {self.spec}\nRUN true\n")
        self.world.write("sub", "FROM app:f42\nRUN true\n")

    def lend_base(self) -> None:
        """The folder of the base is in the tree only while its owners build it."""
        (self.world.folder / "theirs").rename(self.world.folder / "images/base")
        self.push_base()
        (self.world.folder / "images/base").rename(self.world.folder / "theirs")

    def types(self, *arguments: str) -> str:
        done = shell.types("--config", str(self.world.folder / "config.toml"), *arguments)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def reads(self, *arguments: str) -> Any:
        return json.loads(self.types(*arguments, "--json"))

    def versions(self) -> dict[str, list[str]]:
        return {name: self.reads("inventory", "show", name)["rpms"] for name in ("app:f42", "sub:f42")}


@pytest.fixture
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Owner]:
    servers.need("buildah", "buildah", "busybox")
    servers.need("rpm", "rpm", "rpmbuild", "createrepo_c")
    with registries.registry(tmp_path / "registry") as registry, machine(tmp_path) as world:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries.insecure(tmp_path, registry.host)))
        found = Owner(world, registry)
        (tmp_path / "config.toml").write_text(CONFIGURATION.format(folder=tmp_path))
        found.push_base()
        found.write_images()
        yield found


OLD, NEW = "openssl-libs-1:3.2.1-1.fc42.noarch", "openssl-libs-1:3.2.2-1.fc42.noarch"


def test_images_wait_for_the_base_and_are_rebuilt_in_order_when_it_is_pushed(owner: Owner, tmp_path: Path) -> None:
    assert "external parents: 1 asked for, 1 new" in owner.types("inventory", "sync")
    owner.types("rebuild", "app:f42", "sub:f42", "--yes")
    owner.types("run", "--until-idle")
    assert owner.versions() == {"app:f42": [OLD], "sub:f42": [OLD]}
    before = {name: owner.reads("inventory", "show", name)["build"] for name in ("app:f42", "sub:f42")}

    owner.world.offer("3.2.2")
    (tmp_path / "messages").write_text(json.dumps(MESSAGE) + "\n")
    owner.types("replay", str(tmp_path / "messages"))
    owner.types("run", "--until-idle")
    for name in ("app:f42", "sub:f42"):
        (told,) = owner.reads("why", name)["not_rebuilt"]
        assert (told["verdict"], told["parent"]["spec"]) == ("waits-for-parent", owner.spec)
        assert f"waits for its parent {owner.spec} (sha256:" in owner.types("why", name)
        assert owner.reads("inventory", "show", name)["build"] == before[name], "nothing pointless was built"

    owner.lend_base()
    plan = owner.reads("plan", "--base", owner.spec)
    assert [rebuild["image"] for rebuild in plan["rebuilds"]] == ["app:f42", "sub:f42"]
    assert "1 new" in owner.types("inventory", "sync")
    owner.types("run", "--until-idle")
    assert owner.versions() == {"app:f42": [NEW], "sub:f42": [NEW]}
    (external,) = owner.reads("inventory", "list", "--external")
    assert external["images"] == ["app:f42"]
    shown = owner.reads("inventory", "show", owner.spec)
    assert (shown["digest"], list(shown["rpms"].values())) == (external["digest"], [[NEW]])
    assert shown["previous"] not in (None, shown["digest"])
    stands_on = owner.reads("inventory", "show", "app:f42")["externals"]
    assert stands_on == {owner.spec: f"{owner.spec.rpartition(':')[0]}@{shown['digest']}"}
    states = [rebuild["state"] for name in ("app:f42", "sub:f42") for rebuild in owner.reads("why", name)["rebuilds"]]
    assert states == ["succeeded"] * 4


MESSAGE = {
    "id": "5b1c7a86-ef0f-4c8a-9a77-3a2a3b1f8d55",
    "topic": "org.fedoraproject.prod.bodhi.update.complete.stable",
    "headers": {},
    "body": {
        "update": {
            "alias": "FEDORA-2026-1", "builds": [{"nvr": "openssl-3.2.2-1.fc42", "epoch": 1}], "status": "stable",
            "request": None, "release": {"name": "F42"}, "user": {"name": "kasal"}, "severity": "high",
            "type": "security", "content_type": "rpm",
        }
    },
}  # fmt: skip
