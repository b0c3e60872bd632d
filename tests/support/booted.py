"""A small system that systemd boots: this machine's /usr below a layer of its own, and all else its own.

It shares the network, so that servers of the tests are reached at the loopback address, and nothing else: processes,
mounts, devices, users and cgroups are its own, and go away with it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from msgspec import Struct

from rebuilder.demo.process import Child
from support import servers

PATIENCE = 60.0
PYTHON, NEEDED, WHEELS = "/opt/python", "/opt/needed", "/opt/wheels"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Units of /usr that are for machines, and would only wait or fail here.
MASKED = ("systemd-udevd.service", "systemd-udev-trigger.service", "systemd-logind.service", "getty.target",
          "systemd-networkd-wait-online.service", "systemd-firstboot.service", "dev-hugepages.mount")  # fmt: skip

# The kernel does not lay an overlay of buildah's over the one that /usr is here.
STORAGE = """\
[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
"""
# $1: the root; $2: the name of its cgroup; then pairs of a folder of this machine and its place there.
# In two steps: what makes the cgroup is not yet inside of its namespace.
SET_UP = """\
set -e
root=$1 name=$2
shift 2
groups=$root/../groups
mkdir -p "$groups"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then mount -t cgroup2 cgroup2 "$groups"
else mount -t cgroup -o none,name=systemd cgroup "$groups"; fi
mkdir "$groups/$name"
echo $$ > "$groups/$name/cgroup.procs"
exec unshare --pid --fork --kill-child --uts --ipc --cgroup sh -c "$BOOT" boot "$root" "$@"
"""
BOOT = """\
set -e
root=$1
shift
mount -t tmpfs -o mode=755 tmpfs "$root"
cd "$root"
mkdir -p .layer/upper .layer/work usr proc sys dev run tmp old root var/lib var/log var/tmp opt srv etc/systemd/system
chmod 1777 tmp var/tmp
chmod 700 root
for name in bin lib lib64 sbin; do ln -s "usr/$name" "$name"; done
mount -t overlay overlay -o "lowerdir=/usr,upperdir=$root/.layer/upper,workdir=$root/.layer/work" usr
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
    mkdir sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
fi
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs tmpfs run
cp /etc/ld.so.cache etc/
for name in ssl pam.d security nsswitch.conf login.defs containers; do
    [ ! -e "/etc/$name" ] || cp -r "/etc/$name" etc/
done
mkdir -p etc/containers
echo "$STORAGE" > etc/containers/storage.conf
printf 'root:x:0:0::/root:/bin/sh\\nnobody:x:65534:65534::/:/usr/sbin/nologin\\n' > etc/passwd
printf 'root:x:0:\\nnogroup:x:65534:\\n' > etc/group
printf '127.0.0.1 localhost\\n' > etc/hosts
: > etc/machine-id
for unit in $MASKED; do ln -s /dev/null "etc/systemd/system/$unit"; done
while [ $# -gt 1 ]; do
    mkdir -p "./$2"
    mount --bind "$1" "./$2"
    mount -o remount,bind,ro "./$2"
    shift 2
done
pivot_root . old
umount -l /old
rmdir /old
exec env -i container=rebuilder-tests PATH="$PATH" \
    /lib/systemd/systemd --system --unit=multi-user.target --show-status=no --log-target=journal-or-kmsg
"""


class Booted(Struct, frozen=True):
    """The running system."""

    pid: int

    def run(self, script: str, *, status: int | None = 0, **environment: str) -> str:
        """What a shell as root prints there, both of its outputs; it must end with the status."""
        inside = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--root", "--wd"]
        given = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8"} | environment
        words = [f"{name}={value}" for name, value in given.items()]
        command = [*inside, "env", "-i", *words, "sh", "-ec", script]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False, timeout=120)  # fmt: skip
        assert status is None or done.returncode == status, f"{script}\n{done.stdout[-3000:]}"
        return done.stdout

    def state(self, unit: str) -> str:
        """What systemd says of a unit, as active or failed."""
        return self.run(f"systemctl is-active {unit}", status=None).strip()

    def journal(self, unit: str) -> str:
        return self.run(f"journalctl --no-pager --output=cat --unit={unit} | tail -n 30")

    def install(self, wheel: Path) -> None:
        """Make the virtual environment of the installation guide, /opt/rebuilder, with what the tests run with."""
        (self.root / WHEELS[1:]).mkdir()
        shutil.copy(wheel, self.root / WHEELS[1:])
        name = f"bin/python{sys.version_info.major}.{sys.version_info.minor}"
        python = f"/usr/{name}" if (self.root / "usr" / name).exists() else f"{PYTHON}/{name}"
        self.run(f"{python} -m venv --without-pip /opt/rebuilder")
        pip = "/opt/rebuilder/bin/python -m pip install --quiet --no-deps --no-index"
        self.run(f"{pip} {WHEELS}/*.whl", PYTHONPATH=NEEDED)
        self.run(f"echo {NEEDED} > $(echo /opt/rebuilder/lib/python*/site-packages)/needed.pth")

    @property
    def root(self) -> Path:
        return Path(f"/proc/{self.pid}/root")


@contextmanager
def booted(folder: Path, shown: Mapping[str, str] | None = None) -> Iterator[Booted]:
    """A system inside the block; `shown` are folders of this machine and where they are seen there, read only.

    Skips the test where nobody can boot one: that takes root, and a kernel that lets it mount.
    """
    servers.need("systemd", "/lib/systemd/systemd", "unshare", "nsenter")
    if os.geteuid() != 0:
        pytest.skip("systemd is booted by root alone")
    if told := _hindrance():
        pytest.skip(f"no system can be booted here: {told}")
    name = f"rebuilder-tests-{secrets.token_hex(4)}"
    seen = {sys.base_prefix: PYTHON, sysconfig.get_path("purelib"): NEEDED, **(shown or {})}
    pairs = [word for pair in seen.items() for word in pair]
    root = folder / "root"
    root.mkdir()
    child = Child(["unshare", "--mount", "sh", "-c", SET_UP, "set-up", root, name, *pairs], folder / "boot.log",
                  environment={"BOOT": BOOT, "STORAGE": STORAGE, "MASKED": " ".join(MASKED), "PATH": PATH})  # fmt: skip
    try:
        child.wait_for(lambda: _first_process(child.pid) is not None, PATIENCE)
        system = Booted(_first_process(child.pid) or 0)
        child.wait_for(lambda: system.state("multi-user.target") == "active", PATIENCE)
        yield system
    finally:
        child.kill()
        _remove_groups(folder, name)


def _hindrance() -> str:
    """What forbids namespaces with mounts of their own here; empty for nothing."""
    trial = ["unshare", "--mount", "--pid", "--fork", "--cgroup", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(trial, capture_output=True, text=True, check=False).stderr.strip()


def _first_process(parent: int) -> int | None:
    """The process that is systemd by now, below the one that made its namespaces."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                return int(child)
    return None


def _remove_groups(folder: Path, name: str) -> None:
    """Take the cgroup away, which outlives the processes in it."""
    groups = folder / "groups"
    kind = "-t cgroup2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "-t cgroup -o none,name=systemd"
    script = f'mount {kind} cgroup "$1" && find "$1/$2" -depth -type d -exec rmdir {{}} +'
    subprocess.run(["unshare", "--mount", "sh", "-c", script, "remove", str(groups), name], check=True)
