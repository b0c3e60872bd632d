"""The engine on OSBS, with everything that goes wrong on the way: one run for each rebuild."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from integration.workbench import Workbench, image
from msgspec.structs import replace
from sqlalchemy import Engine
from support import databases, koji_hub
from support.api_client import Client
from support.buildah_world import until
from support.harnesses.osbs import DOCKERFILE, OsbsHarness, repository
from support.koji_builds import Koji
from support.pushing import announced
from support.tekton import Fault

from rebuilder.config import KojiSettings
from rebuilder.domain.command import Command
from rebuilder.domain.image import Source
from rebuilder.engine import commands, submission
from rebuilder.engine.calls import Answer
from rebuilder.messages import ImagePushedV1
from rebuilder.store import actions
from rebuilder.store.actions import Verb

NVR = "openssl-3.2.2-1.fc42"


class Site:
    """A base with an image on it, an engine, and a cluster that ends every run that the engine has seen go."""

    def __init__(self, store: Engine, osbs: OsbsHarness, base: Source | None = None, **settings: object) -> None:
        self.osbs, self.cluster = osbs, osbs.cluster
        source = Source(git=str(osbs.folder / "repository"), ref="f42", commit=osbs.commit)
        given = ((image("base"), base or source), (image("app", "base"), source))
        images = [(replace(image, source=at), build) for (image, build), at in given]
        self.bench = Workbench(store, images, poll_seconds=0.01, **settings)
        self.restart()

    def restart(self) -> None:
        self.osbs.restart()
        self.bench.builder = self.osbs.builder  # type: ignore[assignment]
        self.bench.restart()

    def work(self) -> None:
        """Until nothing is left to be done."""
        for _ in range(300):
            if not self.bench.loop.once() and self.bench.loop.idle():
                return
            for name, run in list(self.cluster.runs.items()):
                if "status" in run:
                    self.succeed(name)
                else:
                    self.cluster.begin(name)
            self.bench.clock.now += 5
        raise AssertionError(f"not idle: {self.bench.states()}")

    def passes(self, count: int) -> None:
        """So many passes, between which each run begins and ends well."""
        for _ in range(count):
            self.bench.loop.once()
            for name, run in list(self.cluster.runs.items()):
                if "status" in run:
                    self.succeed(name)
                else:
                    self.cluster.begin(name)
            self.bench.clock.now += 5

    def gate(self, image: str, passed: bool, reason: str = "") -> None:
        with self.bench.store.begin() as connection:
            commands.give(connection, Command("gate", image, "ann", passed=passed, reason=reason), self.bench.clock.now)

    def succeed(self, name: str) -> None:
        self.osbs.succeed(name)

    def until_building(self) -> str:
        """The name of the base's run."""
        self.bench.tell(NVR)
        self.bench.passes()
        (name,) = self.cluster.runs
        return name

    def ended_well(self) -> None:
        assert self.bench.states() == [("base", "succeeded"), ("app", "succeeded")]
        assert len(self.cluster.runs) == 2


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Engine]:
    engine = databases.sqlite(tmp_path / "test.db")
    yield engine
    engine.dispose()


@pytest.fixture
def site(store: Engine, osbs: OsbsHarness) -> Site:
    return Site(store, osbs)


def once_each(site: Site) -> None:
    assert len(site.cluster.created) == len(set(site.cluster.created)) == 2


def test_what_osbs_pushed_is_announced_and_in_the_record_by_digest(store: Engine, osbs: OsbsHarness) -> None:
    site = Site(store, osbs, notify={"enabled": True})
    site.bench.tell(NVR)
    site.work()
    site.ended_well()
    pushed = {message.body["image"]: message for message in announced(store) if isinstance(message, ImagePushedV1)}
    assert pushed.keys() == {"base:f42", "app:f42"}
    client = Client(store, site.bench.settings)
    for listed in client.reads("pull-specs", stream="f42"):
        message = pushed[listed["image"]]
        (spec,) = message.pull_specs
        assert spec.startswith("registry.example.org/img@sha256:")
        assert "registry.example.org/img:latest" in message.body["names"]
        assert listed["pull_specs"] == client.reads(f"builds/{listed['build_id']}")["pull_specs"] == [spec]
        assert spec in client.http.get(f"/images/{listed['image']}").text


