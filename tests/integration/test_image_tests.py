"""Tests of new images by buildah: what they may do, what their end means, and what is left of them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import servers
from support.buildah_world import Machine, machine, until

from rebuilder.builders.buildah import BuildahBuilder
from rebuilder.domain.build import Phase, Status
from rebuilder.domain.checks import ImageTest, TestRequest
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.image import ImageBuild

NETWORKS = "test $(grep -c : /proc/net/dev) -gt 1"  # more than the loopback


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    servers.need("buildah", "buildah", "busybox")
    servers.need("rpm", "rpm", "rpmbuild", "createrepo_c")
    with machine(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture(scope="module")
def base(world: Machine) -> ImageBuild:
    return world.build("base", "the-base")


@pytest.fixture
def builder(world: Machine) -> BuildahBuilder:
    return world.builder()


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[-40:].strip("-")


@pytest.fixture
def run(builder: BuildahBuilder, base: ImageBuild, key: str) -> Callable[..., Status]:
    """Run a test to its end."""

    def run(*command: str, again: bool = False, **more: object) -> Status:
        wanted = request(key, base, *command, **more)
        builder.test(wanted, again=again)
        return until(lambda: (status := builder.test(wanted)).phase is not Phase.RUNNING and status)

    return run


def request(key: str, base: ImageBuild, *command: str, **more: object) -> TestRequest:
    return TestRequest(key, base.image, base.ident, ImageTest(command, **more))  # type: ignore[arg-type]


def containers(world: Machine) -> str:
    return subprocess.check_output(world.storage.command("containers", "--json"), text=True)


def test_a_command_runs_in_the_new_image_and_what_it_prints_is_kept(
    world: Machine, builder: BuildahBuilder, run: Callable[..., Status], key: str
) -> None:
    assert run("sh", "-c", "ls /var/lib/rpm && echo all is well").phase is Phase.SUCCEEDED
    text = "".join(builder.test_log(key))
    assert text.splitlines()[-1] == "all is well"
    assert len(text.splitlines()) > 1, "its RPM database is there"
    assert "".join(builder.test_log(key, len(text) - 5)) == "well\n"
    assert "rebuilder-test" not in containers(world)


def test_a_test_that_says_no_has_failed_and_its_last_words_are_told(run: Callable[..., Status]) -> None:
    status = run("sh", "-c", "echo connection refused; exit 7")
    assert status == Status(Phase.FAILED, "connection refused: exit status 7")


@pytest.mark.parametrize("status", [125, 137, 255])
def test_whatever_status_a_test_ends_with_it_is_its_own(run: Callable[..., Status], status: int) -> None:
    assert run("sh", "-c", f"exit {status}") == Status(Phase.FAILED, f"exit status {status}")


def test_a_command_that_the_image_does_not_have_is_the_test_s_fault(run: Callable[..., Status]) -> None:
    status = run("/no/such/command")
    assert status.phase is Phase.FAILED
    assert "/no/such/command" in status.reason


def test_a_test_has_no_network_unless_it_is_to_have_one(run: Callable[..., Status]) -> None:
    if not Path("/proc/net/dev").read_text().count(":") > 1:
        pytest.skip("this machine has no network")
    assert run("sh", "-c", NETWORKS).phase is Phase.FAILED


def test_a_test_that_is_to_have_the_network_has_it(run: Callable[..., Status]) -> None:
    if not Path("/proc/net/dev").read_text().count(":") > 1:
        pytest.skip("this machine has no network")
    assert run("sh", "-c", NETWORKS, network=True).phase is Phase.SUCCEEDED


@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_script_of_the_machine_runs_in_the_image(
    run: Callable[..., Status], builder: BuildahBuilder, key: str, tmp_path: Path, mode: int
) -> None:
    script = tmp_path / "smoke.sh"
    script.write_text("#!/bin/sh\ntest -e /var/lib/rpm && echo smoke\n")
    script.chmod(mode)
    assert run(script=str(script)).phase is Phase.SUCCEEDED
    assert "".join(builder.test_log(key)) == "smoke\n"


def test_what_a_test_does_to_the_image_is_gone_with_it(run: Callable[..., Status]) -> None:
    assert run("sh", "-c", "test ! -e /spoiled && touch /spoiled").phase is Phase.SUCCEEDED


def test_an_image_that_is_gone_is_no_fault_of_the_test_and_it_is_run_again(
    builder: BuildahBuilder, base: ImageBuild, key: str
) -> None:
    gone = TestRequest(key, base.image, "0" * 64, ImageTest(("true",)))
    builder.test(gone)
    status = until(lambda: (found := builder.test(gone)).phase is not Phase.RUNNING and found)
    assert status.phase is Phase.ABORTED
    assert "the test could not be run" in status.reason
    there = request(key, base, "true")
    assert builder.test(there).phase is Phase.ABORTED, "nobody has asked for it again"
    builder.test(there, again=True)
    status = until(lambda: (found := builder.test(there, again=True)).phase is not Phase.RUNNING and found)
    assert status.phase is Phase.SUCCEEDED


def test_a_machine_without_networks_of_its_own_says_so(
    run: Callable[..., Status], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "unshare"
    tool.write_text("#!/bin/sh\necho 'unshare: unshare failed: Operation not permitted' >&2; exit 1\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    status = run("true")
    assert status.phase is Phase.ABORTED
    assert "Operation not permitted" in status.reason


def test_a_test_that_is_stopped_leaves_no_process_and_no_container(
    world: Machine, builder: BuildahBuilder, base: ImageBuild, key: str
) -> None:
    wanted = request(key, base, "sh", "-c", "echo begun; sleep 1000")
    builder.test(wanted)
    until(lambda: "begun" in "".join(builder.test_log(key)))
    assert builder.test(wanted).begun is not None
    builder.stop_test(key, "over its time limit of 1 s")
    assert builder.test(wanted) == Status(Phase.FAILED, "over its time limit of 1 s")
    assert not any(b"sleep\x001000" in (path / "cmdline").read_bytes() for path in processes())
    assert "rebuilder-test" not in containers(world)


def processes() -> list[Path]:
    return [path for path in Path("/proc").glob("[0-9]*") if (path / "cmdline").exists()]


def test_a_test_goes_on_without_the_process_that_began_it_and_is_found_again(
    world: Machine, builder: BuildahBuilder, base: ImageBuild, key: str
) -> None:
    wanted = request(key, base, "sh", "-c", "sleep 1; echo done")
    builder.test(wanted)
    other = world.builder()
    assert other.test(wanted).phase is Phase.RUNNING
    status = until(lambda: (found := other.test(wanted)).phase is not Phase.RUNNING and found)
    assert (status.phase, "".join(other.test_log(key))) == (Phase.SUCCEEDED, "done\n")


def test_a_test_whose_processes_were_killed_has_said_nothing(
    builder: BuildahBuilder, base: ImageBuild, key: str, world: Machine
) -> None:
    wanted = request(key, base, "sh", "-c", "echo begun; sleep 1000")
    builder.test(wanted)
    until(lambda: "begun" in "".join(builder.test_log(key)))
    group = int((world.folder / "builds" / key / "test" / "started").read_text())
    os.killpg(group, 9)
    status = until(lambda: (found := builder.test(wanted)).phase is not Phase.RUNNING and found)
    assert status == Status(Phase.ABORTED, "the test's process vanished")
    again = request(key, base, "true")
    builder.test(again, again=True)
    status = until(lambda: (found := builder.test(again, again=True)).phase is not Phase.RUNNING and found)
    assert status.phase is Phase.SUCCEEDED
    assert "rebuilder-test" not in containers(world)


def test_a_machine_without_buildah_is_in_trouble_and_no_test_has_failed(
    run: Callable[..., Status], builder: BuildahBuilder, base: ImageBuild, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InfrastructureError, match="the test of base:f42 cannot be started: buildah is not installed"):
        builder.test(request(key, base, "true"))
