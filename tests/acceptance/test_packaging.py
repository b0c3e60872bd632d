"""What is released: sdist and wheel hold all there is, and a wheel works where only what it asks for is installed."""

from __future__ import annotations

import configparser
import email
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest
import yaml
from acceptance.conftest import VERSION
from support import servers

from rebuilder.cli import VERBS

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "packaging" / "container-rebuilder.spec"
BESIDE = {"share/container-rebuilder/config": "config", "share/container-rebuilder/systemd": "systemd"}


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


def test_the_wheel_brings_the_manual(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        pages = {Path(name).name for name in archive.namelist() if "/share/man/man1/" in name}
    assert {"rebuilder.1", *(f"rebuilder-{verb}.1" for verb in VERBS if verb != "notify")} <= pages


def test_the_wheel_brings_completions_for_three_shells(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        data = f"container_rebuilder-{VERSION}.data/data/share/"
        texts = {name.removeprefix(data): archive.read(name) for name in archive.namelist() if name.startswith(data)}
    assert b"complete " in texts["bash-completion/completions/rebuilder"]
    assert texts["zsh/site-functions/_rebuilder"].startswith(b"#compdef rebuilder")
    assert b"complete " in texts["fish/vendor_completions.d/rebuilder.fish"]


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


@pytest.fixture(scope="module")
def rpm(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package that the spec makes of the sdist, with the macros of Fedora's that Debian has not."""
    servers.need("rpm", "rpmbuild")
    top = tmp_path_factory.mktemp("rpmbuild")
    (top / "SOURCES").mkdir()
    (source,) = built.glob("*.tar.gz")
    shutil.copy(source, top / "SOURCES")
    defined = {"_topdir": top, "_dbpath": top / "db", "upstream_version": VERSION, "test_python": sys.executable}
    options = [word for name, value in defined.items() for word in ("--define", f"{name} {value}")]
    macros = str(ROOT / "tests/support/pyproject.macros")
    command = ["rpmbuild", "-bb", "--nodeps", "--load", macros, *options, str(SPEC)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=top)
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = top.glob("RPMS/*/*.rpm")
    return path


def held(rpm: Path) -> dict[str, str]:
    """The mode, owner and group of each file in the package."""
    query = ["rpm", "-qp", "--qf", "[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME}\\n]", str(rpm)]
    told = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    return {name: rest for name, _, rest in (line.partition(" ") for line in told.splitlines())}


def test_the_rpm_brings_command_units_manual_and_completions(rpm: Path) -> None:
    files = held(rpm)
    units = {f"/usr/lib/systemd/system/{path.name}" for pattern in ("*.service", "*.timer", "*.target")
             for path in (ROOT / "systemd").glob(pattern)}  # fmt: skip
    assert units | {
        "/usr/bin/rebuilder", "/usr/lib/systemd/user/rebuilder.service", "/usr/lib/sysusers.d/rebuilder.conf",
        "/usr/lib/tmpfiles.d/rebuilder.conf", "/usr/share/bash-completion/completions/rebuilder",
        "/usr/share/zsh/site-functions/_rebuilder", "/usr/share/fish/vendor_completions.d/rebuilder.fish",
        "/usr/share/container-rebuilder/config/one-machine.toml", "/usr/share/doc/container-rebuilder/README.md",
    } <= files.keys()  # fmt: skip
    assert any(name.startswith("/usr/share/man/man1/rebuilder.1") for name in files)


def test_in_the_rpm_the_configuration_and_credentials_are_not_everybody_s(rpm: Path) -> None:
    files = held(rpm)
    assert files["/etc/rebuilder"] == "drwxr-x--- root rebuilder"
    assert files["/etc/rebuilder/config.toml"] == "-rw-r----- root rebuilder"
    assert files["/etc/rebuilder/credentials"] == "drwx------ root root"
    assert files["/var/lib/rebuilder"] == "drwxr-x--- rebuilder rebuilder"


def test_in_the_rpm_a_user_s_unit_starts_the_system_s_command(rpm: Path, tmp_path: Path) -> None:
    unpacked = subprocess.run(["rpm2cpio", str(rpm)], capture_output=True, check=True).stdout
    subprocess.run(["cpio", "-id", "--quiet"], input=unpacked, cwd=tmp_path, check=True)
    unit = (tmp_path / "usr/lib/systemd/user/rebuilder.service").read_text()
    assert "\nExecStart=/usr/bin/rebuilder run\n" in unit
    site = tmp_path / "usr/lib/python3/site-packages"
    command = [sys.executable, "-m", "rebuilder", "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTHONPATH": str(site)})  # fmt: skip
    assert done.stdout.split()[-1] == VERSION


def test_rpmlint_has_nothing_to_say_of_spec_and_package(rpm: Path) -> None:
    servers.need("rpmlint", "rpmlint")
    command = ["rpmlint", "--config", str(ROOT / "packaging" / "rpmlint.toml"), str(SPEC), str(rpm)]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert "; 0 errors, 0 warnings, " in told, told


@pytest.fixture(scope="module")
def image(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """The image of the Containerfile, on a base that sees this machine's own /usr: no registry is here."""
    servers.need("buildah", "buildah")
    folder = tmp_path_factory.mktemp("image")
    buildah = Buildah(folder)
    base = folder / "base"
    (base / "etc").mkdir(parents=True)
    base.chmod(0o755)
    (base / "tmp").mkdir(mode=0o1777)
    for name in ("bin", "lib", "lib64", "sbin"):
        (base / name).symlink_to(f"usr/{name}")
    (folder / "Containerfile").write_text("FROM scratch\nCOPY base /\n")
    buildah("build", "--tag", "base", str(folder))
    context = folder / "context"
    context.mkdir()
    shutil.copy(wheel, context)
    given = {"BASE": "localhost/base", "PYTHON": str(Path(sys.executable).resolve()), "SOURCE": f"/src/{wheel.name}",
             "PIP_OPTIONS": "--quiet --no-deps --no-index --disable-pip-version-check"}  # fmt: skip
    arguments = (word for name, value in given.items() for word in ("--build-arg", f"{name}={value}"))
    buildah("build", "--isolation", "chroot", *buildah.volumes, *arguments, "--tag", "rebuilder",
            "--file", str(ROOT / "packaging" / "Containerfile"), str(context))  # fmt: skip
    yield buildah
    buildah("rmi", "--all", "--force")


class Buildah:
    """buildah with a storage of its own, and what of this machine its containers see."""

    def __init__(self, folder: Path) -> None:
        self._options = ["--root", str(folder / "storage"), "--runroot", str(folder / "run"), "--storage-driver", "vfs"]
        seen = {"/usr", sys.base_prefix, sysconfig.get_path("purelib")}
        self.volumes = [word for place in sorted(seen) for word in ("--volume", f"{place}:{place}:ro")]

    def __call__(self, *words: str) -> str:
        done = subprocess.run(["buildah", *self._options, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.strip()


def test_the_image_runs_the_command_as_a_user_of_its_own(image: Buildah) -> None:
    container = image("from", "rebuilder")
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    needed = f"PYTHONPATH=/opt/rebuilder/lib/{python}/site-packages:{sysconfig.get_path('purelib')}"

    def run(*words: str) -> str:
        return image("run", "--isolation", "chroot", *image.volumes, container, "--", "/usr/bin/env", needed, *words)

    assert run("rebuilder", "--version") == f"rebuilder, version {VERSION}"
    assert "at " in run("rebuilder", "db", "upgrade"), "the state folder is its own"
    assert run("id", "-u") == "991"
    config = json.loads(image("inspect", "--type", "image", "rebuilder"))["OCIv1"]["config"]
    assert (config["Entrypoint"], config["Cmd"]) == (["/opt/rebuilder/bin/rebuilder"], ["run"])


def test_the_role_is_one_that_ansible_understands(tmp_path: Path) -> None:
    servers.need("ansible", "ansible-playbook")
    hosts = tmp_path / "hosts"
    hosts.write_text("[rebuilder]\nlocalhost ansible_connection=local\n")
    command = ["ansible-playbook", "--inventory", str(hosts), "--syntax-check", "site.yml"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                          cwd=ROOT / "packaging/ansible", env=os.environ | {"LC_ALL": "C.UTF-8", "HOME": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")


def test_the_role_s_files_are_ones_that_the_wheel_brings(wheel: Path) -> None:
    tasks = yaml.safe_load((ROOT / "packaging" / "ansible" / "roles" / "rebuilder" / "tasks" / "main.yml").read_text())
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    units = next(task for task in tasks if task["name"] == "User and folders")
    for item in units["loop"]:
        assert any(name.endswith(f"/share/container-rebuilder/systemd/{item['from']}") for name in names)


def test_the_quadlet_says_what_the_image_is(tmp_path: Path) -> None:
    quadlet = configparser.ConfigParser(strict=False, interpolation=None)
    quadlet.optionxform = str  # type: ignore[method-assign,assignment]
    quadlet.read(ROOT / "packaging" / "rebuilder.container")
    recipe = (ROOT / "packaging" / "Containerfile").read_text()
    container = quadlet["Container"]
    assert f'CMD ["{container["Exec"]}"]' in recipe
    assert f"EXPOSE {container['PublishPort'].rpartition(':')[2]}" in recipe
    volume = configparser.ConfigParser()
    volume.read(ROOT / "packaging" / "rebuilder.volume")
    assert f"USER {volume['Volume']['User']}:{volume['Volume']['Group']}" in recipe
