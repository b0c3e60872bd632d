"""What is released: sdist and wheel hold all there is, and a wheel works where only what it asks for is installed."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERSION = "7.8.9"
# What a checkout has beside its sources.
LEFT = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "*.pyc")
BESIDE = {"share/container-rebuilder/config": "config", "share/container-rebuilder/systemd": "systemd"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with an sdist, and with the wheel that was made of it: what the sdist lacks, the wheel lacks too."""
    sources, to = tmp_path_factory.mktemp("sources") / "rebuilder", tmp_path_factory.mktemp("dist")
    made = {"build", "dist", "site"}
    shutil.copytree(ROOT, sources, ignore=lambda at, names: (
        {*LEFT(at, names), *made} if Path(at) == ROOT else set(LEFT(at, names))))  # fmt: skip
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(to), str(sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          env=os.environ | {"SETUPTOOLS_SCM_PRETEND_VERSION": VERSION})  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return to


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return email.message_from_bytes(archive.read(f"container_rebuilder-{VERSION}.dist-info/METADATA"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it; what it needs comes from where the tests run."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def sources(*folders: str) -> set[str]:
    """The files below these folders, as a release has them."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts and path.suffix != ".pyc"}


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command that the wheel installed, away from the sources."""
    return subprocess.run([str(folder / "bin" / "rebuilder"), *arguments], capture_output=True, text=True, check=False,
                          cwd=folder, env=os.environ | {"PYTHONPATH": ""} | environment)  # fmt: skip


def test_the_sdist_has_every_source_with_its_tests_documents_units_and_samples(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = sources("rebuilder", "consumers", "tests", "docs", "config", "systemd", "packaging", ".ci")
    assert wanted - held == set()
    assert {"README.md", "CHANGELOG.md", "LICENSE", "Makefile", "setup.cfg", "pyproject.toml"} <= held


def test_the_wheel_has_the_whole_package_and_nothing_else_to_import(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.startswith("container_rebuilder-")}
    assert held == sources("rebuilder", "consumers")


def test_the_wheel_brings_units_samples_and_documents(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    data = f"container_rebuilder-{VERSION}.data/data/"
    held = {name.removeprefix(data) for name in names if name.startswith(data)}
    for place, folder in BESIDE.items():
        assert {f"{place}/{Path(file).relative_to(folder)}" for file in sources(folder)} - held == set()
    documents = {Path(file).name for file in sources("docs") if file.endswith(".md")}
    assert documents <= {Path(name).name for name in held if name.startswith("share/doc/container-rebuilder/")}


def test_the_metadata_says_what_it_is_whose_it_is_and_where_to_read_on(metadata: Message) -> None:
    assert metadata["Name"] == "container-rebuilder"
    assert metadata["Version"] == VERSION
    assert metadata["License"] == "MIT" or metadata["License-Expression"] == "MIT"
    assert metadata["Author"] == "The rebuilder contributors"
    assert metadata["Requires-Python"] == ">=3.11"
    assert {entry.partition(",")[0] for entry in metadata.get_all("Project-URL", [])} >= {"Documentation", "Changes"}
    assert "Programming Language :: Python :: 3.11" in metadata.get_all("Classifier", [])


def test_what_not_everybody_needs_is_an_extra(metadata: Message) -> None:
    assert {"demo", "koji", "postgresql", "web"} <= set(metadata.get_all("Provides-Extra", []))
    always = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert not [line for line in always if line.startswith(("psycopg", "fastapi", "koji", "bodhi", "uvicorn"))]


def test_the_command_of_the_wheel_knows_its_version(installed: Path) -> None:
    assert run(installed, "--version").stdout == f"rebuilder, version {VERSION}\n"


def test_the_command_of_the_wheel_works_with_the_extras_of_nobody(installed: Path, tmp_path: Path) -> None:
    """What the extras bring is hidden: a database in SQLite and an inventory are asked for all the same."""
    hidden = "psycopg", "fastapi", "starlette", "uvicorn", "jinja2", "prometheus_client", "koji", "bodhi"
    start = f"import sys; sys.modules.update(dict.fromkeys({hidden!r})); from rebuilder.cli import main; main(%r)"
    python = str(installed / "bin" / "python")
    config = tmp_path / "config.toml"
    config.write_text(f"[consumer_config]\ndatabase_url = 'sqlite:///{tmp_path}/a.db'\n")

    def verb(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [python, "-c", start % (["--config", str(config), *arguments],)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path,
                              env=os.environ | {"PYTHONPATH": ""})  # fmt: skip

    for words in (("db", "upgrade"), ("status",), ("inbox",), ("config", "check"), ("run", "--until-idle")):
        done = verb(*words)
        assert done.returncode == 0, done.stderr
    assert verb("web").stderr.endswith("the web needs uvicorn: pip install 'container-rebuilder[web]'\n")
    config.write_text("[consumer_config]\ndatabase_url = 'postgresql+psycopg://nobody@localhost/none'\n")
    done = verb("status")
    assert (done.returncode, done.stderr) == (
        2, "rebuilder: PostgreSQL needs psycopg: pip install 'container-rebuilder[postgresql]'\n",
    )  # fmt: skip
