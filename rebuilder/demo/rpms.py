"""Real RPMs and a repository of them, made in a moment."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from rebuilder.demo.process import Missing

SPEC = """Name: {source}
Epoch: {epoch}
Version: {version}
Release: {release}
Summary: {source} of the demonstration
License: MIT
BuildArch: noarch
%description
{source} of the demonstration.
{packages}
%install
{install}
"""
PACKAGE = """%package -n {name}
Summary: {name} of the demonstration
%description -n {name}
{name} of the demonstration.
%files -n {name}
/usr/share/{name}
"""


class SourcePackage(Struct, frozen=True):
    """A source package and the binary packages that are built from it."""

    source: str
    version: str
    release: str
    packages: tuple[str, ...]
    epoch: int = 0


def make(package: SourcePackage, folder: Path, work: Path) -> list[Path]:
    """Build the package with rpmbuild into `folder`; the paths of its RPMs. Raises Missing or RuntimeError."""
    work.mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    install = "\n".join(
        f"mkdir -p %{{buildroot}}/usr/share\necho {name} {package.version} > %{{buildroot}}/usr/share/{name}"
        for name in package.packages
    )
    packages = "\n".join(
        PACKAGE.format(name=name) if name != package.source else f"%files\n/usr/share/{name}"
        for name in package.packages
    )
    spec = work / f"{package.source}.spec"
    spec.write_text(
        SPEC.format(
            source=package.source, epoch=package.epoch, version=package.version, release=package.release,
            packages=packages, install=install,
        )
    )
    before = set(folder.glob("*.rpm"))
    run(["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {work}", "--define", f"_rpmdir {folder}",
         "--define", "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm", str(spec)])
    return sorted(set(folder.glob("*.rpm")) - before)


def index(folder: Path) -> None:
    """Make the folder's repository metadata, as createrepo_c does."""
    run(["createrepo_c", "--quiet", "--update", str(folder)])


def run(command: Sequence[str]) -> str:
    """Run a program of the system; what it prints. Raises Missing, or RuntimeError with its last words."""
    if shutil.which(command[0]) is None:
        raise Missing(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:2])} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout
