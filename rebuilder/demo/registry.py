"""A private registry on a free port of the loopback address, which requires a login."""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rebuilder.demo.process import LOOPBACK, Child, accepts, free_port

PATIENCE = 30.0
FEDORAS = "/usr/bin/registry"
LOGIN = "demo:demonstration"
HASHED = "demo:$2b$04$TFBTZWqt5AuPw2XoIye9Mu4nXfgFbquNIleHzw8ReETamYCIwD8D6"  # bcrypt: the registry knows no other


def program() -> str:
    """The registry's command, which Fedora's package names otherwise than Debian's."""
    return "docker-registry" if shutil.which("docker-registry") or not shutil.which(FEDORAS) else FEDORAS


class Registry:
    """docker-registry with all its files in `folder`. Raises Missing or Failed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = f"{LOOPBACK}:{free_port()}"
        self.auth_file, self._configuration = folder / "auth.json", folder / "registries.conf"

    @property
    def environment(self) -> dict[str, str]:
        """What buildah and skopeo need to be let in, and to ask without TLS."""
        return {"REGISTRY_AUTH_FILE": str(self.auth_file), "CONTAINERS_REGISTRIES_CONF": str(self._configuration)}

    def start(self) -> Child:
        """Write its configuration and its login, and start it; the folder must not exist yet."""
        self.folder.mkdir()
        (self.folder / "htpasswd").write_text(f"{HASHED}\n")
        login = base64.b64encode(LOGIN.encode()).decode()
        self.auth_file.write_text(json.dumps({"auths": {self.host: {"auth": login}}}))
        self._configuration.write_text(f'[[registry]]\nlocation = "{self.host}"\ninsecure = true\n')
        file = self.folder / "config.yml"
        file.write_text(json.dumps({
            "version": 0.1, "log": {"level": "warn"}, "http": {"addr": self.host},
            "storage": {"filesystem": {"rootdirectory": str(self.folder / "images")}},
            "auth": {"htpasswd": {"realm": "demonstration", "path": str(self.folder / "htpasswd")}},
        }))  # fmt: skip
        # It takes variables that begin like this for its own configuration, as REGISTRY_AUTH_FILE.
        own = {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
        child = Child([program(), "serve", str(file)], self.folder.parent / "registry.log", environment=own)
        child.wait_for(lambda: accepts(int(self.host.rpartition(":")[2])), PATIENCE)
        return child


@contextmanager
def surroundings(added: Mapping[str, str]) -> Iterator[None]:
    """Variables of the environment, for us and for what we start meanwhile."""
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
