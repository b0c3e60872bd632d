"""What tests put into a database, and all that is in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine, func, select

from rebuilder.domain.image import Image, ImageBuild, Inventory, Manifest, Parent, ParentKind, Source, Stream
from rebuilder.domain.message import IncomingMessage
from rebuilder.domain.rpm import Rpm
from rebuilder.store import database, models
from rebuilder.store.sync import SyncResult, save_inventory

BASH, LIBS = "bash-5.2.37-1.fc42.x86_64", "openssl-libs-1:3.2.1-1.fc42.x86_64"


def manifest(*nevras: str) -> Manifest:
    return Manifest.of(Rpm.parse(nevra, "openssl" if "openssl" in nevra else "") for nevra in nevras)


def image(name: str, *parents: str, path: str = "") -> Image:
    above = tuple(Parent(ParentKind.BASE, parent) for parent in parents)
    return Image(name, "f42", above, Source(path=path))


def build(name: str, *nevras: str, ident: str = "1") -> ImageBuild:
    return ImageBuild(f"{name}:f42", ident, manifest(*nevras))


BASE, HTTPD = image("base"), image("httpd", "base:f42")
BUILDS = (build("base", BASH), build("httpd", BASH, LIBS))


def sync(
    store: Engine, images: Sequence[Image] = (BASE, HTTPD), builds: Sequence[ImageBuild] = BUILDS
) -> SyncResult:
    with store.begin() as connection:
        return save_inventory(connection, Inventory(tuple(images), (Stream("f42", (".fc42",)),), tuple(builds)), 1.0)


def count(store: Engine, model: type[models.Base]) -> int:
    with database.reading(store) as connection:
        return connection.scalar(select(func.count()).select_from(model)) or 0


def content(store: Engine) -> dict[str, list[Any]]:
    """Every row of every table."""
    with database.reading(store) as connection:
        tables = models.Base.metadata.tables.values()
        return {table.name: sorted(map(repr, connection.execute(select(table)))) for table in tables}


def received(ident: str, body: Any = None) -> IncomingMessage:
    return IncomingMessage(ident, "org.example.buildsys.tag", {"sent-at": "now"}, body)
