"""A real registry without TLS, and our reader of it, for the files that ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import registries
from support.registries import Registry

from rebuilder.config import RegistrySettings
from rebuilder.registry.reader import RegistryReader


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registries.registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def without_tls(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What people set up on a machine, for this registry alone: nothing of the user counts."""
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(registries.insecure(tmp_path, registry.host)))
    (tmp_path / "auth.json").write_text("{}")  # `buildah manifest` refuses one that is missing
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))


@pytest.fixture
def reader(tmp_path: Path) -> RegistryReader:
    return RegistryReader(RegistrySettings(call_seconds=20), tmp_path / "layers")
