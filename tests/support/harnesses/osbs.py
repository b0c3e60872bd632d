"""OSBS on a cluster of the tests' own, by a stand-in for osbs-client, and by the real one where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pytest
from msgspec.structs import replace

from rebuilder.builders.osbs import OsbsBuilder
from rebuilder.builders.pipeline_run import name_of
from rebuilder.config import OsbsOverrides, OsbsSettings, Settings, StreamSettings
from rebuilder.domain.build import BuildRequest, Phase
from rebuilder.domain.image import Image, ImageBuild, Parent, ParentKind, Source
from support import servers
from support.harnesses.protocol import Harness, Power
from support.tekton import Cluster, Fault

STANDIN = Path(__file__).resolve().parents[1] / "standin"
REAL = importlib.util.find_spec("osbs") is not None
DOCKERFILE = 'FROM registry.example.org/base:f42\nLABEL name="img"\nLABEL com.redhat.component="img-container"\n'
LABELED = DOCKERFILE + 'LABEL version="1"\n'
TEMPLATE = """apiVersion: tekton.dev/v1beta1
kind: PipelineRun
metadata: {name: $osbs_pipeline_run_name, annotations: {theirs: kept}}
spec:
  pipelineRef: {name: binary-container}
  timeouts: {pipeline: LIMIT}
  params:
    - {name: OSBS_USER_PARAMS, value: '$osbs_user_params_json'}
"""
# The client fills in a limit since 2.2.
LIMITED = not REAL or hasattr(importlib.import_module("osbs.conf").Configuration, "get_default_buildtime_limit")
TEMPLATE = TEMPLATE.replace("LIMIT", "$osbs_buildtime_limit" if LIMITED else "3600s")


def repository(
    folder: Path, dockerfile: str = LABELED, branch: str = "f42", more: Mapping[str, str] = MappingProxyType({})
) -> str:
    """A git repository with a Dockerfile, and more files; its commit."""
    folder.mkdir()
    for name, text in more.items():
        (folder / name).write_text(text)
    (folder / "Dockerfile").write_text(dockerfile)
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    for command in (["init", "-q", "-b", branch], ["add", "."], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True)
    return found.stdout.strip()


@contextmanager
def standing_in(folder: Path = STANDIN) -> Iterator[None]:
    """The modules of `osbs` come from this folder, and are forgotten afterwards."""
    modules, path = forget(), list(sys.path)
    sys.path[:] = [str(folder), *(place for place in path if place != str(STANDIN))]
    try:
        yield
    finally:
        sys.path[:] = path
        forget()
        sys.modules.update(modules)


def forget() -> dict[str, ModuleType]:
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "osbs"}


class OsbsHarness(Harness):
    name = "osbs"
    powers = frozenset({
        *(Power.SURVIVES, Power.STOPPED_BY_OTHERS, Power.UNREACHABLE, Power.LOST_REPLY, Power.PINS, Power.LOGS),
    })  # fmt: skip

    def __init__(self, folder: Path) -> None:
        servers.need("git", "git")
        self.folder, self.cluster = folder, Cluster()
        self.commit = repository(folder / "repository")
        self.token_file, template = folder / "token", folder / "run.yaml"
        self.token_file.write_text("token-1\n")
        template.write_text(TEMPLATE)
        overrides = OsbsOverrides(
            openshift_url=self.cluster.url, namespace=self.cluster.namespace, token_file=self.token_file,
            pipeline_run_path=template,
        )
        streams = {"f42": StreamSettings(koji_target="f42-candidate")}
        osbs = OsbsSettings(file=folder / "osbs.conf", overrides=overrides, logs=folder / "logs", call_seconds=20)
        self.settings = Settings(builder="osbs", osbs=osbs, streams=streams)
        self._builders: list[OsbsBuilder] = []
        self.restart()

    @classmethod
    @contextmanager
    def world(cls, folder: Path) -> Iterator[OsbsHarness]:
        with standing_in():
            made = cls(folder)
            try:
                yield made
            finally:
                made.cluster.down()
                made.close()

    def restart(self) -> None:
        self.builder: OsbsBuilder = OsbsBuilder(self.settings)
        self._builders.append(self.builder)

    def close(self) -> None:
        """End what the builders still try: logs of a cluster that is gone are asked for in the tests that follow."""
        for builder in self._builders:
            builder.close()

    def order(self, key: str) -> BuildRequest:
        source = Source(git=str(self.folder / "repository"), ref="f42", commit=self.commit)
        return BuildRequest(key, Image(key, "f42", (Parent(ParentKind.BASE, "base:f42"),), source), (self.parent,))

    @property
    def parent(self) -> ImageBuild:
        return ImageBuild("base:f42", "base-container-42-7")

    def made(self, key: str) -> int:
        return self.cluster.created.count(name_of(key))

    def say(self, ref: str, line: str) -> None:
        self.cluster.say(ref, line)
        self.builder.poll([ref])  # as the engine does all the time: it begins to follow the log

    def succeed(self, ref: str) -> None:
        specs = {"unique": [f"registry.example.org/img:{ref}"], "floating": ["registry.example.org/img:latest"]}
        self.cluster.succeed(ref, {"repositories": specs}, digest="sha256:" + "1" * 64)

    def fail(self, ref: str) -> None:
        self.cluster.fail(ref, "dnf: nothing provides\nlibfoo")

    def vanish(self, ref: str) -> None:
        self.cluster.remove(ref)

    def stop_by_others(self, ref: str) -> None:
        self.cluster.cancel(ref)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        with self.cluster.away():
            yield

    @contextmanager
    def lost_reply(self) -> Iterator[None]:
        fault = Fault("POST", "pipelineruns$", 500, after=True)
        self.cluster.faults.append(fault)
        yield
        assert not fault.times


class RealOsbsHarness(OsbsHarness):
    """The same with the osbs-client of this machine."""

    name = "osbs-client"

    @classmethod
    @contextmanager
    def world(cls, folder: Path) -> Iterator[OsbsHarness]:
        forget()
        made = cls(folder)
        try:
            yield made
        finally:
            made.cluster.down()
            forget()


HERE: type[OsbsHarness] = RealOsbsHarness if REAL else OsbsHarness  # with the client that is here
HARNESSES: tuple[type[Harness], ...] = (OsbsHarness, RealOsbsHarness) if REAL else (OsbsHarness,)
UNDER_WAY = {Phase.WAITING, Phase.RUNNING}
limited = pytest.mark.skipif(not LIMITED, reason="this osbs-client does not limit builds")


def changed(harness: OsbsHarness, **values: Any) -> Settings:
    return harness.settings.model_copy(update={"osbs": harness.settings.osbs.model_copy(update=values)})


def user_params(harness: OsbsHarness, name: str) -> dict[str, Any]:
    (parameter,) = harness.cluster.runs[name]["spec"]["params"]
    found: dict[str, Any] = json.loads(parameter["value"])
    return found


def phase(harness: OsbsHarness, ref: str) -> Phase:
    return harness.builder.poll([ref])[ref].phase


def of_source(order: BuildRequest, folder: Path, commit: str) -> BuildRequest:
    source = Source(git=str(folder), ref="f42", commit=commit)
    return replace(order, image=replace(order.image, source=source))
