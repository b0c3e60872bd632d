"""Builds on this machine with buildah, from the image's Containerfile, on exactly the parents' builds."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from rebuilder.builders import build_status
from rebuilder.builders.buildah_command import IID, BuildCommands
from rebuilder.builders.image_tests import ImageTests
from rebuilder.builders.local_images import LocalImages
from rebuilder.builders.pins import Pinning
from rebuilder.builders.process import Process
from rebuilder.config import BuildahSettings, RegistrySettings, state_directory
from rebuilder.domain.build import BuildRejected, BuildRequest, Phase, Status, Submission
from rebuilder.domain.checks import TestRequest
from rebuilder.domain.errors import InfrastructureError, RequestError
from rebuilder.domain.image import ImageBuild
from rebuilder.inventory import tree_naming
from rebuilder.inventory.buildah_cli import Gone, Storage, StorageError
from rebuilder.registry.errors import registry_error

CANCELED = "canceled"
TRY_SECONDS = 60.0
UNPUBLISHED = RegistrySettings()


class BuildahBuilder:
    """Keeps a folder for every build under `state`. Builds run on when the engine ends, and are found again.

    Raises RequestError where buildah cannot build on this machine.
    """

    name = "buildah"

    def __init__(
        self, settings: BuildahSettings, registry: str = "", published: RegistrySettings = UNPUBLISHED
    ) -> None:
        if shutil.which("buildah") is None:
            raise RequestError("builder buildah: buildah is not installed")
        self._settings = settings
        self._storage = Storage(settings)
        self._state = settings.state or state_directory() / "builds"
        pinning = Pinning(self._storage, registry, settings.build_args)
        self._commands = BuildCommands(settings, self._storage, pinning, published)
        self._images = LocalImages(self._storage, self._state)
        self._tests = ImageTests(self._storage, self._state, settings.volumes)

    def _process(self, key: str) -> Process:
        return Process(self._state / key)

    def submit(self, order: BuildRequest) -> Submission:
        process = self._process(order.key)
        folder = self._state / order.key
        if process.started:
            return self._submission(order.key)
        try:
            command = self._commands.of(order, folder, self.isolation)
            request = {"image": order.image.key, "externals": [parent.at for parent in order.externals]}
            process.start(command, request)
        except BlockingIOError:
            pass  # it runs already: submitted twice is submitted once
        except (OSError, StorageError) as error:
            raise InfrastructureError(f"buildah could not be started: {error}") from None
        return self._submission(order.key)

    def _submission(self, key: str) -> Submission:
        return Submission(key, str(self._process(key).log))

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
            options = f"--isolation={isolation}", "--pull=never", "--layers=false"
            command = self._storage.command("bud", *options, "--", folder)
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TRY_SECONDS)
            except subprocess.TimeoutExpired:
                return False
        return "container create" not in done.stderr and "/nothing" in done.stderr.rsplit("Error:", 1)[-1]

    def find(self, keys: Sequence[str]) -> Mapping[str, Submission]:
        return {key: self._submission(key) for key in keys if self._process(key).started}

    def poll(self, refs: Sequence[str]) -> Mapping[str, Status]:
        return {ref: self._status(self._process(ref)) for ref in refs}

    def _status(self, process: Process) -> Status:
        if process.running:
            if not process.stopped:
                return Status(Phase.RUNNING)
            process.stop(process.stopped)
        status = process.status
        if status == 0:
            return Status(Phase.SUCCEEDED)
        if process.stopped:
            return Status(Phase.CANCELED, process.stopped)
        if status is None:
            return Status(Phase.ABORTED, "the build's process vanished")
        return build_status.bad(status, process.log)

    def result(self, ref: str) -> ImageBuild:
        try:
            ident = (self._state / ref / IID).read_text().strip().removeprefix("sha256:")
            stored = self._storage.inspect(ident)
            image = str(self._process(ref).request["image"])
            return ImageBuild(image, ident, self._storage.known(stored), stored.parents, externals=stored.externals)
        except (OSError, StorageError) as error:
            raise InfrastructureError(f"the result of {ref} cannot be read: {error}") from None

    def public_name(self, image: str) -> str:
        return tree_naming.tag(image)

    def promote(self, image: str, key: str, ident: str) -> None:
        try:
            self._images.promote(image, key, ident)
        except Gone:
            raise BuildRejected(f"{self.public_name(image)} is not moved: the build {ident[:12]} is gone") from None
        except (OSError, StorageError) as error:
            raise InfrastructureError(f"{self.public_name(image)} cannot be moved: {error}") from None

    def test(self, request: TestRequest, *, again: bool = False) -> Status:
        return self._tests.test(request, self.isolation, again=again)

    def stop_test(self, key: str, fault: str = "") -> None:
        self._tests.stop(key, fault)

    def test_log(self, key: str, offset: int = 0) -> Iterator[str]:
        return self._tests.log(key, offset)

    def upload(self, ident: str, spec: str, auth_file: Path | None, seconds: float) -> str:
        try:
            return self._storage.push(ident, spec, auth_file, seconds)
        except Gone:
            raise BuildRejected(f"the build {ident[:12]} is gone") from None
        except (OSError, StorageError) as error:
            raise registry_error(spec, str(error)) from None

    def keeps(self, ident: str) -> bool:
        try:
            return self._storage.has(ident)
        except (OSError, StorageError) as error:
            raise InfrastructureError(f"the storage cannot be read: {error}") from None

    def fetch(self, ident: str, at: str, auth_file: Path | None, seconds: float) -> None:
        try:
            pulled = self._storage.pull(at, auth_file, seconds)
        except (OSError, StorageError) as error:
            raise registry_error(at, str(error)) from None
        if pulled != ident:
            raise BuildRejected(f"{at} is {pulled[:12]}, and not the build {ident[:12]}")

    def tidy(self, settled: Callable[[Collection[str]], Collection[str]]) -> int:
        """Delete the oldest builds of each image. Raises InfrastructureError where the storage does not let us."""
        try:
            return self._images.prune(self._settings.keep_builds, settled)
        except (OSError, StorageError) as error:
            raise InfrastructureError(f"old builds cannot be deleted: {error}") from None

    @property
    def tidying(self) -> bool:
        """Nothing of a build is read here after its end."""
        return False

    def cancel(self, ref: str) -> None:
        self._process(ref).stop(CANCELED)

    def log(self, ref: str, offset: int = 0) -> Iterator[str]:
        return self._process(ref).read_log(offset)

    def close(self) -> None:
        """The builds go on by themselves."""


