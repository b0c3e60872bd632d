"""Pushes to real registries that want a login, are full, read-only, away, or refuse one repository."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine
from support import databases, registries, servers
from support.pushing import PushingBench, announced
from support.registries import Registry

from rebuilder.demo.process import LOOPBACK, Child, accepts, free_port
from rebuilder.messages import ImagePushedV1
from rebuilder.queries import pull_specs
from rebuilder.registry import skopeo
from rebuilder.registry.document import parse
from rebuilder.store import deliveries
from rebuilder.store.database import reading
from rebuilder.store.filters import Filter

FIX = "openssl-3.2.2-1.fc42"
DISK = "size=300k"
LARGE = 800_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Engine]:
    """One database will do: what is looked at is the registries."""
    found = databases.sqlite(tmp_path / "pushing.db")
    yield found
    found.dispose()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    servers.need("buildah", "buildah")
    with registries.registry(tmp_path / "registry") as found:
        trust(tmp_path, monkeypatch, found.host)
        yield found


def trust(folder: Path, monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries.insecure(folder, *hosts)))


def built(bench: PushingBench) -> None:
    """The image is rebuilt, and a push of it was tried."""
    bench.tell(FIX)
    bench.passes(30)
    assert bench.states() == [("base", "succeeded")]


def digest(spec: str) -> str:
    return parse(skopeo.raw_manifest(spec, 20), spec).digest


def waiting(bench: PushingBench) -> set[str]:
    with reading(bench.store) as connection:
        return {one.spec for one in deliveries.pending(connection, remote=True)}


def why(bench: PushingBench) -> str:
    """Why something could not be pushed last, as `status` says it; the rebuild is a success all the same."""
    failure = bench.loop.controllers.pushes.failure
    assert failure is not None
    assert bench.states() == [("base", "succeeded")]
    return failure.reason


def test_a_push_is_announced_with_the_names_and_where_the_build_is_by_digest(
    store: Engine, registry: Registry, tmp_path: Path
) -> None:
    places = [f"{registry.host}/team/{{name}}", f"{registry.host}/mirror/{{name}}"]
    bench = PushingBench(store, tmp_path, {"push": places}, notify={"enabled": True})
    built(bench)
    topics = [message.topic.removeprefix("rebuilder.") for message in announced(store)]
    pushed = [message for message in announced(store) if isinstance(message, ImagePushedV1)]
    assert topics.index("image.succeeded") < topics.index("image.pushed")
    names = [name for message in pushed for name in message.body["names"]]
    assert {f"{registry.host}/{place}/base:f42" for place in ("team", "mirror")} < set(names)
    assert len(names) == len(set(names)) == 4
    at = digest(f"{registry.host}/team/base:f42")
    assert pushed[-1].pull_specs == [f"{registry.host}/{place}/base@{at}" for place in ("team", "mirror")]
    with reading(store) as connection:
        (found,) = pull_specs.read(connection, Filter(), bench.settings)
    assert found.pull_specs == tuple(pushed[-1].pull_specs)


def test_a_registry_that_wants_a_login_gets_that_of_auth_file(
    store: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers.need("buildah", "buildah")
    login = tmp_path / "auth.json"
    login.write_text("{}")
    with registries.private(tmp_path / "private") as private:
        trust(tmp_path, monkeypatch, private.host)
        settings = {"push": f"{private.host}/team/{{name}}", "auth_file": login}
        bench = PushingBench(store, tmp_path, settings)
        built(bench)
        assert f"skopeo login {private.host}" in why(bench)
        login.write_text(registries.logins({private.host: "builder:secret"}))
        bench.finish()
        with private.client() as client:
            tags = client.get("team/base/tags/list").raise_for_status().json()["tags"]
    assert len(tags) == 2
    assert bench.builder.uploaded == [f"{private.host}/team/base:{next(t for t in tags if '-' in t)}"]


def test_a_registry_that_is_full_is_tried_again_until_it_has_room(
    store: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers.need("buildah", "buildah")
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "none", str(disk)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("a small disk needs the right to mount")
    try:
        with registries.registry(disk) as full:
            trust(tmp_path, monkeypatch, full.host)
            filler = disk / "filler"
            filler.write_bytes(b"x" * 290_000)
            bench = PushingBench(store, tmp_path, {"push": f"{full.host}/team/{{name}}"})
            built(bench)
            assert "error of its own" in why(bench)
            filler.unlink()
            bench.finish()
            assert digest(f"{full.host}/team/base:f42")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    assert len(bench.builder.uploaded) == 1


def test_a_registry_that_is_read_only_is_tried_again_until_it_is_not(
    store: Engine, registry: Registry, tmp_path: Path
) -> None:
    registry.stop()
    writable = registry.more
    root = {"filesystem": {"rootdirectory": str(registry.folder)}}
    registry.more = {"storage": {**root, "maintenance": {"readonly": {"enabled": True}}}}
    registry.start()
    bench = PushingBench(store, tmp_path, {"push": f"{registry.host}/team/{{name}}"})
    built(bench)
    assert "is read-only" in why(bench)
    registry.stop()
    registry.more = writable
    registry.start()
    bench.finish()
    assert digest(f"{registry.host}/team/base:f42")


def test_a_registry_that_is_down_for_a_minute_is_no_failure_of_the_image_and_gets_each_name_once(
    store: Engine, registry: Registry, tmp_path: Path
) -> None:
    registry.stop()
    bench = PushingBench(store, tmp_path, {"push": [f"{registry.host}/team/{{name}}", f"{registry.host}/mirror"]})
    built(bench)
    bench.passes(60)
    assert "cannot be reached" in why(bench)
    assert len(waiting(bench)) == 4
    registry.start()
    bench.finish()
    assert (len(waiting(bench)), bench.loop.controllers.pushes.failure, len(bench.builder.uploaded)) == (0, None, 1)
    assert digest(f"{registry.host}/team/base:f42") == digest(f"{registry.host}/mirror:f42")


REFUSING = """\
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err; worker_processes 1;
events {{}}
http {{
  access_log off; client_max_body_size 0; client_body_temp_path {folder}/nginx;
  server {{
    listen {host};
    location / {{ proxy_pass http://{behind}; proxy_set_header Host $http_host; }}
    location /v2/{repository}/ {{
      default_type application/json;
      return 403 '{{"errors": [{{"code": "DENIED", "message": "requested access to the resource is denied"}}]}}';
    }}
  }}
}}
"""


@contextmanager
def refusing(folder: Path, behind: Registry, repository: str) -> Iterator[str]:
    """A proxy before the registry that lets nobody into one repository; its host."""
    servers.need("nginx", "nginx")
    port = free_port()
    configuration = folder / "nginx.conf"
    host = f"{LOOPBACK}:{port}"
    text = REFUSING.format(folder=folder, host=host, behind=behind.host, repository=repository)
    configuration.write_text(text)
    server = Child(["nginx", "-c", str(configuration), "-e", "stderr"], folder / "nginx.log")
    try:
        server.wait_for(lambda: accepts(port), 30)
        yield host
    finally:
        server.stop()


def test_a_registry_that_refuses_one_repository_gets_all_others(
    store: Engine, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refusing(tmp_path, registry, "closed/base") as host:
        trust(tmp_path, monkeypatch, host, registry.host)
        bench = PushingBench(store, tmp_path, {"push": [f"{host}/closed/{{name}}", f"{host}/open/{{name}}"]})
        built(bench)
        assert "asks for a login, or refuses this one" in why(bench)
        assert {spec.split(":f42")[0] for spec in waiting(bench)} == {f"{host}/closed/base"}
        assert digest(f"{host}/open/base:f42")
