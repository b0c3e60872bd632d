"""OSBS: what is asked of it for a build, and what its refusals mean."""

from __future__ import annotations

import logging

import pytest
from msgspec.structs import replace
from support.harnesses.osbs import DOCKERFILE, UNDER_WAY, OsbsHarness, changed, limited, phase, repository, user_params
from support.tekton import Fault

from rebuilder.builders.osbs import OsbsBuilder
from rebuilder.config import OsbsStreamSettings
from rebuilder.domain.build import BuildRejected, SiteError
from rebuilder.domain.change import Change
from rebuilder.domain.errors import InfrastructureError
from rebuilder.domain.image import Image, ImageBuild, Parent, ParentKind, Source
from rebuilder.domain.rpm import SourceBuild


def time_limit(harness: OsbsHarness, name: str) -> str:
    """What the client filled into the template."""
    return str(harness.cluster.runs[name]["spec"]["timeouts"]["pipeline"])


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
