"""Images for several platforms: a build for each, one list of them, proof over all; with real buildah and registry.

Images for a platform that is not this machine's have no RUN here, but where a handler of the kernel's emulates it.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import registries, servers
from support.buildah_world import Machine, ended, machine, until
from support.registries import DATABASE, Registry

from rebuilder.builders import emulation
from rebuilder.builders.local_images import LocalImages
from rebuilder.config import Settings
from rebuilder.demo import rootfs
from rebuilder.domain.build import BuildRejected, BuildRequest, Phase, Status
from rebuilder.domain.checks import ImageTest, TestRequest
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.image import ImageBuild
from rebuilder.inventory import buildah
from rebuilder.inventory.buildah_cli import StorageError
from rebuilder.registry import skopeo
from rebuilder.registry.document import parse
from rebuilder.registry.push import Remote
from rebuilder.registry.reader import RegistryReader

AMD, ARM = "linux/amd64", "linux/arm64"
FOREIGN = "linux/s390x"  # nothing emulates it in these tests
OPENSSL, HTTPD = "openssl-libs-3.2.1-1.fc42", "httpd-2.4.62-1.fc42"
BOTH = 'platforms = ["linux/amd64", "linux/arm64"]\n'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    servers.need("buildah", "buildah", "busybox")
    servers.need("rpm", "rpm", "rpmbuild", "createrepo_c")
    with machine(tmp_path_factory.mktemp("platforms")) as made:
        yield made


def write(world: Machine, name: str, text: str, settings: str = BOTH, **databases: tuple[str, ...]) -> None:
    """An image whose folder has a real RPM database for each architecture."""
    world.write(name, text)
    folder = world.folder / "images" / name
    (folder / "rebuilder.toml").write_text(settings)
    for architecture, nvrs in databases.items():
        place = folder / architecture / DATABASE
        place.mkdir(parents=True, exist_ok=True)
        for file, data in registries.rpm_database(nvrs).items():
            (place / file).write_bytes(data)


def write_base(world: Machine, name: str = "multi") -> None:
    text = "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH/ /\n"
    write(world, name, text, amd64=(OPENSSL,), arm64=(OPENSSL, HTTPD))


@pytest.fixture(scope="module")
def base(world: Machine) -> ImageBuild:
    write_base(world)
    return world.build("multi", "multi-1")


def rpms(build: ImageBuild) -> set[str]:
    assert build.manifest is not None
    return {rpm.name for rpm in build.manifest.rpms}


def test_a_build_is_a_list_with_an_image_for_each_platform_and_what_is_in_all_of_them(
    world: Machine, base: ImageBuild
) -> None:
    found = world.storage.inspect(base.ident)
    assert (found.platforms, len(found.parts), found.key) == ((AMD, ARM), 2, "multi-1")
    assert rpms(base) == {"openssl-libs", "httpd"}
    assert {rpm.name for rpm in world.storage.manifest(found.parts[0]).rpms} == {"openssl-libs"}
    settings = Settings.model_validate({
        "buildah": world.settings.model_dump(), "inventory": {"source": "containerfiles", "stream": "f42",
                                                              "path": world.folder / "images"},
    })  # fmt: skip
    stored = {build.image: build for build in buildah.read(settings).builds}["multi:f42"]
    assert (stored.ident, stored.manifest) == (base.ident, base.manifest)


def test_each_platform_of_a_child_stands_on_that_platform_of_its_parent(world: Machine, base: ImageBuild) -> None:
    write(world, "child", "FROM multi\nCOPY Containerfile /c\n")
    child = world.build("child", "child-1", (base,))
    assert (child.parents, rpms(child)) == ((base.ident,), rpms(base))
    above, below = world.storage.inspect(child.ident), world.storage.inspect(base.ident)
    for one, under in zip(above.parts, below.parts, strict=True):
        assert world.storage.manifest(one) == world.storage.manifest(under)
        assert world.storage.inspect(one).layers[:1] == world.storage.inspect(under).layers


def test_a_parent_without_a_platform_is_refused_and_never_taken_for_it(world: Machine, base: ImageBuild) -> None:
    write(world, "wide", "FROM multi\n", 'platforms = ["linux/amd64", "linux/s390x"]\n')
    with pytest.raises(BuildRejected, match=r"multi:f42 is not built for linux/s390x: add it to its platforms"):
        world.builder().submit(BuildRequest("wide-1", world.image("wide"), (base,)))
    assert world.builder().find(["wide-1"]) == {}


def test_one_index_is_pushed_and_found_again_by_the_key_of_its_build(
    world: Machine, base: ImageBuild, registry: Registry, without_tls: None, reader: RegistryReader
) -> None:
    spec = f"{registry.host}/team/multi:1"
    digest = world.builder().upload(base.ident, spec, None, 60)
    raw = skopeo.raw_manifest(spec, 20)
    index = parse(raw, spec)
    assert (index.digest, set(index.platforms)) == (digest, {AMD, ARM})
    assert json.loads(raw)["mediaType"] == registries.INDEX
    for platform, names in ((AMD, {"openssl-libs"}), (ARM, {"openssl-libs", "httpd"})):
        found = reader.contents(reader.resolve(spec), platform)
        assert {rpm.name for rpm in found.rpms or ()} == names
        one = json.loads(skopeo.raw_manifest(f"{spec.rpartition(':')[0]}@{index.platforms[platform]}", 20))
        assert one["annotations"]["rebuilder.key"] == "multi-1"
    remote = Remote(None, 60, 60)
    assert remote.digest_of(spec, "multi-1") == digest
    assert remote.digest_of(spec, "another") == ""
    remote.copy(f"{registry.host}/team/multi@{digest}", f"{registry.host}/mirror/multi:2")
    assert parse(skopeo.raw_manifest(f"{registry.host}/mirror/multi:2", 20), spec).digest == digest


def test_an_index_without_an_image_for_this_machine_is_an_image_like_others(
    world: Machine, registry: Registry, without_tls: None
) -> None:
    write(world, "far", "FROM scratch\nCOPY Containerfile /c\n", 'platforms = ["linux/arm64", "linux/s390x"]\n')
    built = world.build("far", "far-1")
    spec = f"{registry.host}/team/far:1"
    digest = world.builder().upload(built.ident, spec, None, 60)
    assert Remote(None, 60, 60).digest_of(spec, "far-1") == digest
    assert set(parse(skopeo.raw_manifest(spec, 20), spec).platforms) == {ARM, FOREIGN}


def test_a_broken_build_for_one_platform_breaks_the_build_and_says_which(world: Machine) -> None:
    write(world, "torn", "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH/ /\n", amd64=(OPENSSL,))
    builder = world.builder()
    builder.submit(BuildRequest("torn-1", world.image("torn")))
    status = ended(builder, "torn-1")
    log = "".join(builder.log("torn-1"))
    assert status.phase is Phase.FAILED
    assert "arm64" in status.reason
    assert log.index("for linux/amd64:") < log.index("for linux/arm64:")


def test_what_cannot_be_run_here_is_this_machine_s_trouble_and_never_the_image_s(
    world: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulation, "HANDLERS", tmp_path)
    write(world, "running", "FROM scratch\nCOPY Containerfile /c\nRUN true\n", 'platforms = "linux/s390x"\n')
    with pytest.raises(InfrastructureError, match=r"programs for linux/s390x.*RUN in .*Containerfile:3") as error:
        world.builder().submit(BuildRequest("running-1", world.image("running")))
    assert not error.value.arrived


def test_old_builds_go_with_the_images_of_all_their_platforms_and_no_other_does(world: Machine) -> None:
    builds = []
    for number in (1, 2, 3):
        write_base(world, "aging")
        for architecture in ("amd64", "arm64"):
            (world.folder / "images/aging" / architecture / "version").write_text(f"{number}")
        builds.append(world.build("aging", f"aging-{number}"))
    parts = {build.ident: set(world.storage.inspect(build.ident).parts) for build in builds}
    write(world, "onold", "FROM aging\nCOPY Containerfile /c\n")
    world.build("onold", "onold-1", (builds[1],))

    def there() -> set[str]:
        return {image.ident for image in world.storage.images()}

    images = LocalImages(world.storage, world.folder / "builds")
    images.prune(1, lambda keys: [key for key in keys if key.startswith("aging")])
    gone, stood_on, current = builds
    assert not there() & {gone.ident, *parts[gone.ident]}
    assert there() >= {stood_on.ident, *parts[stood_on.ident], current.ident, *parts[current.ident]}
    subprocess.run(world.storage.command("rmi", "localhost/rebuilder/aging/linux-arm64:aging-3"), check=True,
                   capture_output=True)  # fmt: skip
    with pytest.raises(StorageError, match="not all images of the list"):
        world.storage.inspect(current.ident)


EMULATED = """\
set -e
read mapped
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
if [ -n "$1" ]; then
    printf '%s' ":arm64:M::$MAGIC:$MASK:$1:F" > /proc/sys/fs/binfmt_misc/register
