"""This machine's platform, and the arguments that say for which one an image is built."""

from __future__ import annotations

from platform import machine

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386"}
ARCH = ARCHITECTURES.get(machine(), machine())
HERE = f"linux/{ARCH}"


def platform_arguments(target: str = "") -> dict[str, str]:
    """What BuildKit and buildah predefine for a build on this machine for that platform, which by default is its own.

    See docs.docker.com/reference/dockerfile, "Automatic platform ARGs in the global scope". A stage has them once it
    says so (ARG TARGETARCH).
    """
    arguments = {}
    for of, platform in (("TARGET", target or HERE), ("BUILD", HERE)):
        system, architecture, variant = (*platform.split("/", 2), "", "")[:3]
        parts = {"PLATFORM": platform, "OS": system, "ARCH": architecture, "VARIANT": variant}
        arguments.update({f"{of}{part}": value for part, value in parts.items()})
    return arguments