def test_a_gate_holds_the_children_of_what_osbs_built_and_what_does_not_pass_has_failed(
    store: Engine, osbs: OsbsHarness
) -> None:
    site = Site(store, osbs, streams={"f42": {"dist": ".fc42", "gate": True}})
    site.bench.tell(NVR)
    site.passes(30)
    assert site.bench.states() == [("base", "testing"), ("app", "waiting")]
    site.restart()
    site.passes(10)
    site.gate("base:f42", passed=True)
    site.passes(30)
    assert site.bench.states() == [("base", "succeeded"), ("app", "testing")]
    site.gate("app:f42", passed=False, reason="smoke test: exit status 1")
    site.passes(10)
    assert site.bench.states() == [("base", "succeeded"), ("app", "failed")]
    assert site.bench.entry("app").reason == "tests failed: the gate was closed by ann: smoke test: exit status 1"
    assert len(site.cluster.created) == 2, "what the gate refused is not built again"


def test_a_base_that_does_not_pass_its_gate_blocks_its_children(store: Engine, osbs: OsbsHarness) -> None:
    site = Site(store, osbs, streams={"f42": {"dist": ".fc42", "gate": True}})
    site.bench.tell(NVR)
    site.passes(30)
    site.gate("base:f42", passed=False, reason="smoke test: exit status 1")
    site.passes(10)
    assert site.bench.states() == [("base", "failed"), ("app", "blocked")]
    assert len(site.cluster.created) == 1


def test_a_wave_goes_through_and_what_nobody_could_verify_is_said_to_be_so(site: Site) -> None:
    site.bench.tell(NVR)
    site.work()
    site.ended_well()
    once_each(site)
    assert [entry.reason for entry in site.bench.rebuilds()] == ["not verified: its manifest is unknown"] * 2


class WithKoji(Site):
    """OSBS imports each build into Koji, whose builds have these RPMs."""

    def __init__(self, store: Engine, osbs: OsbsHarness, koji: Koji) -> None:
        self.koji = koji
        super().__init__(store, osbs)

    def succeed(self, name: str) -> None:
        nvr = f"{name.partition('-')[0]}-container-42-8"
        self.cluster.succeed(name, {"koji-build-id": self.koji.by_nvr(nvr)["id"]})

    def pinned(self, image: str) -> object:
        (run,) = [run for name, run in self.cluster.runs.items() if name.startswith(image)]
        return json.loads(run["spec"]["params"][0]["value"]).get("koji_parent_build")


@pytest.mark.parametrize(("version", "states"), [
    ("3.2.2", [("base", "succeeded"), ("app", "succeeded")]), ("3.2.1", [("base", "failed"), ("app", "blocked")]),
])  # fmt: skip
def test_with_koji_the_child_is_pinned_to_its_parent_s_build_and_the_rpms_are_proof(
    store: Engine, osbs: OsbsHarness, version: str, states: list[tuple[str, str]]
) -> None:
    ssl = [f"openssl-libs-1:{version}-1.fc42.x86_64 openssl-{version}-1.fc42"]
    with koji_hub.Hub(Koji()) as running:
        koji = running.koji
        parent = "base-container-42-8"
        koji.image(parent, "f42-images", ssl)
        koji.image("app-container-42-8", "f42-images", ssl, {"registry/base": parent}, parent)
        osbs.settings = osbs.settings.model_copy(update={"koji": KojiSettings(hub=running.url)})
        site = WithKoji(store, osbs, koji)
        site.bench.tell(NVR)
        site.work()
        assert site.bench.states() == states
        if version == "3.2.2":
            assert site.pinned("app") == parent
            assert {entry.reason for entry in site.bench.rebuilds()} == {""}
        else:
            assert "openssl-libs-1:3.2.1-1.fc42.x86_64 is still installed" in site.bench.entry("base").reason


def test_a_result_that_stays_unread_is_what_is_known_of_it_after_a_while(store: Engine, osbs: OsbsHarness) -> None:
    with koji_hub.Hub(Koji()) as running:
        osbs.settings = osbs.settings.model_copy(update={"koji": KojiSettings(hub=running.url)})
        site = Site(store, osbs)
        specs = {"unique": ["registry.example.org/img:1"]}
        site.cluster.succeed(site.until_building(), {"repositories": specs, "koji-build-id": 987654})
        for _ in range(3):
            site.bench.passes(10)
            assert site.bench.entry("base").state == "building", "Koji may have it in a moment"
        until(lambda: site.bench.passes(20) or site.bench.entry("base").state != "building")
    base = site.bench.entry("base")
    assert base.state == "succeeded"
    told = "not verified: Koji's build 987654 cannot be read: Koji has no container build 987654"
    assert base.reason.startswith(told)


