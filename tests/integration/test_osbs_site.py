"""OSBS: what of its client, its site and a source keeps a run from being made, and is told before."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.authority import Authority
from support.buildah_world import until
from support.harnesses.osbs import (
    LABELED,
    STANDIN,
    TEMPLATE,
    OsbsHarness,
    changed,
    forget,
    limited,
    of_source,
    repository,
    standing_in,
    user_params,
)

from rebuilder.builders import osbs_library
from rebuilder.builders.osbs import OsbsBuilder
from rebuilder.config import OsbsOverrides, OsbsStreamSettings
from rebuilder.domain.build import BuildRejected, SiteError
from rebuilder.domain.errors import InfrastructureError, RequestError


def test_a_site_is_looked_at_with_a_verdict_for_each_thing(osbs: OsbsHarness) -> None:
    assert [about for about, fault in osbs.builder.site() if fault] == []
    osbs.token_file.write_text("nobody's\n")
    osbs.restart()
    ((about, fault),) = [found for found in osbs.builder.site() if found[1]]
    assert about == f"OSBS at {osbs.cluster.url}"
    assert "does not accept our credentials" in fault


def without(tmp_path: Path, change: Callable[[Path], None]) -> Path:
    """A copy of the stand-in that was changed."""
    shutil.copytree(STANDIN, tmp_path / "changed")
    change(tmp_path / "changed" / "osbs")
    return tmp_path / "changed"


def edited(file: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new))

    return change


class Absent:
    """Keeps `osbs` from being found, wherever it is."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> None:
        if name == "osbs":
            raise ModuleNotFoundError(name, name=name)


