"""`rebuilder plan --base`: what a build of somebody else's image would rebuild, asked of the database or a server."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import bus, registries, shell
from support.registries import Registry, layer, with_rpms

from rebuilder.demo.process import LOOPBACK, free_port

OLD, NEW = "openssl-3.2.1-1.fc42", "openssl-3.2.2-1.fc42"
UNREADABLE = {f"{registries.DATABASE}/Packages.db": b"RpmP" + b"\0" * 4096}


class Site:
    """Two images on a base in a registry, which has builds of it that nobody has taken up; and a server."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.spec, self.port = f"{registry.host}/team/base:42", free_port()
        registry.push("team/base:42", [with_rpms(OLD)])
        self.new = registry.push("team/base:next", [with_rpms(NEW)])
        self.unreadable = registry.push("team/base:unreadable", [layer(UNREADABLE)])
        images = [{"name": name, "stream": "f42", "parents": [parent], "rpms": [f"{OLD}.noarch"]}
                  for name, parent in (("app", {"external": self.spec}), ("sub", "app"))]  # fmt: skip
        (folder / "inventory.json").write_text(json.dumps({"version": 1, "images": images}))
        self.config = folder / "config.toml"
        self.config.write_text(
            f'[consumer_config]\ndatabase_url = "sqlite:///{folder}/r.db"\nbuilder = "simulated"\n'
            f'web = {{host = "{LOOPBACK}", port = {self.port}}}\n'
            f'[consumer_config.inventory]\nsource = "file"\npath = "{folder}/inventory.json"\n'
            '[consumer_config.streams.f42]\ndist = ".fc42"\n'
        )
        assert self.types("inventory", "sync").returncode == 0

    def types(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return shell.types("--config", str(self.config), *arguments)

    def listens(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port), 1).close()
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("plan-base")
    with pytest.MonkeyPatch.context() as patch, registries.registry(folder / "registry") as registry:
        patch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries.insecure(folder, registry.host)))
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        found = Site(folder, registry)
        quiet = subprocess.DEVNULL
        with subprocess.Popen(shell.argv("--config", str(found.config), "web"), stdout=quiet, stderr=quiet) as web:
            bus.until(lambda: web.poll() is None and found.listens())
            yield found
            web.terminate()


@pytest.mark.parametrize("more", [(), ("--explain",), ("--json",), ("--descendants", "all", "--json")], ids=" ".join)
def test_a_server_says_of_a_base_what_the_database_says(site: Site, more: tuple[str, ...]) -> None:
    asked = "plan", "--base", f"{site.spec}@{site.new}", *more
    mine, theirs = site.types(*asked), site.types(*asked, "--server", f"http://{LOOPBACK}:{site.port}")
    assert "app:f42" in mine.stdout and "sub:f42" in mine.stdout
    assert (theirs.returncode, theirs.stdout, theirs.stderr) == (0, mine.stdout, mine.stderr)
    nothing = site.types("plan", "--base", site.spec, "--server", f"http://{LOOPBACK}:{site.port}")
    assert "nothing to rebuild" in nothing.stdout


def test_an_update_that_waits_for_the_base_is_told_by_a_server_with_the_base_that_it_waits_for(site: Site) -> None:
    asked = "plan", "--update", NEW, "--explain"
    mine, theirs = site.types(*asked), site.types(*asked, "--server", f"http://{LOOPBACK}:{site.port}")
    assert site.spec in mine.stdout and "app:f42" in mine.stdout
    assert theirs.stdout == mine.stdout
    as_json = [site.types(*asked, "--json", *at).stdout for at in ((), ("--server", f"http://{LOOPBACK}:{site.port}"))]
    assert '"parent"' in as_json[0] and as_json[0] == as_json[1]


@pytest.mark.parametrize("of_server", [False, True], ids=["database", "server"])
@pytest.mark.parametrize(("base", "status", "told"), [
    ("{spec}@sha256:123", 2, "not a digest: 'sha256:123'"),
    ("{spec}@", 2, "not a digest: ''"),
    ("{spec}@md5:{zeros}", 2, "not a digest"),
    ("{spec}@sha256:{zeros}", 3, "no such image"),
    ("{spec}@{unreadable}", 2, "is unknown (linux/amd64: "),
    ("elsewhere.example.com/base:42", 2, "no image is built on elsewhere.example.com/base:42"),
    ("evil\x1b[2J.example.com/x", 2, "no image is built on evil"),
])  # fmt: skip
def test_a_base_that_cannot_be_planned_on_is_told_in_one_line(
    site: Site, base: str, status: int, told: str, of_server: bool
) -> None:
    asked = base.format(spec=site.spec, zeros="0" * 64, unreadable=site.unreadable)
    done = site.types("plan", "--base", asked, *(("--server", f"http://{LOOPBACK}:{site.port}") if of_server else ()))
    assert (done.returncode, len(done.stderr.splitlines()), done.stdout) == (status, 1, ""), done.stderr
    assert told in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("more", [("--server", "http://127.0.0.1:1", "--inventory", "x.json"), ("--base", "x/y:1"), ()])
def test_what_goes_not_together_is_a_usage_error(site: Site, more: tuple[str, ...]) -> None:
    done = site.types("plan", *(("--update", NEW) if more else ()), *more)
    assert done.returncode == 2
    assert "cannot be combined" in done.stderr
