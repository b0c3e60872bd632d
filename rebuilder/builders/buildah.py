"""Builds on this machine with buildah, from the image's Containerfile, on exactly the parents' builds."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from rebuilder.builders.process import Process
from rebuilder.config import BuildahSettings, state_directory
from rebuilder.domain.build import Aborted, Order, Phase, Status, Submission
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import ImageBuild
from rebuilder.inventory import containerfile, containerfiles
from rebuilder.inventory.storage import Storage, StorageError

TROUBLE = re.compile(
    r"no space left|connection (refused|reset)|i/o timeout|TLS handshake|pinging container registry|"
    r"temporary failure in name resolution|too many open files|cannot allocate memory",
    re.IGNORECASE,
)
CANCELED = "canceled"


class BuildahBuilder:
    """Keeps a folder for every build under `state`. Builds run on when the engine ends, and are found again.

    Raises RequestError where buildah cannot build on this machine.
    """

    name = "buildah"

    def __init__(self, settings: BuildahSettings) -> None:
        if shutil.which("buildah") is None:
            raise RequestError("builder buildah: buildah is not installed")
        self._settings = settings
        self._storage = Storage(settings)
        self._state = settings.state or state_directory() / "builds"

    def _process(self, key: str) -> Process:
        return Process(self._state / key)

    def submit(self, order: Order) -> Submission:
        process = self._process(order.key)
        folder = self._state / order.key
        if process.started:
            return self._submission(order.key)
        try:
            command = self._command(order, folder)
            process.start(command, {"image": order.image.key}, self._environment)
        except BlockingIOError:
            pass  # it runs already: submitted twice is submitted once
        except (OSError, StorageError) as error:
            raise Aborted(f"buildah could not be started: {error}") from None
        return self._submission(order.key)

    def _submission(self, key: str) -> Submission:
        return Submission(key, str(self._process(key).log))

    def _command(self, order: Order, folder: Path) -> list[str]:
        image, settings = order.image, self._settings
        labels = {
            "rebuilder.key": order.key,
            "rebuilder.parents": json.dumps([parent.ident for parent in order.parents]),
            "rebuilder.causes": json.dumps([str(change.build) for change in order.causes]),
        }
        external = any(parent.external for parent in image.parents)
        return self._storage.command(
            "bud",
            f"--isolation={self.isolation}",
            "--pull=false" if external else "--pull=never",
            "--layers=false",
            *(f"--build-context={spec}=container-image://{ident}" for spec, ident in self._pins(order)),
            *(f"--build-arg={name}={value}" for name, value in settings.build_args.items()),
            *(f"--volume={volume}" for volume in settings.volumes),
            *(f"--label={name}={value}" for name, value in labels.items()),
            f"--iidfile={folder / 'iid'}",
            f"--tag={containerfiles.tag(image)}",
            f"--file={Path(image.source.path) / image.source.containerfile}",
            image.source.path,
        )

    def _pins(self, order: Order) -> Iterator[tuple[str, str]]:
        """For each name that the Containerfile has for a parent of the inventory, the id of its build.

        A file that cannot be read or parsed any more pins nothing: buildah itself will say what is wrong with it.
        """
        idents = {parent.image: parent.ident for parent in order.parents}
        keys = {spec: key for key in idents for spec in containerfiles.specs(*key.rsplit(":", 1))}
        try:
            text = (Path(order.image.source.path) / order.image.source.containerfile).read_text()
            found = containerfile.parents(text, self._settings.build_args)
        except (OSError, UnicodeDecodeError, RequestError):
            return
        for base in found:
            if base.spec in keys:
                yield base.spec, idents[keys[base.spec]]

    @property
    def _environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name not in ("NOTIFY_SOCKET", "WATCHDOG_USEC")}

    @cached_property
    def isolation(self) -> str:
        """The configured isolation, else buildah's default where that can run a command here, else chroot."""
        if self._settings.isolation:
            return self._settings.isolation
        return "oci" if self._works("oci") else "chroot"

    def _works(self, isolation: str) -> bool:
        """Try a build with one RUN; the runtime fails before the command where it cannot set up its container."""
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "Containerfile").write_text('FROM scratch\nRUN ["/nothing"]\n')
            command = self._storage.command("bud", f"--isolation={isolation}", "--pull=never", "--layers=false", folder)
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        return "container create" not in done.stderr and "/nothing" in done.stderr.rsplit("Error:", 1)[-1]

    def find(self, keys: Sequence[str]) -> Mapping[str, Submission]:
        return {key: self._submission(key) for key in keys if self._process(key).started}

    def poll(self, refs: Sequence[str]) -> Mapping[str, Status]:
        return {ref: self._status(self._process(ref)) for ref in refs}

    def _status(self, process: Process) -> Status:
        limit = self._settings.time_limit
        if process.running:
            if process.age <= limit:
                return Status(Phase.RUNNING)
            process.stop(f"over its time limit of {limit:.0f} s")
        if process.stopped:
            return Status(Phase.CANCELED if process.stopped == CANCELED else Phase.ABORTED, process.stopped)
        status = process.status
        if status is None:
            return Status(Phase.ABORTED, "the build's process vanished")
        if status == 0:
            return Status(Phase.SUCCEEDED)
        reason = last_error(process.log)
        if status > 128:
            return Status(Phase.ABORTED, f"killed by signal {status - 128}")
        return Status(Phase.ABORTED if TROUBLE.search(reason) else Phase.FAILED, reason)

    def result(self, ref: str) -> ImageBuild:
        try:
            ident = (self._state / ref / "iid").read_text().strip().removeprefix("sha256:")
            found = self._storage.inspect(ident)
            image = str(self._process(ref).request["image"])
            return ImageBuild(image, ident, self._storage.manifest(ident), found.parents)
        except (OSError, StorageError) as error:
            raise Aborted(f"the result of {ref} cannot be read: {error}") from None

    def cancel(self, ref: str) -> None:
        self._process(ref).stop(CANCELED)

    def log(self, ref: str, offset: int = 0) -> Iterator[str]:
        try:
            yield self._process(ref).log.read_text(errors="replace")[offset:]
        except FileNotFoundError:
            return

    def close(self) -> None:
        """The builds go on by themselves."""


def last_error(log: Path) -> str:
    """The last line of the log that says what went wrong, else its last line."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except FileNotFoundError:
        lines = []
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["buildah failed and said nothing"])[-1]
