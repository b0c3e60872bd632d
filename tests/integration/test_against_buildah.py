"""Parents and stages are those that buildah itself takes: it runs on generated files, and says what it pulls.

Left out of the files is where it is not of BuildKit's mind, and we are: it tells upper from lower case in the names of
stages, builds all stages of one name, does not find a stage that an argument names in a FROM, and knows the platform
arguments in a FROM only where an ARG names them.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, example, given, note
from hypothesis import strategies as st
from msgspec import Struct, field
from support import servers
from support.examples import examples

from rebuilder.config import BuildahSettings
from rebuilder.domain.errors import RequestError
from rebuilder.inventory.buildah_cli import Storage
from rebuilder.inventory.containerfile import Recipe, read
from rebuilder.inventory.containerfile_stages import Options

PULLED = re.compile(r'Pulling image (\S+) \(policy')
STAGE = re.compile(r"^(?:\[(\d+)/\d+\] )?STEP 1/", re.MULTILINE)
IDENT = re.compile("[0-9a-f]{64}")
IMAGES = ("alpha:latest", "delta:latest", "beta:1", "beta:2", "gamma:1")
FAR = "registry.example.com/team/base:1"


class Build(Struct, frozen=True):
    """A generated file, and what a build of it is told."""

    text: str
    build_args: Mapping[str, str] = field(default_factory=dict)
    target: str = ""


class Done(Struct, frozen=True):
    """What buildah did: the images that it pulled, how many stages it began, and the error that ended it."""

    pulled: frozenset[str]
    stages: int
    error: str


class Buildah:
    """Buildah with a few images, all alike, in a storage of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        here = BuildahSettings(root=folder / "storage", runroot=folder / "run", storage_driver="vfs")
        self._storage = Storage(here)
        (folder / "context").mkdir()
        (folder / "context/x").write_text("x")
        self._write("FROM scratch\nCOPY x /x\n")
        self._bud("--tag=localhost/x:1")
        for name in (*(f"docker.io/library/{image}" for image in IMAGES), FAR):
            subprocess.run(self._storage.command("tag", "localhost/x:1", name), check=True)

    def _write(self, text: str) -> None:
        (self._folder / "Containerfile").write_text(text, newline="")

    def _bud(self, *options: str) -> subprocess.CompletedProcess[str]:
        fixed = "--isolation=chroot", "--pull=never", "--layers=false", f"--file={self._folder / 'Containerfile'}"
        program, *rest = self._storage.command("bud", *fixed, *options, "--", str(self._folder / "context"))
        command = [program, "--log-level=debug", *rest]
        return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)

    def build(self, build: Build) -> Done:
        """Run it, and remove what it made."""
        self._write(build.text)
        args = [f"--build-arg={name}={value}" for name, value in build.build_args.items()]
        done = self._bud("--tag=localhost/made:1", *args, *([f"--target={build.target}"] if build.target else ()))
        subprocess.run(self._storage.command("rmi", "localhost/made:1"), capture_output=True, check=False)
        pulled = frozenset(name for name in PULLED.findall(done.stderr) if not IDENT.fullmatch(name))
        errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        error = errors[-1] if errors else "" if done.returncode == 0 else done.stderr.splitlines()[-1]
        return Done(pulled, len(STAGE.findall(done.stdout + done.stderr)), error)


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Buildah:
    servers.need("buildah", "buildah")
    return Buildah(tmp_path_factory.mktemp("against"))


ALIASES = ("one", "two", "alpha", "x-1")
# A is used as an image and B as a tag. What buildah 1.28 understands of operators is what follows.
tag = st.sampled_from((
    "1", "1", "2", "", "$B", "${B}", "${B:-1}", "${NONE:-1}", "1${NONE:+2}", "${A:+1}", '"1"', "$TARGETOS",
))  # fmt: skip
whole = st.sampled_from((
    "delta", "delta", "gamma:1", FAR, "$A", "${A}", "${A:-delta}", "${NONE:-delta}", "${B:+delta}",
))  # fmt: skip
tagged = st.builds("{}:{}".format, st.sampled_from(("beta", "beta", "gamma")), tag)
argument = st.one_of(
    st.builds("{} A={}".format, st.sampled_from(("ARG", "arg")), whole | tagged),
    st.builds("ARG B={}".format, tag),
    st.sampled_from(("ARG A", "ARG B", "ARG NONE", "ARG TARGETOS")),
)
other = st.sampled_from((
    "LABEL from=beta", "# FROM gamma:1", "ONBUILD COPY --from=gamma:1 /x /x", "WORKDIR /w", "",
    "ENV C=$A", 'ENV C="1" D=2',
))  # fmt: skip


@st.composite
def builds(draw: st.DrawFn) -> Build:
    lines = ["ARG TARGETOS", "ARG A=beta:1", "ARG B=1", *draw(st.lists(argument, max_size=2))]
    known: list[str] = []
    for at, alias in zip(range(draw(st.integers(1, 4))), draw(st.permutations(ALIASES)), strict=False):
        image = whole | tagged | st.just("alpha")
        reference = st.sampled_from(known) | image if known else image
        copied = reference | st.sampled_from(tuple(map(str, range(at)))) if at else reference
        written = draw(st.sampled_from(("", f" AS {alias}", f" as {alias}")))
        lines.append(f"{draw(st.sampled_from(('FROM', 'from')))} {draw(reference | st.just('scratch'))}{written}")
        copy = st.sampled_from(("COPY --from={} /x /x", "copy \\\n  # why\n  --from={} \\\n  /x /x"))
        lines += draw(st.lists(argument | other | st.builds(str.format, copy, copied), max_size=3))
        known += [alias] if written else []
    newline = draw(st.sampled_from(("\n", "\n", "\r\n")))
    args = draw(st.just({}) | st.dictionaries(st.just("A"), whole, max_size=1))
    return Build(newline.join(lines) + newline, args, draw(st.just("") | st.sampled_from(("", *known, "none"))))


def ours(build: Build) -> Recipe | None:
    try:
        return read(build.text, Options(build.build_args, build.target))
    except RequestError:
        return None


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(builds())
@example(Build("ARG A=beta\nFROM ${A}:1 AS one\nFROM alpha\nCOPY --from=one /x /x\n"))
@example(Build("FROM alpha AS one\nFROM beta:1 AS two\nFROM one\n", target="two"))
@example(Build("FROM alpha\nARG A=1\nENV A=2\nCOPY --from=beta:$A /x /x\n"))
def test_parents_and_stages_are_those_that_buildah_takes(buildah: Buildah, build: Build) -> None:
    """Where a build succeeds they are the same; where it fails, nothing was pulled that we do not name."""
    found, done = ours(build), buildah.build(build)
    note(f"{build.text}with {dict(build.build_args)}, up to {build.target or 'the end'}: {done}")
    event("refused" if found is None else "failed" if done.error else f"built {done.stages} stages")
    if found is None:
        assert done.error, f"buildah builds it, and pulls {sorted(done.pulled)}"
        return
    specs = {base.spec for base in found.parents}
    assert done.pulled - {"scratch"} <= specs, done.error
    if not done.error:
        assert (done.pulled - {"scratch"}, done.stages) == (specs, len(found.stages))
