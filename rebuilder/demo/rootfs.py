"""A base root file system with a shell and a real rpm, from this machine's own programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from rebuilder.demo.process import Missing

PROGRAMS = ("/usr/bin/rpm", "/bin/bash")
DATABASE = "/var/lib/rpm"

# Installs the newest RPM of each package named, from the repository mounted at /repo, or updates to it; what is newer
# already stays. rpm itself picks the newest of several, by epoch too.
INSTALL = f"""#!/bin/bash
set -e
shopt -s nullglob
rpm() {{ /usr/bin/rpm --dbpath {DATABASE} --nosignature "$@"; }}
for name in "$@"; do
    files=()
    for file in /repo/"$name"-[0-9]*.rpm; do
        if [ "$(rpm -qp --qf '%{{NAME}}' "$file")" = "$name" ]; then files+=("$file"); fi
    done
    mode=-U
    if rpm -q "$name" >/dev/null 2>&1; then mode=-F; fi
    if [ ${{#files[@]}} -gt 0 ]; then
        rpm --nodeps --noscripts --force-debian $mode "${{files[@]}}"
    elif [ $mode = -U ]; then
        echo "error: no RPM of $name in /repo" >&2
        exit 1
    fi
    rpm -q "$name"
done
"""
# Updates every installed package that has a newer RPM in the repository.
UPGRADE = f"""#!/bin/bash
set -e
install-rpm $(/usr/bin/rpm --dbpath {DATABASE} -qa --qf '%{{NAME}}\\n')
"""


def make(folder: Path) -> None:
    """Fill `folder` with the root file system. Raises Missing where a program of it is not installed here."""
    folder.mkdir(parents=True)
    busybox = shutil.which("busybox")
    if busybox is None:
        raise Missing("busybox is not installed")
    for program in (*PROGRAMS, busybox):
        if not Path(program).exists():
            raise Missing(f"{program} is not installed")
        _copy(Path(program), folder)
        for library in _libraries(program):
            _copy(library, folder)
    shutil.copytree("/usr/lib/rpm", folder / "usr/lib/rpm", symlinks=True, dirs_exist_ok=True)
    for made in (DATABASE, "/tmp", "/var/tmp", "/usr/local/bin", "/etc", "/root", "/repo", "/proc", "/dev"):
        (folder / made.lstrip("/")).mkdir(parents=True, exist_ok=True)
    (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (folder / "etc/group").write_text("root:x:0:\n")
    for name in ("sh", "cat", "tail", "sleep", "echo", "ls", "true", "false"):
        link = folder / "bin" / name
        if not link.exists():
            link.symlink_to("busybox")
    for name, script in (("install-rpm", INSTALL), ("upgrade-all", UPGRADE)):
        path = folder / "usr/local/bin" / name
        path.write_text(script)
        path.chmod(0o755)


def copy(root: Path, place: Path) -> None:
    """The same root file system once more, its files shared."""
    shutil.copytree(root, place, symlinks=True, copy_function=os.link)


def _copy(path: Path, folder: Path) -> None:
    """Copy a program or a library to its place, libraries of the top level included."""
    place = folder / ("bin/busybox" if path.name == "busybox" else str(path).lstrip("/"))
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        shutil.copy(path, place)


def _libraries(program: str) -> list[Path]:
    """The shared libraries that the program is linked with, the loader included; none for a static one."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", done.stdout)]
