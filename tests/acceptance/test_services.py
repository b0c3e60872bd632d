"""The administrator's guide, followed word by word where systemd boots: from the wheel to images that are rebuilt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance.conftest import ROOT
from msgspec import Struct
from support import bus, servers
from support.booted import Booted, booted
from support.slowness import stretched

from rebuilder.demo import rootfs, rpms
from rebuilder.demo.broker import Broker
from rebuilder.demo.process import free_port
from rebuilder.demo.rpms import SourcePackage

GUIDE = ROOT / "docs" / "admin.md"
SERVICES = [f"rebuilder-{part}.service" for part in ("consumer", "engine", "publisher", "web")]
UNITS = [*SERVICES, "rebuilder-prune.timer", "rebuilder.target"]
BASE = "FROM scratch\nCOPY rootfs/ /\nRUN install-rpm openssl-libs\nRUN upgrade-all\n"
STOP_SECONDS = 10.0  # five that each part has, and what systemctl takes on a busy machine


def openssl(version: str) -> SourcePackage:
    return SourcePackage("openssl", version, "1.fc42", ("openssl-libs",), epoch=1)


def block(words: str) -> str:
    """The commands of the guide's one block with these words in it."""
    found = re.findall(r"^```\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    (commands,) = (text for text in found if words in text)
    return str(commands)


class Site(Struct, frozen=True):
    """A machine with the services, the folder of what its builds are made of, and the bus that it hears."""

    system: Booted
    folder: Path
    broker: Broker
    port: int

    def states(self) -> dict[str, str]:
        return {unit: self.system.state(unit) for unit in UNITS}

    def page(self, path: str) -> str:
        get = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"
        command = f"/opt/rebuilder/bin/python -c '{get}' http://127.0.0.1:{self.port}{path}"
        return self.system.run(command, status=None)

    def installed(self, image: str) -> list[str]:
        shown = json.loads(self.system.run(f"rebuilder inventory show {image} --json"))
        return list(shown["rpms"])


@pytest.fixture(scope="module")
def site(wheel: Path, broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An administrator's machine, set up by the guide, with `rebuilder init` before it and the drop-ins for buildah."""
    servers.need("buildah", "buildah", "busybox")
    servers.need("rpm", "rpm", "rpmbuild", "createrepo_c")
    folder, port = tmp_path_factory.mktemp("site"), free_port()
    rpms.make(openssl("3.2.1"), folder / "repo", folder / "rpmbuild")
    rootfs.make(folder / "containers" / "base" / "rootfs")
    (folder / "containers" / "httpd").mkdir()
    for name, text in (("base", BASE), ("httpd", "FROM base\nRUN upgrade-all\n")):
        (folder / "containers" / name / "Containerfile").write_text(text)
    with booted(folder, {str(folder / "repo"): "/repo", str(folder / "containers"): "/srv/containers"}) as system:
        system.install(wheel)
        answers = f"--path /srv/containers --stream f42 --broker {broker.amqp_url} --web 127.0.0.1:{port}"
        system.run(f"/opt/rebuilder/bin/rebuilder init --yes {answers}")
        system.run("sed -i 's|^# volumes.*|volumes = [\"/repo:/repo:ro\"]|' /etc/rebuilder/config.toml")
        system.run("/opt/rebuilder/bin/rebuilder inventory sync")
        start = "systemctl enable --now rebuilder.target\n"
        commands = block(start)
        assert commands.endswith(start)
        system.run(commands.removesuffix(start) + block("rebuilder-engine.service.d") + start)
        site = Site(system, folder, broker, port)
        bus.until(lambda: "<html" in site.page("/"), pause=1)
        bus.until(lambda: "engine: alive" in system.run("rebuilder status"), pause=1)
        yield site


def test_every_service_runs_and_only_the_images_that_nobody_built_yet_need_mending(site: Site) -> None:
    assert site.states() == dict.fromkeys(UNITS, "active")
    wrong = [one for one in json.loads(site.system.run("rebuilder doctor --json", status=1)) if not one["ok"]]
    assert [(one["about"], one["mend"]) for one in wrong] == [("images", "rebuilder rebuild --unknown")]


def test_the_engine_builds_within_what_its_unit_allows_and_a_message_brings_the_update_in(site: Site) -> None:
    site.system.run("rebuilder rebuild --unknown --yes --wait")
    assert site.installed("httpd:f42") == ["openssl-libs-1:3.2.1-1.fc42.noarch"]
    rpms.make(openssl("3.2.2"), site.folder / "repo", site.folder / "rpmbuild")
    with bus.channel(site.broker) as channel:
        bus.publish(channel, bus.update())
    bus.until(lambda: "wave 2 is finished" in site.system.journal("rebuilder-engine"), pause=0.5)
    assert site.installed("base:f42") == site.installed("httpd:f42") == ["openssl-libs-1:3.2.2-1.fc42.noarch"]
    assert site.system.run("rebuilder doctor").splitlines()[-1].startswith("all ")


def test_the_pages_show_the_log_of_a_build_that_root_made(site: Site) -> None:
    assert "openssl-libs-3.2.2-1.fc42.noarch" in json.loads(site.page("/api/v1/images/base:f42/log"))["text"]
    assert site.system.run("rebuilder log base").count("install-rpm openssl-libs") == 1


def test_what_belongs_to_the_services_is_not_readable_by_others(site: Site) -> None:
    places = "/var/lib/rebuilder /var/lib/rebuilder-buildah /etc/rebuilder"
    looking = f"runuser -u nobody -- find {places} -type f -readable"
    assert [line for line in site.system.run(looking, status=1).splitlines() if "Permission denied" not in line] == []
    owners = site.system.run("stat -c %U /var/lib/rebuilder /var/lib/rebuilder/rebuilder.db*").split()
    assert set(owners) == {"rebuilder"}


def test_the_timer_s_service_deletes_what_is_old(site: Site) -> None:
    site.system.run("systemctl start rebuilder-prune.service")
    assert "nothing" in site.system.journal("rebuilder-prune") or "deleted" in site.system.journal("rebuilder-prune")


def test_a_part_that_dies_is_started_again_and_all_end_at_once_when_they_are_told_to(site: Site) -> None:
    site.system.run("systemctl kill --signal=KILL rebuilder-web.service")
    bus.until(lambda: site.system.run("systemctl show --value --property=NRestarts rebuilder-web") == "1\n", pause=0.5)
    site.system.run("systemctl stop rebuilder.target")
    bus.until(lambda: site.states() == dict.fromkeys(UNITS, "inactive"), pause=0.2, patience=stretched(STOP_SECONDS))
