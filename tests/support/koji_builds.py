"""What a Koji hub has, for tests: tags, builds, what is in them, and the builds with which tasks end.

Answers have the shapes of a real hub's, as far as anybody here reads them, with the oddities that matter: numbers of
builds as text in a task's result, null for what is missing, `task_id` null.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from xmlrpc.client import Fault

from msgspec import field

from rebuilder.domain.rpm import Rpm, SourceBuild, is_stale
from support.koji_tasks import ASSIGNED, CLOSED, FREE, GENERIC, OPEN, Task, Tasks

COMPLETE = 1
REGISTRY = "registry.example.com"
ARCHES = ("x86_64", "aarch64")


class Koji(Tasks, dict=True):
    """`offered` has the newest source builds: what a build that ends well takes in, where its parent has not."""

    builds: dict[int, dict[str, Any]] = field(default_factory=dict)
    tags: dict[str, list[int]] = field(default_factory=dict)
    archives: dict[int, list[int]] = field(default_factory=dict)
    rpms: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    contents: dict[int, list[Rpm]] = field(default_factory=dict)
    numbers: dict[tuple[str, str, str], int] = field(default_factory=dict)  # of RPMs
    of_build: dict[int, list[str]] = field(default_factory=dict)
    offered: dict[str, SourceBuild] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=lambda: {"f42-container": "f42-images"})
    order: Callable[[Iterable[str]], list[str]] = sorted
    history: list[dict[str, Any]] = field(default_factory=list)  # of what was tagged
    build_tag: str = "f42-container-build"  # of all targets
    inheritance: dict[str, list[str]] = field(default_factory=dict)  # of tags, with their parents
    began: float = field(default_factory=lambda: float(int(time.time()) - 3600))  # all builds, by default

    # --- what is there

    def source_build(self, nvr: str, *binaries: str, epoch: int | None = None, tag: str = "") -> int:
        """A build of a source package; known already, it is the same one."""
        for build in self.builds.values():
            if build["nvr"] == nvr:
                return int(build["id"])
        ident = self._add(nvr, epoch, tag)
        self.of_build[ident] = list(binaries or [nvr.rsplit("-", 2)[0]])
        return ident

    def _add(self, nvr: str, epoch: int | None, tag: str, **more: Any) -> int:
        ident = self._next()
        name, version, release = nvr.rsplit("-", 2)
        self.builds[ident] = {
            "id": ident, "build_id": ident, "nvr": nvr, "name": name, "package_name": name, "version": version,
            "release": release, "epoch": epoch, "state": COMPLETE, "task_id": None, "extra": None, "source": None,
            "start_ts": self.began, "completion_ts": self.began + 240.5, "draft": ",draft_" in release, **more,
        }  # fmt: skip
        if tag:
            self.tag(ident, tag)
        return ident

    def tag(self, build: int, tag: str) -> None:
        """A build that has the tag already becomes its latest."""
        self.untag(build, tag)
        self.tags.setdefault(tag, []).append(build)
        self.history.append({"build_id": build, "tag.name": tag, "active": True})

    def untag(self, build: int, tag: str) -> None:
        if build in self.tags.get(tag, ()):
            self.tags[tag].remove(build)
        for operation in self.history:
            if (operation["build_id"], operation["tag.name"]) == (build, tag):
                operation["active"] = None

    def image(
        self, nvr: str, tag: str, rpms: Iterable[str | Rpm], parents: Mapping[str, str | None] | None = None,
        base: str = "", stream: str = "f42", arches: Iterable[str] = ARCHES, task: int | None = None,
        commit: str = "c0", froms: Iterable[str] | None = None,
    ) -> int:
        """A build of a container image; `parents` by pull spec, `base` is the NVR of the one in the last FROM.

        `froms` is what the Dockerfile has for them: atomic-reactor's koji_import writes both.
        """
        name, version, release = nvr.rsplit("-", 2)
        repository = f"{REGISTRY}/{stream}/{name}"
        if task is None:
            first = Task(self._next(), [f"git+https://src.example.com/{name}#{stream}", "f42-container",
                                        {"git_branch": stream}], 7, time.time(), CLOSED)
            self.tasks[first.id] = first
            task = first.id
        known = {build["nvr"]: build for build in self.builds.values()}
        above = {spec: {"id": known[parent]["id"], "nvr": parent} if parent else None
                 for spec, parent in (parents or {}).items()}
        image: dict[str, Any] = {
            "parent_images": list(above if froms is None else froms), "parent_image_builds": above, "isolated": False,
            "index": {
                "pull": [f"{repository}@sha256:{name}{release}", f"{repository}:{version}-{release}"],
                "tags": [f"{version}-{release}"], "floating_tags": ["latest", version],
                "digests": {"application/vnd.oci.image.index.v1+json": f"sha256:{name}{release}"},
            },
        }  # fmt: skip
        if base:
            image["parent_build_id"] = known[base]["id"]
        extra = {"image": image, "container_koji_task_id": task}
        ident = self._add(nvr, None, tag, extra=extra, source=f"git+https://src.example.com/{name}#{commit}")
        content = [self._rpm(rpm) for rpm in rpms]
        self.contents[ident] = content
        for arch in arches:
            archive = self._next()
            self.archives.setdefault(ident, []).append(archive)
            self.rpms[archive] = [self._row(rpm, arch) for rpm in content]
        return ident

    @staticmethod
    def _rpm(rpm: str | Rpm) -> Rpm:
        if isinstance(rpm, Rpm):
            return rpm
        nevra, _, source = rpm.partition(" ")
        return Rpm.parse(nevra, f"{source}.src.rpm" if source else "")

    def _row(self, rpm: Rpm, arch: str) -> dict[str, Any]:
        source = f"{rpm.source}-{rpm.source_evr}" if rpm.source_evr else ""
        built = rpm.arch if rpm.arch == "noarch" else arch
        ident = self.numbers.setdefault((rpm.nevra, source, built), len(self.numbers) + 1)
        return {
            "id": ident, "name": rpm.name, "version": rpm.version, "release": rpm.release, "epoch": rpm.epoch or None,
            "arch": built,
            "build_id": self.source_build(source, rpm.name, epoch=rpm.epoch or None) if source else 0,
            "nvr": f"{rpm.name}-{rpm.version}-{rpm.release}", "external_repo_name": "INTERNAL" if source else "other",
            "buildroot_id": 7, "buildtime": 1760000000, "draft": False, "external_repo_id": 0, "extra": None,
            "metadata_only": False, "payloadhash": "d41d8cd98f00b204e9800998ecf8427e", "size": 123456,
        }  # fmt: skip

    def by_nvr(self, nvr: str) -> dict[str, Any]:
        return next(build for build in self.builds.values() if build["nvr"] == nvr)

    # --- what tests do with tasks that end in builds

    def advance(self, task: Task) -> None:
        """One step on its way: FREE, ASSIGNED, OPEN, then it ends well."""
        with self.lock:
            if task.state == OPEN:
                self.close(task)
            elif task.state == ASSIGNED:
                task.open()
            elif task.state == FREE:
                task.state = ASSIGNED

    def close(self, task: Task, state: int = COMPLETE) -> None:
        """The task ends with a build, which has its parent's RPMs, and the newest of its own."""
        with self.lock:
            name = task.request[0].partition("#")[0].rstrip("/").rpartition("/")[2]
            versions = [build for build in self.builds.values() if build["name"] == name and build["extra"]]
            task.state = CLOSED
            task.result = {"repositories": [f"{REGISTRY}/f42/{name}:new"], "koji_builds": []}
            if task.options.get("scratch"):
                return
            last = versions[-1]
            image = last["extra"]["image"]
            above = {spec: parent and parent["nvr"] for spec, parent in image["parent_image_builds"].items()}
            base = self.builds[image["parent_build_id"]]["nvr"] if "parent_build_id" in image else ""
            pinned = task.options.get("koji_parent_build", "")
            if pinned and not base:
                self.fail(task, "koji_parent_build: there is no parent image in FROM scratch")
                return
            if pinned:
                above = {spec: pinned if parent == base else parent for spec, parent in above.items()}
                base = pinned
            ident = self.image(
                f"{name}-{last['version']}-{int(last['release']) + 1}", self.targets[task.request[1]],
                self._built(self.contents[last["id"]], base), above, base, task=task.id,
                commit=task.request[0].partition("#")[2], froms=image["parent_images"],
            )
            self.builds[ident]["state"] = state
            task.build, task.result["koji_builds"] = ident, [str(ident)]

    def _built(self, rpms: Iterable[Rpm], base: str) -> list[Rpm]:
        inherited = {rpm.name: rpm for rpm in self.contents[self.by_nvr(base)["id"]]} if base else {}
        return [inherited.get(rpm.name) or self._newest(rpm) for rpm in rpms]

    def _newest(self, rpm: Rpm) -> Rpm:
        new = self.offered.get(rpm.source)
        if new is None or not is_stale(rpm, new.evr):
            return rpm
        epoch = rpm.epoch if new.evr.epoch is None else new.evr.epoch
        return Rpm(rpm.name, epoch, new.evr.version, new.evr.release, rpm.arch, rpm.source, new.evr.version_release)

    # --- what the hub answers

    def get_build(self, build: Any, strict: bool = False) -> Any:
        if isinstance(build, str):
            return next((found for found in self.builds.values() if found["nvr"] == build), None)
        return self.builds.get(build)

    def list_tagged(
        self, tag: str, latest: bool = False, inherit: bool = False, package: str | None = None,
        type: str | None = None,  # noqa: A002 - Koji's name
        draft: bool | None = None,
    ) -> Any:
        if tag not in self.tags:
            raise Fault(GENERIC, f"Invalid tagInfo: '{tag}'")
        found: dict[Any, dict[str, Any]] = {}
        for ident in self.tags[tag]:
            build = self.builds[ident]
            fits = (type is None or ident in self.archives) and (package is None or build["name"] == package)
            if fits and build["state"] == COMPLETE and draft in (None, build["draft"]):
                found.pop(build["name"] if latest else ident, None)
                found[build["name"] if latest else ident] = {**build, "extra": None, "tag_name": tag}
        return list(found.values())

    def get_latest_builds(self, tag: str, event: Any = None, package: str | None = None, type: Any = None, draft: Any = None) -> Any:  # noqa: A002, E501
        return self.list_tagged(tag, True, True, package, type, draft)

    def query_history(self, tables: list[str], build: str) -> Any:
        ident = self.by_nvr(build)["id"]
        return {"tag_listing": [operation for operation in self.history if operation["build_id"] == ident]}

    def list_tags(self, build: str, perms: bool = True) -> Any:
        if not any(found["nvr"] == build for found in self.builds.values()):
            raise Fault(GENERIC, f"No such build: '{build}'")
        ident = self.by_nvr(build)["id"]
        return [{"name": tag, "arches": "x86_64"} for tag, builds in self.tags.items() if ident in builds]

    def get_tag(self, name: str) -> Any:
        """None for a tag that is not there (getTag without `strict`)."""
        return {"id": 1, "name": name} if name in self.tags or name in self.inheritance else None

    def get_build_target(self, name: str) -> Any:
        dest = self.targets.get(name)
        return dest and {"name": name, "dest_tag_name": dest, "build_tag_name": self.build_tag}

    def get_full_inheritance(self, tag: str) -> Any:
        """The tags above in the order of their depth (readFullInheritance); `name` is the parent's."""
        if tag not in self.tags and tag not in self.inheritance:
            raise Fault(GENERIC, f"No such tagInfo: '{tag}'")
        found: list[dict[str, Any]] = []
        for parent in self.inheritance.get(tag, ()):
            found += [{"name": parent, "currdepth": 1}, *self.get_full_inheritance(parent)]
        return found

    def list_archives(self, build: int, type: str | None = None) -> Any:  # noqa: A002
        digests = {"application/vnd.oci.image.manifest.v1+json": f"sha256:{build}"}
        docker = {"digests": digests, "repositories": [], "tags": []}
        return [{"id": archive, "arch": arch, "extra": {"docker": docker}}
                for archive, arch in zip(self.archives.get(build, []), ARCHES, strict=False)]

    def list_rpms(
        self, build: int | None = None, imageID: int | None = None,  # noqa: N803
        queryOpts: Mapping[str, Any] | None = None,  # noqa: N803
    ) -> Any:  # fmt: skip
        """With `asList` the columns come in the order of their names, as QueryProcessor in kojihub/db.py puts them."""
        query = queryOpts or {}
        rows = self.rpms.get(imageID or 0, [])[: query.get("limit")]
        return [[row[column] for column in self.order(row)] for row in rows] if query.get("asList") else rows

    def list_build_rpms(self, build: int) -> Any:
        epoch = self.builds[build]["epoch"]
        names = self.of_build.get(build, [])
        source = self.builds[build]["name"]
        return [{"name": name, "epoch": epoch, "arch": arch}
                for name, arch in [*((name, "x86_64") for name in names), (source, "src")] if names]