def test_a_run_that_was_made_though_the_answer_was_lost_is_the_one_that_counts(site: Site) -> None:
    site.cluster.faults += [Fault("POST", "pipelineruns$", 500, times=1, after=True)]
    site.bench.tell(NVR)
    site.work()
    site.ended_well()
    once_each(site)
    assert site.cluster.posted == site.cluster.created


def test_a_run_that_was_made_before_the_engine_died_is_adopted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(_submissions: object, _connection: object, answers: Sequence[Answer]) -> int:
        if answers:
            raise KeyboardInterrupt
        return 0

    with monkeypatch.context() as patch:
        patch.setattr(submission.Submissions, "_record_submitted", dies)
        with pytest.raises(KeyboardInterrupt):
            site.until_building()
    assert len(site.cluster.created) == 1
    site.restart()
    site.work()
    site.ended_well()
    once_each(site)
    assert site.cluster.posted == site.cluster.created


def test_a_run_that_is_deleted_under_us_is_made_again_and_is_no_failure(site: Site) -> None:
    name = site.until_building()
    site.cluster.remove(name)
    site.work()
    site.ended_well()
    assert name not in site.cluster.runs
    assert len(site.cluster.created) == 3


def test_a_token_that_expires_in_the_middle_is_waited_for(site: Site) -> None:
    site.until_building()
    site.cluster.tokens = {"token-2"}
    site.bench.passes(30)
    assert site.bench.states() == [("base", "building"), ("app", "waiting")]
    site.osbs.token_file.write_text("token-2")
    site.work()
    site.ended_well()
    once_each(site)


def test_a_cluster_that_is_down_for_a_while_costs_no_build(site: Site) -> None:
    with site.cluster.away():
        site.bench.tell(NVR)
        site.bench.passes(300)
        assert site.bench.states() == [("base", "submitting"), ("app", "waiting")]
    site.bench.passes(60)  # the longest pause before the cluster is asked again, and one before the next try
    assert site.bench.states() == [("base", "building"), ("app", "waiting")]
    with site.cluster.away():
        site.bench.passes(300)
        assert site.bench.states() == [("base", "building"), ("app", "waiting")]
    site.work()
    site.ended_well()
    once_each(site)


def test_an_image_that_osbs_refuses_has_failed_and_blocks_what_is_on_it(store: Engine, osbs: OsbsHarness) -> None:
    commit = repository(osbs.folder / "unlabeled", DOCKERFILE)
    site = Site(store, osbs, Source(git=str(osbs.folder / "unlabeled"), ref="f42", commit=commit))
    site.bench.tell(NVR)
    site.work()
    assert site.bench.states() == [("base", "failed"), ("app", "blocked")]
    assert "required label missing" in site.bench.entry("base").reason
    assert site.cluster.posted == []


def test_a_failed_run_is_not_repeated_and_says_why(site: Site) -> None:
    site.osbs.fail(site.until_building())
    site.bench.passes(1)
    assert site.bench.states() == [("base", "failed"), ("app", "blocked")]
    assert "nothing provides libfoo" in site.bench.entry("base").reason


def test_an_operator_s_cancel_ends_the_run(site: Site) -> None:
    name = site.until_building()
    with site.bench.store.begin() as connection:
        actions.request(connection, Verb.CANCEL, "base:f42", "me", "", site.bench.clock.now)
    site.bench.passes()
    assert site.bench.states()[0] == ("base", "canceled")
    assert site.cluster.runs[name]["spec"]["status"] == "CancelledRunFinally"


def test_runs_are_removed_when_the_engine_has_all_that_they_gave(store: Engine, osbs: OsbsHarness) -> None:
    osbs.settings = osbs.settings.model_copy(update={"osbs": osbs.settings.osbs.model_copy(update={"keep_runs": 0})})
    site = Site(store, osbs)
    site.until_building()
    site.work()
    assert site.bench.states() == [("base", "succeeded"), ("app", "succeeded")]

    def tidied() -> bool:
        site.bench.clock.now += 700
        site.bench.passes()
        return not site.cluster.runs

    until(tidied)
    assert site.bench.states() == [("base", "succeeded"), ("app", "succeeded")]
