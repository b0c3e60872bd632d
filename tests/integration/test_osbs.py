"""OSBS: what its client and its cluster do to a builder, and what must come of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator

import pytest
from msgspec.structs import replace
from support import koji_hub
from support.buildah_world import until
from support.harnesses.osbs import (
    DOCKERFILE,
    OsbsHarness,
    changed,
    limited,
    repository,
    user_params,
)
from support.koji_tasks import Koji
from support.tekton import Fault

from rebuilder.builders.osbs import OsbsBuilder
from rebuilder.config import KojiSettings, OsbsStreamSettings
from rebuilder.domain.build import BuildRejected, PartialResult, Phase, SiteError, Status
from rebuilder.domain.change import Change
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.image import Image, ImageBuild, Parent, ParentKind, Source
from rebuilder.domain.rpm import SourceBuild


def time_limit(harness: OsbsHarness, name: str) -> str:
    """What the client filled into the template."""
    return str(harness.cluster.runs[name]["spec"]["timeouts"]["pipeline"])


UNDER_WAY = {Phase.WAITING, Phase.RUNNING}


def phase(harness: OsbsHarness, ref: str) -> Phase:
    return harness.builder.poll([ref])[ref].phase


def test_the_run_is_asked_for_with_all_that_a_rebuild_needs(osbs: OsbsHarness) -> None:
    builder = OsbsBuilder(changed(
        osbs, platforms=("x86_64", "s390x"), yum_repourls=("https://example.org/a.repo",), signing_intent="release",
        default_buildtime_limit=600, max_buildtime_limit=7200,
    ))  # fmt: skip
    ref = builder.submit(osbs.order("app-f42-1")).ref
    params = user_params(osbs, ref)
    assert params.pop("base_image")
    assert params.pop("image_tag")
    assert params.pop("git_commit_depth") == 1
    assert params.pop("name").startswith("repository-f42-")
    assert params == {
        "component": "img-container", "git_branch": "f42", "git_ref": osbs.commit,
        "git_uri": str(osbs.folder / "repository"), "koji_parent_build": "base-container-42-7",
        "koji_target": "f42-candidate", "platforms": ["x86_64", "s390x"], "signing_intent": "release",
        "user": "rebuilder", "userdata": {"rebuilder": "app-f42-1"}, "yum_repourls": ["https://example.org/a.repo"],
        "kind": "build_user_params",
    }  # fmt: skip


@limited
def test_the_limit_of_a_build_is_the_time_out_of_its_run(osbs: OsbsHarness) -> None:
    builder = OsbsBuilder(changed(osbs, default_buildtime_limit=600, max_buildtime_limit=7200))
    assert time_limit(osbs, builder.submit(osbs.order("app-f42-1")).ref) == "600s"


def test_the_run_says_of_itself_what_it_is_and_keeps_what_its_template_says(osbs: OsbsHarness) -> None:
    cause = Change(SourceBuild.parse("openssl-1:3.2.2-1.fc42"), "f42")
    ref = osbs.builder.submit(replace(osbs.order("app-f42-1"), causes=(cause,))).ref
    assert osbs.cluster.runs[ref]["metadata"] == {
        "name": "app-f42-1",
        "labels": {"rebuilder/managed": "true"},
        "annotations": {
            "theirs": "kept", "rebuilder/key": "app-f42-1", "rebuilder/image": "app-f42-1:f42",
            "rebuilder/parents": '["base-container-42-7"]', "rebuilder/externals": "[]",
            "rebuilder/causes": '["openssl-1:3.2.2-1.fc42"]',
        },
    }  # fmt: skip


@limited
def test_without_a_configured_limit_the_client_s_own_configuration_gives_it(osbs: OsbsHarness) -> None:
    (osbs.folder / "osbs.conf").write_text("[default_binary]\ndefault_buildtime_limit = 1234\n")
    osbs.restart()
    assert time_limit(osbs, osbs.builder.submit(osbs.order("limited-f42-1")).ref) == "1234s"


def test_only_the_base_is_pinned_and_only_to_a_build_that_koji_knows(osbs: OsbsHarness) -> None:
    tools, base = ImageBuild("tools:f42", "tools-container-1-1"), ImageBuild("base:f42", "base-container-42-8")
    kinds = (Parent(ParentKind.STAGE, "tools:f42"), Parent(ParentKind.BASE, "base:f42"))
    order = osbs.order("both-f42-1")
    both = replace(order, image=replace(order.image, parents=kinds), parents=(tools, base))
    assert user_params(osbs, osbs.builder.submit(both).ref)["koji_parent_build"] == "base-container-42-8"
    unknown = replace(osbs.order("digest-f42-1"), parents=(ImageBuild("base:f42", "sha256:" + "2" * 64),))
    assert "koji_parent_build" not in user_params(osbs, osbs.builder.submit(unknown).ref)


def test_a_stream_may_have_its_own_parameters(osbs: OsbsHarness) -> None:
    general = osbs.settings.osbs.model_copy(update={"platforms": ("x86_64",), "yum_repourls": ("https://a/x.repo",)})
    own = OsbsStreamSettings(isolated=True, release="1.2", platforms=(), compose_ids=(7,))
    streams = {"f42": osbs.settings.streams["f42"].model_copy(update={"osbs": own})}
    osbs.settings = osbs.settings.model_copy(update={"osbs": general, "streams": streams})
    osbs.restart()
    params = user_params(osbs, osbs.builder.submit(osbs.order("own-f42-1")).ref)
    assert (params["isolated"], params["release"], params["compose_ids"]) == (True, "1.2", [7])
    assert params["yum_repourls"] == ["https://a/x.repo"]
    assert "platforms" not in params


def test_live_runs_are_polled_with_one_list_however_many_there_are(
    osbs: OsbsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(osbs.builder._logs, "follow", lambda runs: list(runs))  # the logs' streams ask on their own
    refs = [osbs.builder.submit(osbs.order(f"many-f42-{number}")).ref for number in range(3)]
    first = osbs.cluster.runs[refs[0]]
    for number in range(500):
        name = f"other-f42-{number}"
        osbs.cluster.runs[name] = {**first, "metadata": {**first["metadata"], "name": name}}
    osbs.cluster.lists = osbs.cluster.reads = 0
    asked = [*refs, *(f"other-f42-{number}" for number in range(500))]
    assert {status.phase for status in osbs.builder.poll(asked).values()} <= UNDER_WAY
    assert (osbs.cluster.lists, osbs.cluster.reads) == (2, 0)


def test_the_tasks_of_all_that_failed_are_read_with_one_list(
    osbs: OsbsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = [osbs.builder.submit(osbs.order(f"bad-f42-{number}")).ref for number in range(3)]
    for ref in refs:
        osbs.cluster.fail(ref, f"the build of {ref} broke")
    monkeypatch.setattr(osbs.builder._logs, "complete", len)  # the logs' readers ask on their own
    osbs.cluster.lists = 0
    found = osbs.builder.poll(refs)
    assert osbs.cluster.lists == 2, "one of the runs, one of their tasks"
    assert all(found[ref].phase is Phase.FAILED and f"the build of {ref} broke" in found[ref].reason for ref in refs)


def test_a_run_without_our_label_is_asked_for_by_its_name(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("older-f42-1")).ref
    del osbs.cluster.runs[ref]["metadata"]["labels"]
    osbs.cluster.succeed(ref, {})
    assert phase(osbs, ref) is Phase.SUCCEEDED


def test_a_run_has_begun_when_tekton_says_so(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("begun-f42-1")).ref
    osbs.cluster.runs[ref]["status"] = {"startTime": "2026-01-01T00:00:10Z"}
    assert osbs.builder.poll([ref])[ref] == Status(Phase.RUNNING, begun=1767225610.0)


def test_a_run_is_pending_then_started_then_running_all_of_which_is_running_to_us(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("slow-f42-1")).ref
    assert "status" not in osbs.cluster.runs[ref]
    assert phase(osbs, ref) in UNDER_WAY
    osbs.cluster.runs[ref]["status"] = {}
    assert phase(osbs, ref) in UNDER_WAY
    osbs.cluster._set(ref, "Unknown", "PipelineRunPending")
    assert phase(osbs, ref) in UNDER_WAY
    for reason in ("Started", "Running"):
        osbs.cluster._set(ref, "Unknown", reason)
        assert phase(osbs, ref) in UNDER_WAY


@pytest.mark.parametrize("reason", ["Succeeded", "Completed"])
def test_both_words_for_success_are_one(osbs: OsbsHarness, reason: str) -> None:
    ref = osbs.builder.submit(osbs.order("good-f42-1")).ref
    osbs.cluster.succeed(ref, {}, reason)
    assert phase(osbs, ref) is Phase.SUCCEEDED


def test_a_failure_has_the_words_of_the_task_that_failed(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("bad-f42-1")).ref
    osbs.cluster.fail(ref, "dnf: nothing provides\nlibfoo")
    found = osbs.builder.poll([ref])[ref]
    assert found == Status(Phase.FAILED, "binary-container-build: dnf: nothing provides libfoo")


@pytest.mark.parametrize(("reason", "task_reason"), [
    ("PipelineRunTimeout", "TaskRunTimeout"), ("CouldntGetPipeline", "Failed"), ("Failed", "TaskRunImagePullFailed"),
    ("Failed", "PodEvicted"),
])  # fmt: skip
def test_what_is_not_the_image_s_fault_is_an_abort(osbs: OsbsHarness, reason: str, task_reason: str) -> None:
    ref = osbs.builder.submit(osbs.order("unlucky-f42-1")).ref
    osbs.cluster.fail(ref, "no luck", reason, task_reason)
    assert phase(osbs, ref) is Phase.ABORTED


@pytest.mark.parametrize("message", [
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 80Mi.",
    "Pod was evicted", "Node is shutting down, evicting pods",
    "Pod was terminated in response to imminent node shutdown.",
    "Node node-1 which was running pod app-pod is unresponsive", "The node had condition: [DiskPressure].",
    'pods "app-pod" not found',
])  # fmt: skip
def test_a_pod_that_its_node_ends_is_an_abort(osbs: OsbsHarness, message: str) -> None:
    ref = osbs.builder.submit(osbs.order("node-f42-1")).ref
    osbs.cluster.fail(ref, message)
    assert osbs.builder.poll([ref])[ref].phase is Phase.ABORTED


def test_a_step_that_runs_out_of_memory_is_an_abort(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("oom-f42-1")).ref
    osbs.cluster.fail(ref, "a step exited with code 137")
    osbs.cluster.tasks[ref][0].status["steps"][0]["terminated"]["reason"] = "OOMKilled"
    assert osbs.builder.poll([ref])[ref].phase is Phase.ABORTED


def test_a_run_whose_task_somebody_stopped_is_canceled(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("stopped-f42-1")).ref
    osbs.cluster.fail(ref, "TaskRun was cancelled", "Failed", "TaskRunCancelled")
    assert phase(osbs, ref) is Phase.CANCELED


def test_a_run_that_was_deleted_is_lost_which_the_client_calls_a_failure(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("deleted-f42-1")).ref
    osbs.cluster.remove(ref)
    assert osbs.builder.poll([ref])[ref] == Status(Phase.ABORTED, "OSBS does not know this run any more")


@pytest.mark.parametrize("code", [409, 500, 503])
def test_an_answer_that_says_nothing_of_the_build_is_an_abort(osbs: OsbsHarness, code: int) -> None:
    ref = osbs.builder.submit(osbs.order("asked-f42-1")).ref
    osbs.cluster.faults.append(Fault("GET", "pipelineruns", code))
    with pytest.raises(InfrastructureError, match=f"OSBS: {code}: injected {code}"):
        osbs.builder.poll([ref])
    assert phase(osbs, ref) in UNDER_WAY


@pytest.mark.parametrize(("code", "told"), [(403, "OSBS: 403: injected 403"), (422, "mend the template")])
def test_a_cluster_that_takes_no_run_at_all_is_a_fault_of_the_site(osbs: OsbsHarness, code: int, told: str) -> None:
    osbs.cluster.faults.append(Fault("POST", "pipelineruns$", code))
    with pytest.raises(SiteError, match=told):
        osbs.builder.submit(osbs.order("site-f42-1"))


@limited
def test_a_limit_above_the_site_s_is_refused_with_the_client_s_words(osbs: OsbsHarness) -> None:
    files = {"container.yaml": "buildtime_limit: 7201\n"}
    order = osbs.order("long-f42-1")
    commit = repository(osbs.folder / "long", more=files)
    source = Source(git=str(osbs.folder / "long"), ref="f42", commit=commit)
    builder = OsbsBuilder(changed(osbs, max_buildtime_limit=7200, default_buildtime_limit=600))
    with pytest.raises(BuildRejected, match="refuses it: Build limit cannot be more than 7200 and is set to 7201"):
        builder.submit(replace(order, image=replace(order.image, source=source)))


def test_the_client_s_lines_are_written_by_our_handlers_alone(osbs: OsbsHarness) -> None:
    logging.getLogger("osbs").addHandler(logging.StreamHandler())
    osbs.restart()
    assert not logging.getLogger("osbs").handlers


def test_the_client_is_kept_from_repeating_what_we_would_not_know_of(osbs: OsbsHarness) -> None:
    osbs.cluster.faults.append(Fault("POST", "pipelineruns$", 500, after=True))
    with pytest.raises(InfrastructureError, match="500"):
        osbs.builder.submit(osbs.order("once-f42-1"))
    assert osbs.cluster.posted == ["once-f42-1"]
    assert set(osbs.builder.find(["once-f42-1"])) == {"once-f42-1"}


def test_already_exists_means_submitted(osbs: OsbsHarness) -> None:
    order = osbs.order("twice-f42-1")
    assert osbs.builder.submit(order) == osbs.builder.submit(order)
    assert osbs.cluster.posted == ["twice-f42-1"] * 2
    assert osbs.cluster.created == ["twice-f42-1"]


def test_a_conflict_without_a_run_is_none(osbs: OsbsHarness) -> None:
    osbs.cluster.faults.append(Fault("POST", "pipelineruns$", 409))
    with pytest.raises(InfrastructureError, match="409"):
        osbs.builder.submit(osbs.order("odd-f42-1"))


def test_an_expired_token_is_read_anew_once_and_then_it_is_said(osbs: OsbsHarness) -> None:
    ref = osbs.builder.submit(osbs.order("token-f42-1")).ref
    osbs.cluster.tokens = {"token-2"}
    with pytest.raises(InfrastructureError, match=r"does not accept our credentials .*renew the token"):
        osbs.builder.poll([ref])
    osbs.token_file.write_text("token-2\n")
    assert phase(osbs, ref) in UNDER_WAY
    osbs.builder.submit(osbs.order("token-f42-2"))
    assert osbs.cluster.created == ["token-f42-1", "token-f42-2"]


def test_a_password_gets_its_token_from_the_cluster(osbs: OsbsHarness) -> None:
    overrides = osbs.settings.osbs.overrides.model_copy(
        update={"token_file": None, "username": "builder", "password": "secret"}
    )
    builder = OsbsBuilder(changed(osbs, overrides=overrides))
    assert builder.poll([builder.submit(osbs.order("password-f42-1")).ref])["password-f42-1"].phase in UNDER_WAY


def test_a_dockerfile_that_osbs_refuses_is_the_image_s_fault(osbs: OsbsHarness) -> None:
    commit = repository(osbs.folder / "unlabeled", DOCKERFILE)
    order = osbs.order("refused-f42-1")
    source = Source(git=str(osbs.folder / "unlabeled"), ref="f42", commit=commit)
    with pytest.raises(BuildRejected, match="required label missing"):
        osbs.builder.submit(replace(order, image=replace(order.image, source=source)))
    with pytest.raises(BuildRejected, match="needs a git repository and a ref"):
        osbs.builder.submit(replace(order, image=Image("far", "f42")))
    assert osbs.cluster.posted == []


def test_a_repository_that_cannot_be_cloned_now_is_trouble(osbs: OsbsHarness) -> None:
    order = osbs.order("gone-f42-1")
    away = replace(order.image, source=replace(order.image.source, git=str(osbs.folder / "nowhere")))
    with pytest.raises(InfrastructureError, match="Unable to clone"):
        osbs.builder.submit(replace(order, image=away))


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


def tidied(osbs: OsbsHarness, settled: Collection[str]) -> list[str]:
    """The runs that are left after the builder has tidied until it has no more to do."""
    asked: list[Collection[str]] = []

    def known(keys: Collection[str]) -> set[str]:
        asked.append(keys)
        return set(keys) & set(settled)

    for _ in range(200):
        osbs.builder.tidy(known)
        if not set(osbs.cluster.runs) & set(settled):
            break
        time.sleep(0.05)
    return sorted(osbs.cluster.runs)


def test_runs_that_are_over_are_removed_once_their_logs_are_kept(osbs: OsbsHarness) -> None:
    osbs.settings = osbs.settings.model_copy(update={"osbs": osbs.settings.osbs.model_copy(update={"keep_runs": 0})})
    osbs.restart()
    for key in ("over-f42-1", "runs-f42-1", "unread-f42-1"):
        osbs.builder.submit(osbs.order(key))
        osbs.cluster.say(key, "a line of its log")
    osbs.succeed("over-f42-1")
    osbs.succeed("unread-f42-1")
    assert tidied(osbs, {"over-f42-1"}) == ["runs-f42-1", "unread-f42-1"]
    assert "a line of its log" in "".join(osbs.builder.log("over-f42-1"))
    assert osbs.builder.poll(["over-f42-1"])["over-f42-1"].phase is Phase.ABORTED


@pytest.mark.parametrize("keep", [3600, "forever"])
def test_runs_are_kept_as_long_as_is_wanted(osbs: OsbsHarness, keep: float | str) -> None:
    osbs.settings = osbs.settings.model_copy(update={"osbs": osbs.settings.osbs.model_copy(update={"keep_runs": keep})})
    osbs.restart()
    osbs.builder.submit(osbs.order("kept-f42-1"))
    osbs.succeed("kept-f42-1")
    until(lambda: osbs.builder.tidy(set))  # it is marked
    assert [osbs.builder.tidy(set) for _ in range(3)] == [0, 0, 0]
    assert list(osbs.cluster.runs) == ["kept-f42-1"]


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


def test_another_installation_s_runs_are_not_removed(osbs: OsbsHarness) -> None:
    osbs.settings = changed(osbs, keep_runs="forever")
    osbs.restart()
    osbs.builder.submit(osbs.order("theirs-f42-1"))
    osbs.succeed("theirs-f42-1")
    until(lambda: osbs.builder.tidy(set))
    osbs.settings = changed(osbs, keep_runs=0)
    osbs.restart()
    assert osbs.builder.tidy(lambda keys: ()) == 0
    assert list(osbs.cluster.runs) == ["theirs-f42-1"]
    assert osbs.builder.tidy(set) == 1
