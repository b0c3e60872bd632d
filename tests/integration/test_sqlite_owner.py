"""A database that root made or restored in the services' folder: what they say of it, and `doctor`."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import shell

from rebuilder.store import database, sqlite_owner
from rebuilder.store.sqlite_owner import unwritable

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")
SERVICE, SOMEBODY = 54321, 12345  # users without an account, as the one of a container
ENGINE = f"""
import os, sys
from rebuilder.cli import daemons, main
from rebuilder.engine import loop, standby
os.setgroups([])
os.setresgid({SERVICE}, {SERVICE}, {SERVICE})
os.setresuid({SERVICE}, {SERVICE}, {SERVICE})
main(["--config", sys.argv[1], "engine", "--until-idle"])
"""


@contextmanager
def service() -> Iterator[None]:
    """What is done in here is done by the user of the services. What is imported late must be imported before."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(SERVICE)
    os.seteuid(SERVICE)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


class Site:
    """A folder of the services, with a database that root has copied into it."""

    def __init__(self, folder: Path, template: Path) -> None:
        self.folder, self.config = folder / "state", folder / "config.toml"
        self.file = self.folder / "rebuilder.db"
        folder.chmod(0o755)
        self.folder.mkdir()
        shutil.copy(template, self.file)
        self.config.write_text(f'[consumer_config]\ndatabase_url = "sqlite:///{self.file}"\nbuilder = "simulated"\n')
        self.give(SERVICE, self.folder)

    def give(self, user: int, *paths: Path) -> None:
        for path in paths or (self.folder, *self.folder.iterdir()):
            os.chown(path, user, user)

    def types(self, *words: str) -> subprocess.CompletedProcess[str]:
        return shell.types("--config", str(self.config), *words)

    def doctor(self) -> tuple[str, str]:
        """What `doctor` says of the database: what is wrong, and what mends it."""
        (found,) = (one for one in json.loads(self.types("doctor", "--json").stdout) if one["about"] == "database")
        return found["detail"], found["mend"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("template") / "rebuilder.db"
    database.ready(f"sqlite:///{file}").dispose()
    return file


@pytest.fixture
def site(template: Path) -> Iterator[Site]:
    """In a folder that everybody may enter, as those of pytest are not."""
    with tempfile.TemporaryDirectory() as folder:
        found = Site(Path(folder), template)
        yield found


def test_to_root_doctor_names_the_user_of_the_folder_and_changes_nothing(site: Site) -> None:
    wrong = (f"{site.file} belongs to root, and the services run as {SERVICE}", f"chown -R {SERVICE}: {site.folder}")
    assert site.doctor() == wrong
    assert site.doctor() == wrong
    site.give(SERVICE)
    assert site.doctor() == (f"sqlite:///{site.file} answers, at version {database.HEAD}", "")


def test_to_the_services_user_doctor_says_it_also_where_the_file_can_be_read(site: Site) -> None:
    """0644 is what a copy has that root made with `VACUUM INTO`."""
    site.doctor()
    site.file.chmod(0o644)
    with service():
        detail, mend = site.doctor()
    assert detail == f"{site.file} belongs to root, and {SERVICE} may not write it"
    assert mend == f"as root, chown -R {SERVICE}: {site.folder}"


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_whoever_writes_says_whose_it_is_and_how_to_mend_that(site: Site, template: Path, mode: int) -> None:
    site.file.chmod(mode)
    with service():
        done = site.types("pause")
    told = f"database {site.file}: {site.file} belongs to root, and {SERVICE} may not write it"
    assert (done.returncode, done.stderr) == (3, f"rebuilder: {told}: as root, chown -R {SERVICE}: {site.folder}\n")


def test_an_engine_ends_with_that_line_and_systemd_starts_it_again(site: Site) -> None:
    site.file.chmod(0o644)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(shell.ROOT), "HOME": str(site.folder)}
    done = subprocess.run([sys.executable, "-c", ENGINE, str(site.config)], env=environment, capture_output=True,
                          text=True, check=False, timeout=60)  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert f"{site.file} belongs to root, and {SERVICE} may not write it: as root, chown -R" in done.stderr


def test_a_folder_that_is_root_s_is_named_itself(site: Site) -> None:
    site.give(SERVICE)
    site.give(0, site.folder)
    with service():
        found = unwritable(site.file)
    assert found is not None
    assert found.detail == f"{site.folder} belongs to root, and {SERVICE} may not write it"


def test_what_is_another_user_s_is_used_as_that_user_and_not_given_away(site: Site) -> None:
    site.give(SOMEBODY)
    with service():
        found = unwritable(site.file)
    assert found is not None
    assert found.mend == f"run this as {SOMEBODY}"


def test_an_order_of_a_user_without_an_account_is_kept_with_the_number(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: SERVICE)
    done = site.types("pause", "--reason", "mirror is down")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"by {SERVICE}" in site.types("status").stdout


def test_a_folder_that_nobody_gave_to_the_services_is_told_to_root_too(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.give(0)
    assert unwritable(site.file) is None, "root may run all of it alone"
    account = SimpleNamespace(pw_uid=SERVICE, pw_dir=str(site.folder))
    monkeypatch.setattr(pwd, "getpwnam", lambda _: account)
    found = sqlite_owner.unwritable(site.file)
    assert found is not None
    assert found.mend == f"chown -R {SERVICE}: {site.folder}"
