"""What the kernel says of emulators decides which platforms this machine builds for."""

from __future__ import annotations

from pathlib import Path

import pytest

from rebuilder.builders.emulation import can_run, normal
from rebuilder.inventory import containerfile
from rebuilder.inventory.containerfile_stages import Options
from rebuilder.inventory.platforms import HERE

ARM64 = """\
enabled
interpreter /usr/bin/qemu-aarch64-static
flags: OCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""


@pytest.fixture
def handlers(tmp_path: Path) -> Path:
    (tmp_path / "status").write_text("enabled\n")
    (tmp_path / "register").touch()
    (tmp_path / "python").write_text("enabled\ninterpreter /usr/bin/python\nflags: \noffset 0\nextension .py\n")
    (tmp_path / "qemu-aarch64").write_text(ARM64)
    return tmp_path


def test_a_platform_with_an_emulator_is_one_that_commands_run_for(handlers: Path) -> None:
    assert can_run("linux/arm64", handlers)
    assert can_run("linux/arm64/v8", handlers)
    assert not can_run("linux/s390x", handlers)
    assert not can_run("linux/arm", handlers)
    assert not can_run("windows/arm64", handlers)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("enabled\n", "disabled\n"),
        ("flags: OCF", "flags: OC"),  # it is looked for inside of the image
        ("b700", "b800"),
        ("magic 7f454c46", "magic 7f454c47"),
        ("offset 0", "offset 4"),
    ],
)
def test_a_handler_that_does_not_take_its_programs_in_images_counts_for_none(
    handlers: Path, before: str, after: str
) -> None:
    (handlers / "qemu-aarch64").write_text(ARM64.replace(before, after))
    assert not can_run("linux/arm64", handlers)


def test_without_binfmt_misc_only_its_own_platform_is_run(handlers: Path, tmp_path: Path) -> None:
    (handlers / "status").write_text("disabled\n")
    assert not can_run("linux/arm64", handlers)
    assert not can_run("linux/arm64", tmp_path / "missing")
    assert can_run(HERE, tmp_path / "missing")


def test_variants_that_go_without_saying_are_left_out() -> None:
    assert [normal(name) for name in ("linux/arm64/v8", "linux/arm/v7", "linux/arm/v6")] == [
        "linux/arm64", "linux/arm", "linux/arm/v6",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "target", "line"),
    [
        ("FROM scratch\nCOPY a /a\n", "", 0),
        ("FROM scratch\nCOPY a /a\nRUN true\nRUN false\n", "", 3),
        ("FROM --platform=$BUILDPLATFORM go AS b\nRUN go build\nFROM scratch\nCOPY --from=b /a /a\n", "", 0),
        ("FROM golang AS build\nRUN go build\nFROM scratch\nCOPY --from=build /a /a\n", "", 2),
        ("FROM golang AS build\nRUN go build\nFROM scratch\nCOPY a /a\n", "", 0),
        ("FROM --platform=$BUILDPLATFORM go AS a\nFROM a AS b\nRUN x\nFROM scratch\nCOPY --from=b /a /a\n", "", 0),
        ("FROM scratch AS plain\nFROM plain\nRUN true\n", "plain", 0),
    ],
)
def test_the_first_command_for_another_platform_is_found(text: str, target: str, line: int) -> None:
    assert containerfile.read(text, Options(target=target, platform="linux/s390x")).runs == line
