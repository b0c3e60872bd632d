"""Which platforms this machine can run commands for: its own, and those that the kernel hands to an emulator.

The kernel's binfmt_misc says which those are: a handler takes programs by the bytes that they begin with. Its flag F
means that the emulator was opened when it was registered, so that it is found from inside of images as well.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from rebuilder.domain.errors import InfrastructureError, RequestError
from rebuilder.domain.image import Image
from rebuilder.inventory import containerfile, tree_walk
from rebuilder.inventory.containerfile_stages import Options
from rebuilder.inventory.platforms import HERE

HANDLERS = Path("/proc/sys/fs/binfmt_misc")
# The class, byte order and machine in the head of an ELF program, by architecture.
PROGRAMS = {
    "386": (1, 1, 3), "amd64": (2, 1, 62), "arm": (1, 1, 40), "arm64": (2, 1, 183), "loong64": (2, 1, 258),
    "ppc64": (2, 2, 21), "ppc64le": (2, 1, 21), "riscv64": (2, 1, 243), "s390x": (2, 2, 22),
}  # fmt: skip
ALSO = {"linux/amd64": ("linux/386",)}  # what a machine runs besides
EXECUTABLE = 2
NEEDS = "this machine cannot run programs for {platform}: install qemu-user-static, or what registers it in binfmt_misc"


def normal(platform: str) -> str:
    """The platform without a variant that goes without saying: linux/arm64/v8 is linux/arm64."""
    return {"linux/arm64/v8": "linux/arm64", "linux/arm/v7": "linux/arm"}.get(platform, platform)


def can_run(platform: str, handlers: Path | None = None) -> bool:
    """Whether RUN works in builds for the platform (`os/architecture[/variant]`)."""
    target = normal(platform)
    if target == HERE or target in ALSO.get(HERE, ()):
        return True
    system, architecture = (*target.split("/"), "")[:2]
    head = _head(architecture) if system == "linux" else b""
    return bool(head) and any(_takes(handler, head) for handler in _handlers(handlers or HANDLERS))


def check_emulation(image: Image, file: Path, arguments: Mapping[str, str]) -> None:
    """Raises InfrastructureError where a RUN of the image's file does not work here for one of its platforms."""
    for platform in image.source.platforms:
        line = 0 if can_run(platform) else first_run(image, file, arguments, platform)
        if line:
            problem = f"{NEEDS.format(platform=platform)} (RUN in {file}:{line})"
            raise InfrastructureError(problem, arrived=False)


def first_run(image: Image, file: Path, arguments: Mapping[str, str], platform: str) -> int:
    """The line of the first RUN that the image's build for the platform carries out in that platform; 0 for none."""
    options = Options(arguments, image.source.target, platform)
    try:
        return containerfile.read(tree_walk.text_of(file, Path(image.source.path)), options).runs
    except (OSError, RequestError):
        return 0  # the build itself will say what is wrong with the file


def _head(architecture: str) -> bytes:
    """The first bytes of a program for the architecture."""
    if architecture not in PROGRAMS:
        return b""
    width, order, machine = PROGRAMS[architecture]
    numbers = struct.pack("<HH" if order == 1 else ">HH", EXECUTABLE, machine)
    return b"\x7fELF" + bytes((width, order, 1, 0)) + bytes(8) + numbers


def _handlers(folder: Path) -> Iterator[dict[str, str]]:
    """What is registered; nothing where binfmt_misc is not mounted."""
    try:
        if (folder / "status").read_text().strip() != "enabled":
            return
        files = [file for file in folder.iterdir() if file.name not in ("register", "status")]
    except OSError:
        return
    for file in files:
        try:
            lines = file.read_text().splitlines()
        except OSError:
            continue  # it was taken away just now
        yield {key.rstrip(":"): value for key, _, value in (line.partition(" ") for line in lines)}


def _takes(handler: Mapping[str, str], head: bytes) -> bool:
    if "enabled" not in handler or "F" not in handler.get("flags", "") or handler.get("offset", "0") != "0":
        return False
    magic = bytes.fromhex(handler.get("magic", ""))
    mask = bytes.fromhex(handler.get("mask", "")) or b"\xff" * len(magic)
    return bool(magic) and len(magic) <= len(head) and all(
        a & m == b & m for a, b, m in zip(magic, head, mask, strict=False)
    )
