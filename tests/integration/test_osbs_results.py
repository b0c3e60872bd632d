"""OSBS: the result of a run, from the cluster alone and with Koji."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import koji_hub
from support.harnesses.osbs import OsbsHarness, phase
from support.koji_builds import Koji
from support.tekton import Fault

from rebuilder.builders.osbs import OsbsBuilder
from rebuilder.config import KojiSettings
from rebuilder.domain.build import PartialResult, Phase
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.image import ImageBuild


def test_the_result_has_digest_and_names_and_no_guess_at_the_rpms(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("done-f42-1")).ref
    osbs.succeed(ref)
    digest = "sha256:" + "1" * 64
    specs = (f"registry.example.org/img:{ref}", "registry.example.org/img:latest")
    built = ImageBuild("done-f42-1:f42", digest, None, ("base-container-42-7",), digest, specs)
    assert osbs.builder.result(ref) == built


def test_a_result_comes_also_where_the_cluster_has_its_tasks_no_more(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("gone-f42-1")).ref
    osbs.succeed(ref)
    osbs.cluster.tasks[ref].clear()  # they are removed before their run: ttl, or somebody's tidying
    built = osbs.builder.result(ref)
    assert (built.image, built.parents) == ("gone-f42-1:f42", ("base-container-42-7",))
    assert built.tags == (f"registry.example.org/img:{ref}", "registry.example.org/img:latest")


def test_a_result_comes_also_where_a_task_has_no_status(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("bare-f42-1")).ref
    osbs.succeed(ref)
    for task in osbs.cluster.tasks[ref]:
        task.status.clear()
    assert osbs.builder.result(ref).image == "bare-f42-1:f42"


SSL = "openssl-libs-1:3.2.2-1.fc42.x86_64 openssl-3.2.2-1.fc42"


@pytest.fixture
def koji() -> Iterator[koji_hub.Hub]:
    with koji_hub.Hub(Koji()) as running:
        running.koji.image("base-container-42-7", "f42-images", [SSL])
        running.koji.image(
            "img-container-1-5", "f42-images", [SSL],
            {"registry/f42/base": "base-container-42-7"}, "base-container-42-7",
        )  # fmt: skip
        yield running


def with_koji(osbs: OsbsHarness, running: koji_hub.Hub) -> OsbsBuilder:
    koji = KojiSettings(hub=running.url, timeout_seconds=5)
    return OsbsBuilder(osbs.settings.model_copy(update={"koji": koji}))


def test_the_result_is_koji_s_build_with_its_rpms_where_there_is_a_koji(osbs: OsbsHarness, koji: koji_hub.Hub) -> None:
    builder = with_koji(osbs, koji)
    ref = builder.submit(osbs.order("koji-f42-1")).ref
    number = koji.koji.by_nvr("img-container-1-5")["id"]
    osbs.cluster.succeed(ref, {"repositories": {}, "koji-build-id": str(number)})
    with koji.away(), pytest.raises(InfrastructureError):
        builder.result(ref)
    built = with_koji(osbs, koji).result(ref)
    assert (built.image, built.ident) == ("koji-f42-1:f42", "img-container-1-5")
    assert built.parents == ("base-container-42-7",)
    assert built.manifest is not None
    assert {rpm.nevra for rpm in built.manifest.rpms} >= {"openssl-libs-1:3.2.2-1.fc42.x86_64"}


def test_a_build_that_koji_does_not_have_yet_is_asked_for_again(osbs: OsbsHarness, koji: koji_hub.Hub) -> None:
    builder = with_koji(osbs, koji)
    ref = builder.submit(osbs.order("early-f42-1")).ref
    osbs.cluster.succeed(ref, {"koji-build-id": 987654})
    with pytest.raises(InfrastructureError, match="Koji has no container build 987654"):
        builder.result(ref)


def test_tasks_that_cannot_be_listed_hold_up_nobody_else(osbs: OsbsHarness) -> None:
    good, bad = (osbs.builder.submit(osbs.order(f"{name}-f42-1")).ref for name in ("good", "bad"))
    osbs.succeed(good)
    osbs.cluster.fail(bad, "boom")
    osbs.cluster.faults.append(Fault("GET", "/taskruns$", 403, times=1000))
    assert {ref: status.phase for ref, status in osbs.builder.poll([good, bad]).items()} == {good: Phase.SUCCEEDED}
    with pytest.raises(PartialResult, match="the tasks of good-f42-1 cannot be read") as error:
        osbs.builder.result(good)
    assert error.value.build.tags[0] == f"registry.example.org/img:{good}"


def test_a_run_that_is_removed_after_its_success_was_seen_still_has_its_result(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("brief-f42-1")).ref
    osbs.succeed(ref)
    assert phase(osbs, ref) is Phase.SUCCEEDED
    osbs.cluster.remove(ref)
    assert osbs.builder.result(ref).tags[0] == f"registry.example.org/img:{ref}"