fi
exec "$2" -c '
import sys
from pathlib import Path
from support.buildah_world import ended
from rebuilder.builders.buildah import BuildahBuilder
from rebuilder.config import BuildahSettings
from rebuilder.domain.build import BuildRequest
from rebuilder.domain.errors import InfrastructureError
from rebuilder.inventory import containerfiles

settings = BuildahSettings.model_validate_json(sys.argv[1])
image = next(one for one in containerfiles.read(Path(sys.argv[2]), "f42") if one.name == "emulated")
builder = BuildahBuilder(settings)
try:
    builder.submit(BuildRequest(sys.argv[3], image))
except InfrastructureError as error:
    sys.exit(str(error))
status = ended(builder, sys.argv[3])
sys.exit(0 if status.phase == "succeeded" else status.reason)
' "$3" "$4" "$5"
"""
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
QEMU = "qemu-aarch64-static"


def arm_program(status: int) -> bytes:
    """A program for arm64 that ends with a status, in three instructions."""
    code = struct.pack("<III", 0xD2800000 | status << 5, 0xD2800BA8, 0xD4000001)  # mov x0, status; mov x8, 93; svc 0
    place, size = 0x400000, 120 + len(code)
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, place + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return head + struct.pack("<IIQQQQQQ", 1, 5, 0, place, place, size, size, 4096) + code


def in_a_namespace(command: list[str]) -> tuple[int, str]:
    """Run as root of a user namespace, once all users are mapped into it: its status, and its standard error."""
    environment = {**os.environ, "MAGIC": MAGIC, "MASK": MASK, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.Popen(["unshare", "--user", "--mount", *command], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, env=environment)  # fmt: skip
    ours, theirs = Path("/proc/self/ns/user"), Path(f"/proc/{child.pid}/ns/user")
    until(lambda: theirs.readlink() != ours.readlink())
    for kind in ("uid_map", "gid_map"):
        Path(f"/proc/{child.pid}/{kind}").write_text("0 0 65536")
    _, told = child.communicate("yes\n", timeout=120)
    return child.returncode, told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root maps all users into a namespace")
@pytest.mark.parametrize(("handler", "status", "expected"), [
    (QEMU, 0, ""), (QEMU, 3, "exit status 3"), ("", 0, "cannot run programs for linux/arm64"),
])  # fmt: skip
def test_run_for_another_platform_works_where_the_kernel_has_an_emulator_for_it(
    world: Machine, handler: str, status: int, expected: str
) -> None:
    """In a user namespace of its own, whose handlers are nobody else's."""
    servers.need("emulation", QEMU, "unshare")
    key = f"emulated-{handler or 'not'}-{status}"
    write(world, "emulated", 'FROM scratch\nCOPY program /program\nRUN ["/program"]\n', 'platforms = "linux/arm64"\n')
    program = world.folder / "images/emulated/program"
    program.write_bytes(arm_program(status))
    program.chmod(0o755)
    place = str(shutil.which(handler)) if handler else ""
    given = world.settings.model_dump_json(), str(world.folder / "images"), key
    ended_with, told = in_a_namespace(["sh", "-c", EMULATED, "sh", place, sys.executable, *given])
    assert (bool(ended_with), expected in told) == (bool(expected), True), told


