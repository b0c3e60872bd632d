"""An engine whose builds are real images in a storage of buildah's, made at once, to be pushed to real registries."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from integration.workbench import Builder, Given, Workbench, image
from msgspec.structs import replace
from sqlalchemy import Engine

from rebuilder.builders.buildah import BuildahBuilder
from rebuilder.config import BuildahSettings
from rebuilder.domain.image import ImageBuild
from rebuilder.engine import notifications
from rebuilder.inventory.buildah_cli import Storage
from rebuilder.messages import RebuilderMessage
from rebuilder.store import outbox
from rebuilder.store.database import reading


class Images:
    """A storage of buildah's with small images that say which build they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = BuildahSettings(
            root=folder / "storage", runroot=folder / "run", storage_driver="vfs", isolation="chroot",
            state=folder / "builds",
        )  # fmt: skip
        self.storage = Storage(self.settings)

    def make(self, key: str) -> str:
        """An image of that build; its id."""
        place = self.folder / key
        place.mkdir(parents=True, exist_ok=True)
        (place / "Containerfile").write_text("FROM scratch\nCOPY content /\n")
        (place / "content").write_text(key)
        iid = place / "iid"
        label = f"--label=rebuilder.key={key}"
        made = self.storage.command("bud", "-q", "--isolation=chroot", label, f"--iidfile={iid}", "--", str(place))
        subprocess.run(made, check=True, capture_output=True)
        return iid.read_text().strip().removeprefix("sha256:")


class Pushing(Builder):
    """Simulated builds that leave real images behind; `uploaded` are the names under which these were pushed."""

    images: Images
    real: BuildahBuilder

    def began(self, images: Images) -> Pushing:
        self.images, self.real = images, BuildahBuilder(images.settings)
        self.uploaded: list[str] = []
        self.promoted: list[tuple[str, str]] = []
        self.fetched: list[str] = []
        return self

    def result(self, ref: str) -> ImageBuild:
        return replace(super().result(ref), ident=self.images.make(ref))

    def public_name(self, image: str) -> str:
        return self.real.public_name(image)

    def promote(self, image: str, key: str, ident: str) -> None:
        self.promoted.append((image, ident))

    def keeps(self, ident: str) -> bool:
        return self.real.keeps(ident)

    def fetch(self, ident: str, at: str, auth_file: Path | None, seconds: float) -> None:
        self.fetched.append(at)
        self.real.fetch(ident, at, auth_file, seconds)

    def upload(self, ident: str, spec: str, auth_file: Path | None, seconds: float) -> str:
        digest = self.real.upload(ident, spec, auth_file, seconds)
        self.uploaded.append(spec)
        return digest


def announced(store: Engine) -> list[RebuilderMessage]:
    """The messages that are to be published."""
    with reading(store) as connection:
        found = outbox.unsent(connection, 1000)
        bodies = notifications.write(connection, found, "https://rebuilder.example.org")
    messages = [notifications.message(letter.written(bodies[letter.seq])) for letter in found]
    for message in messages:
        message.validate()
    return messages


class PushingBench(Workbench):
    """Its wave is done, and its builds are to be pushed."""

    builder: Pushing

    def __init__(
        self, store: Engine, folder: Path, registry: Mapping[str, Any], images: Sequence[Given] = (image("base"),),
        **settings: Any,
    ) -> None:
        super().__init__(store, images, registry=registry, **settings)
        made = Pushing(self.settings.simulated, self.manifest_of, self.clock)
        self.builder = made.began(Images(folder / "storage"))
        self.restart()
