"""Tests of new images on this machine: a command that buildah runs in a container of the image, as a detached process.

It outlives the engine, and is found again by the key of the build; its folder is in that of the build.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from rebuilder.builders import build_status, buildah_log
from rebuilder.builders.emulation import NEEDS, can_run
from rebuilder.builders.process import Process
from rebuilder.domain.build import Phase, Status
from rebuilder.domain.checks import ImageTest, TestRequest
from rebuilder.domain.errors import InfrastructureError
from rebuilder.inventory.buildah_cli import Gone, Storage, StorageError

FOLDER = "test"
SCRIPT = "/run/rebuilder-test"  # where the script is in the container
STOPPED = "stopped"
BUILDAH = 125  # buildah's own status where it could not even begin
# What is said where a container could not be set up: the command never ran. That the image has none is its own fault.
NOT_BEGUN = re.compile(
    r"^error running container: from .*creating container for (?!.*executable file)|"
    r"did not get container create message|^unshare: unshare failed",
    re.MULTILINE,
)
# The container is taken away whatever the test said; what it said counts.
RUN = """{clear} >/dev/null 2>&1
{make} >/dev/null || exit 125
{run}
status=$?
{clear} >/dev/null 2>&1
[ $status = 0 ] || exit $status
"""
# With chroot, buildah has no networks of its own: then the whole of it has none but the loopback.
ALONE = "unshare --net -- /bin/sh -c 'ip link set lo up 2>/dev/null; exec \"$@\"' test"


class ImageTests:
    """The tests of images in `storage` by builds whose folders are in `state`; `volumes` are those of builds."""

    def __init__(self, storage: Storage, state: Path, volumes: Sequence[str]) -> None:
        self._storage = storage
        self._state = state
        self._volumes = volumes

    def _process(self, key: str) -> Process:
        return Process(self._state / key / FOLDER)

    def test(self, request: TestRequest, isolation: str, *, again: bool) -> Status:
        """How the test stands; see the protocol of builders."""
        process = self._process(request.key)
        try:
            if again and process.started and self._status(process).phase is Phase.ABORTED:
                process.forget()
            if not process.started:
                runs = self._runs(request)
                script = "".join(self._script(request, isolation, ident, name) for name, ident in runs.items())
                record = {"test": request.image, "containers": list(runs)}
                process.start(["/bin/sh", "-c", f"{script}exit 0"], record)
        except BlockingIOError:
            pass  # it runs already
        except (OSError, StorageError) as error:
            raise InfrastructureError(f"the test of {request.image} cannot be started: {error}") from None
        return self._status(process)

    def _runs(self, request: TestRequest) -> dict[str, str]:
        """The image to be tested, by the container's name; of a list the images for all platforms.

        Raises InfrastructureError where this machine cannot run one of them.
        """
        alone = {_container(request.key): request.ident}
        try:
            image = self._storage.inspect(request.ident)
        except Gone:
            return alone  # its process says so, where the test's log is kept
        if not image.parts:
            return alone
        for platform in image.platforms:
            if not can_run(platform):
                needs = NEEDS.format(platform=platform)
                problem = f"{request.image} cannot be tested for all of its platforms: {needs}"
                raise InfrastructureError(problem, arrived=False)
        names = [f"{_container(request.key)}-{platform.replace('/', '-')}" for platform in image.platforms]
        return dict(zip(names, image.parts, strict=True))

    def _script(self, request: TestRequest, isolation: str, ident: str, name: str) -> str:
        """What the process does for one image, as a shell script that ends early where the test says no."""
        test = request.test
        alone = not test.network
        run = self._storage.command(
            "run", f"--isolation={isolation}",
            *(("--network=none",) if alone and isolation != "chroot" else ()),
            *(f"--volume={volume}" for volume in self._volumes),
            *((f"--volume={test.script}:{SCRIPT}:ro",) if test.script else ()),
            name, "--", *_command(test),
        )  # fmt: skip
        return RUN.format(
            clear=shlex.join(self._storage.command("rm", "--", name)),
            make=shlex.join(self._storage.command("from", "--pull=never", f"--name={name}", "--", ident)),
            run=f"{ALONE} {shlex.join(run)}" if alone and isolation == "chroot" else shlex.join(run),
        )

    @staticmethod
    def _status(process: Process) -> Status:
        if process.running and not process.stopped:
            return Status(Phase.RUNNING, begun=process.begun)
        status = process.status
        if status == 0:
            return Status(Phase.SUCCEEDED)
        if process.stopped:
            return Status(Phase.CANCELED if process.stopped == STOPPED else Phase.FAILED, process.stopped)
        if status is None:
            return Status(Phase.ABORTED, "the test's process vanished")
        return _bad(status, process.log)

    def stop(self, key: str, fault: str) -> None:
        """End the test, as it has failed by a fault of its own where one is given, and delete its container."""
        process = self._process(key)
        if not process.started:
            return
        process.stop(fault or STOPPED)
        containers = process.request.get("containers")
        for name in containers if isinstance(containers, list) else [_container(key)]:
            with suppress(StorageError):  # it is gone already, or its process has taken it away
                self._storage.remove_container(str(name))

    def log(self, key: str, offset: int) -> Iterator[str]:
        """What the test printed."""
        return self._process(key).read_log(offset)


def _container(key: str) -> str:
    return f"rebuilder-test-{key}"


def _command(test: ImageTest) -> Sequence[str]:
    if not test.script:
        return test.command
    return (SCRIPT,) if os.access(test.script, os.X_OK) else ("/bin/sh", SCRIPT)


def _bad(status: int, log: Path) -> Status:
    """A test that says no has failed; where buildah could not run it, there is no verdict."""
    text = build_status.end_of(log)
    error = buildah_log.last_error(text)
    never = status == BUILDAH and error != f"Error: exit status {BUILDAH}"
    if never or NOT_BEGUN.search(text):
        return Status(Phase.ABORTED, f"the test could not be run: {error.removeprefix('Error: ')}")
    outcome = build_status.bad(status, log)
    if outcome.phase is Phase.ABORTED:
        return outcome
    return Status(Phase.FAILED, f"{_said(text)}exit status {status}")


def _said(text: str) -> str:
    """The last line that the test itself printed, and what it is followed by; nothing where it printed none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line for line in lines if not line.startswith(("Error: ", "subprocess exited"))]
    return f"{own[-1][:300]}: " if own else ""