def outcome(world: Machine, build: ImageBuild, key: str, *command: str) -> Status:
    builder, request = world.builder(), TestRequest(key, build.image, build.ident, ImageTest(command=command))
    return until(lambda: (status := builder.test(request)).phase is not Phase.RUNNING and status)


def test_an_image_is_tested_for_each_of_its_platforms(world: Machine) -> None:
    """This machine runs both by itself; the program in them is the same."""
    write(world, "tested", "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH/ /\n",
          'platforms = ["linux/amd64", "linux/386"]\n')  # fmt: skip
    for architecture in ("amd64", "386"):
        rootfs.make(world.folder / "images/tested" / architecture)
    built = world.build("tested", "tested-1")
    assert outcome(world, built, "tested-1", "/bin/true").phase is Phase.SUCCEEDED
    for architecture, name in (("amd64", "first"), ("386", "second")):
        (world.folder / "images/tested" / architecture / "bad").write_text("")
        bad = world.build("tested", f"tested-{name}")
        assert outcome(world, bad, f"tested-{name}", "/bin/test", "!", "-e", "/bad").phase is Phase.FAILED
        (world.folder / "images/tested" / architecture / "bad").unlink()
    containers = subprocess.check_output(world.storage.command("containers", "-q"))
    assert containers == b""


def test_what_this_machine_cannot_run_is_not_tested_and_has_not_failed(
    world: Machine, base: ImageBuild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulation, "HANDLERS", tmp_path)
    with pytest.raises(InfrastructureError, match=r"multi:f42 cannot be tested for all of its.*linux/arm64"):
        outcome(world, base, "multi-1", "/bin/true")
