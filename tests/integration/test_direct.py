"""Single requests in place of skopeo: what they do is the same, and where that is not sure they leave it to skopeo."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support import registries
from support.registries import Registry

from rebuilder.registry.direct import Direct
from rebuilder.registry.push import Remote

SPEC = "team/app:1"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    with registries.registry(tmp_path / "registry") as found:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries.insecure(tmp_path, found.host)))
        monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
        yield found


@pytest.fixture
def direct() -> Iterator[Direct]:
    with closing(Direct(20)) as found:
        yield found


def place(registry: Registry, name: str = SPEC) -> str:
    return f"{registry.host}/{name}"


@pytest.mark.parametrize("docker", [False, True])
def test_another_name_stands_for_the_very_same_bytes(registry: Registry, direct: Direct, docker: bool) -> None:
    digest = registry.push(SPEC, [registries.layer({"a": b"1"})], docker=docker)
    assert (direct.is_there(place(registry)), direct.is_there(place(registry, "team/app:2"))) == (True, False)
    for _ in range(2):
        assert direct.give(place(registry, f"team/app@{digest}"), place(registry, "team/app:2"))
    assert direct.digest(place(registry, "team/app:2")) == digest


def test_a_list_of_platforms_gets_another_name_as_it_is(registry: Registry, direct: Direct) -> None:
    one = registry.push("team/app:one", [registries.layer({"a": b"1"})])
    listed = registry.push_list(SPEC, {registries.HERE: one})
    assert direct.give(place(registry, f"team/app@{listed}"), place(registry, "team/app:2"))
    assert direct.digest(place(registry, "team/app:2")) == listed


def test_another_repository_has_none_of_the_layers_and_is_skopeos(registry: Registry, direct: Direct) -> None:
    digest = registry.push(SPEC, [registries.layer({"a": b"1"})])
    assert not direct.give(place(registry, f"team/app@{digest}"), place(registry, "team/other:2"))
    with closing(Remote(None, 20, 20)) as remote:
        remote.copy(place(registry, f"team/app@{digest}"), place(registry, "team/other:2"))
        assert remote.has(place(registry, f"team/other@{digest}"))


@pytest.mark.parametrize("entry", [
    '[[registry]]\nlocation = "{host}"\ninsecure = true\n[[registry.mirror]]\nlocation = "mirror.example.org"\n',
    '[[registry]]\nprefix = "{host}"\nlocation = "elsewhere.example.org"\n',
    '[[registry]]\nlocation = "{host}/team"\nblocked = true\n',
    '[[registry]]\nlocation = "{host}/other"\ninsecure = true\n',
    'credential-helpers = ["secretservice"]\n[[registry]]\nlocation = "{host}"\ninsecure = true\n',
])  # fmt: skip
def test_what_is_set_up_for_skopeo_alone_is_left_to_skopeo_as_soon_as_it_is(
    registry: Registry, direct: Direct, tmp_path: Path, entry: str
) -> None:
    digest = registry.push(SPEC, [registries.layer({"a": b"1"})])
    assert direct.is_there(place(registry)) is True
    (tmp_path / "registries.conf").write_text(entry.format(host=registry.host))
    assert direct.is_there(place(registry)) is direct.is_there(place(registry, "team/app:2")) is None
    assert not direct.give(place(registry, f"team/app@{digest}"), place(registry, "team/app:2"))


@pytest.mark.parametrize("more", [
    {"credsStore": "desktop"},
    {"credHelpers": {"HOST": "desktop"}},
    {"auths": {"https://HOST/v1/": {"auth": "YTpi"}}},
    {"auths": {"HOST": {}}},
])  # fmt: skip
def test_a_login_that_only_skopeo_understands_is_left_to_skopeo(
    registry: Registry, direct: Direct, tmp_path: Path, more: dict[str, object]
) -> None:
    (tmp_path / "auth.json").write_text(json.dumps(more).replace("HOST", registry.host))
    assert direct.is_there(place(registry)) is None


def test_the_login_for_a_repository_goes_before_that_for_its_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = tmp_path / "auth.json"
    with registries.private(tmp_path / "private", "team") as private:
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries.insecure(tmp_path, private.host)))
        private.push(SPEC, [registries.layer({"a": b"1"})])
        login.write_text(registries.logins({private.host: "team:old", f"{private.host}/team": "team:secret"}))
        with closing(Direct(20, login)) as direct:
            assert direct.is_there(place(private)) is True
            assert direct.is_there(place(private, "other/app:1")) is None
            assert direct.is_there(place(private, "team/other:1")) is False


def test_a_registry_that_went_away_is_found_again(registry: Registry, direct: Direct) -> None:
    registry.push(SPEC, [registries.layer({"a": b"1"})])
    registry.stop()
    assert direct.is_there(place(registry)) is None
    registry.start()
    assert direct.is_there(place(registry)) is True