def test_a_client_that_is_missing_is_one_line_at_the_start(
    osbs: OsbsHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget()
    monkeypatch.setattr(sys, "meta_path", [Absent, *sys.meta_path])
    with pytest.raises(RequestError) as error:
        OsbsBuilder(osbs.settings)
    told = "builder osbs: osbs-client is not installed: install python3-osbs-client from the distribution"
    assert str(error.value) == told


PARAMS = "build/user_params.py"
UNFIT = {
    "needs": (edited("osbs_http.py", "import requests", "import absent_module"), "absent_module is missing"),
    "urllib3": (edited("osbs_http.py", "RETRIES = 8", "method_whitelist = RETRIES = 8"), "install urllib3 < 2"),
    "pins": (edited(PARAMS, "koji_parent_build: Any = None,", ""), "would drop koji_parent_build without a word"),
    "userdata": (edited(PARAMS, "userdata: Any = None,", ""), "would drop userdata without a word"),
    "limits": (edited("api.py", 'kwargs.get("max_buildtime_limit")', "0"), "would drop max_buildtime_limit without"),
    "old": (edited("api.py", "_get_binary_container_pipeline_name", "_named"), "version 2 is needed"),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_a_client_that_is_unfit_is_one_line_at_the_start(
    osbs: OsbsHarness, tmp_path: Path, unfit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(osbs_library, "version", lambda _: "2.2.1")  # whichever urllib3 the tests have
    change, told = UNFIT[unfit]
    with standing_in(without(tmp_path, change)), pytest.raises(RequestError, match=told) as error:
        OsbsBuilder(osbs.settings)
    assert "\n" not in str(error.value)


CONF = "[default_binary]\nopenshift_url = {url}\ntoken = t\npipeline_run_path = {template}\n"
SITES = {
    "no file": (None, TEMPLATE, r"osbs.conf \S+: no such file: set consumer_config.osbs.file"),
    "no header": ("openshift_url = x\n", TEMPLATE, "osbs.conf cannot be read: File contains no section headers"),
    "no text": ("[default_binary]\na = \udcff\n", TEMPLATE, "osbs.conf cannot be read: .* codec can't decode"),
    "no section": ("[other]\n", TEMPLATE, r"it has no section default_binary: set .*section to one of other"),
    "no URL": (CONF.replace("openshift_url", "url"), TEMPLATE, r"openshift_url: it is not set: set it in .*osbs.conf"),
    "no scheme": (CONF.replace("{url}", "osbs.example.org"), TEMPLATE, "osbs.example.org has no scheme: write https"),
    "no token": (CONF.replace("token = t\n", ""), TEMPLATE, "credentials: there are none: set token_file in"),
    "empty token": (CONF.replace("token = t", "token ="), TEMPLATE, "credentials: the token is empty: renew it"),
    "no token file": (CONF.replace("token = t", "token_file = /nowhere"), TEMPLATE, "/nowhere: no such file"),
    "no template": (CONF.replace("pipeline_run_path", "path"), TEMPLATE, "pipeline_run_path: it is not set: set it in"),
    "template gone": (CONF.replace("{template}", "/nowhere"), TEMPLATE, "pipeline_run_path: /nowhere: no such file"),
    "empty template": (CONF, "", "it is not a PipelineRun when it is filled in"),
    "broken template": (CONF, TEMPLATE + "  a: [", "it is not YAML when it is filled in"),
    "its name": (CONF, TEMPLATE.replace("$osbs_pipeline_run_name", "ours"), "metadata.name is not .osbs_pipeline_run"),
    "unknown field": (CONF, TEMPLATE + "  a: $nope\n", r"osbs-client does not know its field \$nope"),
    "map": (CONF, TEMPLATE + "  a: $osbs_configmap_name\n", "reactor_config_map is not set in .* the text None"),
    "limits": (CONF + "default_buildtime_limit = 99999\n", TEMPLATE, "the default, 99999 s, is over the most"),
    "no limit": (CONF + "default_buildtime_limit = 0\n", TEMPLATE, "limits of a build: they must be above 0 s"),
    "flag": (CONF + "verify_ssl = maybe\n", TEMPLATE, "verify_ssl: maybe is neither true nor false"),
    "words": (CONF + "max_buildtime_limit = long\n", TEMPLATE, "a limit is not a number of seconds: .*long"),
}


@pytest.mark.parametrize("site", [
    pytest.param(site, marks=limited) if site in ("limits", "words", "no limit") else site for site in SITES
])  # fmt: skip
def test_a_bad_site_is_one_line_at_the_start(osbs: OsbsHarness, site: str) -> None:
    conf, template, told = SITES[site]
    file = osbs.folder / "template.yaml"
    file.write_text(template)
    if conf is not None:
        text = conf.format(url=osbs.cluster.url, template=file)
        (osbs.folder / "osbs.conf").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RequestError, match=told) as error:
        OsbsBuilder(changed(osbs, overrides=OsbsOverrides()))
    assert "\n" not in str(error.value)


def test_an_apostrophe_in_the_user_s_name_is_one_line_at_the_start(osbs: OsbsHarness) -> None:
    with pytest.raises(RequestError, match="user o'brien: o'brien has an apostrophe, which breaks the template"):
        OsbsBuilder(changed(osbs, user="o'brien"))


def test_tekton_s_own_variables_and_dollars_are_no_fields_of_a_template(osbs: OsbsHarness) -> None:
    template = osbs.folder / "run.yaml"
    template.write_text(TEMPLATE + "  a: $(context.pipelineRun.name) $$HOME\n")
    osbs.restart()


def test_a_template_that_broke_after_the_start_is_a_fault_of_the_site(osbs: OsbsHarness) -> None:
    (osbs.folder / "run.yaml").write_text(TEMPLATE + "  a: [")
    with pytest.raises(SiteError, match=r"pipeline_run_path: \S+run.yaml: it is not YAML"):
        osbs.builder.submit(osbs.order("rendered-f42-1"))
    (osbs.folder / "run.yaml").write_text(TEMPLATE)
    osbs.builder.submit(osbs.order("rendered-f42-1"))


def test_an_image_whose_words_do_not_fit_into_the_template_fails_alone(osbs: OsbsHarness) -> None:
    commit = repository(osbs.folder / "it's here", LABELED)
    with pytest.raises(BuildRejected, match="its parameters do not fit into"):
        osbs.builder.submit(of_source(osbs.order("quoted-f42-1"), osbs.folder / "it's here", commit))


@pytest.mark.parametrize("ours", [True, False])
def test_whether_a_build_is_scratch_is_said_by_us_whatever_osbs_conf_says(osbs: OsbsHarness, ours: bool) -> None:
    (osbs.folder / "osbs.conf").write_text(f"[default_binary]\nscratch = {not ours}\n")
    builder = OsbsBuilder(changed(osbs, scratch=ours))
    assert user_params(osbs, builder.submit(osbs.order("scratch-f42-1")).ref).get("scratch", False) is ours


@pytest.mark.parametrize(("dockerfile", "container", "told"), [
    ("", "", "Could not parse Dockerfile in Dockerfile"),
    (LABELED, "operator_manifests: {manifests_dir: m}", "operator manifests are not supported"),
    (LABELED, 'flatpak: {id: a}\ncompose: {modules: ["a:b"]}', "Not a flatpak build, but repository has"),
    (LABELED, "nope: 1", "Failed to load or validate container file .container.yaml"),
    (LABELED, "a: [", "Failed to load or validate container file .container.yaml"),
    (LABELED.replace("FROM", "LABEL x=y\n#"), "", "base_image"),
])  # fmt: skip
def test_a_source_that_osbs_does_not_take_fails_at_once_with_the_client_s_words(
    osbs: OsbsHarness, dockerfile: str, container: str, told: str
) -> None:
    more = {"container.yaml": container} if container else {"other": ""}
    commit = repository(osbs.folder / "odd", dockerfile, more=more)
    with pytest.raises(BuildRejected, match=f"OSBS refuses it: .*({told})") as error:
        osbs.builder.submit(of_source(osbs.order("odd-f42-1"), osbs.folder / "odd", commit))
    assert "/repo" not in str(error.value)
    assert osbs.cluster.posted == []


def test_a_commit_that_is_not_in_the_branch_is_the_source_s_fault(osbs: OsbsHarness) -> None:
    with pytest.raises(BuildRejected, match="is not reachable in branch f42"):
        osbs.builder.submit(of_source(osbs.order("gone-f42-1"), osbs.folder / "repository", "0" * 40))


def test_nothing_of_git_s_is_printed(osbs: OsbsHarness, capfd: pytest.CaptureFixture[str]) -> None:
    osbs.builder.submit(osbs.order("quiet-f42-1"))
    assert capfd.readouterr().out == ""


def test_a_certificate_of_an_unknown_authority_is_told_with_what_to_do(osbs: OsbsHarness) -> None:
    with osbs.cluster.encrypted(Authority(osbs.folder).issue("localhost")) as url:
        overrides = osbs.settings.osbs.overrides.model_copy(update={"openshift_url": url})
        (fault,) = [fault for _, fault in OsbsBuilder(changed(osbs, overrides=overrides)).site() if fault]
    assert "CERTIFICATE_VERIFY_FAILED" in fault
    assert fault.endswith("name its CA in REQUESTS_CA_BUNDLE")


def test_a_stream_of_scratch_builds_needs_the_map_for_those(osbs: OsbsHarness) -> None:
    (osbs.folder / "run.yaml").write_text(TEMPLATE + "  a: $osbs_configmap_name\n")
    overrides = osbs.settings.osbs.overrides.model_copy(update={"reactor_config_map": "theirs"})
    OsbsBuilder(changed(osbs, overrides=overrides))
    streams = {"f42": osbs.settings.streams["f42"].model_copy(update={"osbs": OsbsStreamSettings(scratch=True)})}
    with pytest.raises(RequestError, match=r"reactor_config_map_scratch is not set in .* the text None"):
        OsbsBuilder(changed(osbs, overrides=overrides).model_copy(update={"streams": streams}))


@pytest.mark.parametrize("place", ["koji_target", "osbs"])
def test_an_apostrophe_of_a_stream_is_one_line_at_the_start(osbs: OsbsHarness, place: str) -> None:
    own = {"koji_target": "it's", "osbs": OsbsStreamSettings(yum_repourls=("https://it's",))}
    streams = {"f42": osbs.settings.streams["f42"].model_copy(update={place: own[place]})}
    with pytest.raises(RequestError, match=r"stream f42: .*it's has an apostrophe"):
        OsbsBuilder(osbs.settings.model_copy(update={"streams": streams}))


def test_logs_that_cannot_be_kept_are_one_line_at_the_start(osbs: OsbsHarness) -> None:
    with pytest.raises(RequestError, match=r"logs: /proc/nope cannot be made: .*: set consumer_config.osbs.logs"):
        OsbsBuilder(changed(osbs, logs=Path("/proc/nope")))


@pytest.fixture
def git(osbs: OsbsHarness, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script in git's place; the real git is $git."""
    folder = osbs.folder / "bin"
    folder.mkdir()
    real = shutil.which("git")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def put(script: str) -> None:
        (folder / "git").write_text(f"#!/bin/sh\ngit={real}\n{script}\n")
        (folder / "git").chmod(0o755)

    return put


def test_a_git_that_hangs_is_ended_with_its_helpers_and_nothing_was_submitted(
    osbs: OsbsHarness, git: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(osbs_library, "GIT_SECONDS", 0.5)
    git(f"sh -c 'echo $$ > {osbs.folder}/helper; exec sleep 300' & wait")
    with pytest.raises(InfrastructureError, match=r"OSBS: git clone took longer than 0\.5 s") as error:
        osbs.builder.submit(osbs.order("hangs-f42-1"))
    assert not error.value.arrived
    helper = int((osbs.folder / "helper").read_text())
    until(lambda: not alive(helper))


def alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_git_speaks_english_to_the_client_asks_nobody_and_says_nothing_to_us(
    osbs: OsbsHarness, git: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    git('[ "$LC_ALL$GIT_TERMINAL_PROMPT" = C0 ] || exit 9\necho noise >&2\nexec $git "$@"')
    osbs.builder.submit(osbs.order("english-f42-1"))
    assert capfd.readouterr() == ("", "")


def test_a_branch_that_is_gone_is_the_source_s_fault(osbs: OsbsHarness) -> None:
    order = of_source(osbs.order("gone-f42-1"), osbs.folder / "repository", osbs.commit)
    gone = replace(order.image, source=replace(order.image.source, ref="f99"))
    with pytest.raises(BuildRejected, match="Remote branch f99 not found"):
        osbs.builder.submit(replace(order, image=gone))
