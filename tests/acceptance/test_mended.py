"""What failed is tried again, once, when its source was mended."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.buildah_world import until
from support.users import User, engine_of, update

DOCUMENT = """\
version: 1
streams: {{f42: {{dist: .fc42}}}}
images:
  - {{name: base, stream: f42, duration: 1, source: {{git: "https://git.example.com/base", commit: "{commit}"}},
     rpms: [&old {{nevra: "openssl-libs-1:3.2.1-1.fc42.x86_64", source: openssl-3.2.1-1.fc42.src.rpm}}]}}
  - {{name: web, stream: f42, duration: 1, parents: [base], rpms: [*old]}}
"""
ONE, TWO, THREE = "1" * 40, "2" * 40, "3" * 40
FAILS = 'failures = ["base:f42"]'


class Owner(User):
    """Somebody whose images have commits. `status` is what `wave` ends with."""

    status = 1

    def commit(self, commit: str, simulated: str = FAILS) -> None:
        self.configure('[consumer_config.streams.f42]\ndist = ".fc42"\nbodhi_releases = ["F42"]', simulated)
        (self.folder / "inventory.yaml").write_text(DOCUMENT.format(commit=commit))
        assert self.types("inventory", "sync").returncode == 0

    def works(self) -> int:
        return self.types("run", "--until-idle").returncode

    def states(self) -> dict[str, str]:
        wave = self.reads("wave", "1", status=self.status)
        return {rebuild["image"]: rebuild["state"] for rebuild in wave["rebuilds"]}

    def attempts(self) -> int:
        """How often the build of base was begun."""
        return self.types("wave", "1", "--story").stdout.count("dispatched")


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    owner = Owner(tmp_path)
    owner.commit(ONE)
    assert owner.types("replay", "-", stdin=update("openssl-3.2.2-1.fc42")).returncode == 0
    assert owner.works() == 1
    assert owner.states() == {"base:f42": "failed", "web:f42": "blocked"}
    return owner


def test_a_failed_build_is_tried_again_when_its_commit_is_another_one(owner: Owner) -> None:
    owner.commit(TWO, simulated="")
    assert owner.works() == 0
    owner.status = 0
    assert owner.states() == {"base:f42": "succeeded", "web:f42": "succeeded"}
    story = owner.types("wave", "1", "--story").stdout
    assert "its source has changed since it failed, from 111111111111 to 222222222222: tried again, once" in story


def test_it_is_tried_once_for_each_change_and_not_for_none(owner: Owner) -> None:
    assert owner.works() == 1
    assert owner.attempts() == 1
    for commit, attempts in ((TWO, 2), (TWO, 2), (THREE, 3)):
        owner.commit(commit)
        assert owner.works() == 1
        assert owner.attempts() == attempts
        assert owner.states() == {"base:f42": "failed", "web:f42": "blocked"}


def test_a_sync_beside_an_engine_is_taken_up_at_once(owner: Owner) -> None:
    owner.commit(ONE, simulated="")
    owner.status = 1
    with engine_of(owner):
        until(lambda: owner.reads("status", status=1)["active"])
        assert owner.states() == {"base:f42": "failed", "web:f42": "blocked"}
        owner.commit(TWO, simulated="")
        until(lambda: owner.types("status").returncode == 0)
        owner.status = 0
        until(lambda: owner.states() == {"base:f42": "succeeded", "web:f42": "succeeded"})
