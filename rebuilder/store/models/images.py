"""Images, their builds, and what is in these."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import (
    JSON,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    and_,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column

from rebuilder.domain.image import ParentKind
from rebuilder.domain.image_name import ImageName, name_of
from rebuilder.store.models.base import BIG, Base, one_of


class Stream(Base):
    """A stream that the inventory's document or the configuration names; `dist` has its dist tags, a blank between."""

    __tablename__ = "stream"

    name: Mapped[str] = mapped_column(primary_key=True)
    dist: Mapped[str]


class Image(Base):
    """An image of the inventory. One that left the inventory stays for its history, `present` false.

    `estimate` is the inventory's word on the seconds of a build, `measured` the median of its last builds.
    """

    __tablename__ = "image"
    __table_args__ = (UniqueConstraint("name", "stream"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    stream: Mapped[str] = mapped_column(index=True)
    source: Mapped[dict[str, str]] = mapped_column(JSON)
    pull_spec: Mapped[str]
    estimate: Mapped[float]
    measured: Mapped[float | None]
    present: Mapped[bool]
    current_build_id: Mapped[int | None] = mapped_column(
        ForeignKey("image_build.id", use_alter=True, name="fk_image_current_build"), index=True
    )

    @hybrid_property
    def key(self) -> str:
        """Its `name:stream`, in a query as in a value."""
        return self.name + ":" + self.stream

    @classmethod
    def named(cls, key: str) -> ColumnElement[bool]:
        """Fits the image of that `name:stream`."""
        name, stream = ImageName.of(key)
        return and_(cls.name == name, cls.stream == stream)

    @classmethod
    def maybe_named(cls, keys: Iterable[str]) -> ColumnElement[bool]:
        """Fits these images by an index, and others of the same name in other streams."""
        return cls.name.in_({name_of(key) for key in keys})


class ReadManifest(Base):
    """What was read of a build, under its name, while an inventory is being read. Emptied when that is taken in."""

    __tablename__ = "read_manifest"

    ident: Mapped[str] = mapped_column(primary_key=True)
    manifest_id: Mapped[int] = mapped_column(ForeignKey("manifest.id"))
    read_at: Mapped[float]


class ImageParent(Base):
    """What an image is built on: another image, or an external pull spec."""

    __tablename__ = "image_parent"
    __table_args__ = (
        CheckConstraint("(parent_id IS NULL) <> (external = '')", name="one"),
        one_of("kind", ParentKind, "kind"),
    )

    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("image.id"), index=True)
    external: Mapped[str]


class ExternalImage(Base):
    """An external parent by its pull spec, as its registry had it last: `name` is the full one.

    The digest, empty where it was never told, is there `since` then; before it there was `previous`, empty where none
    is known. `offered` is what the tag of a pinned one names. `trouble` says why it could not be asked
    last, empty where it could.
    """

    __tablename__ = "external_image"
    __table_args__ = (UniqueConstraint("spec"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    spec: Mapped[str]
    name: Mapped[str]
    digest: Mapped[str]
    previous: Mapped[str]
    offered: Mapped[str]
    trouble: Mapped[str]
    since: Mapped[float | None]
    asked_at: Mapped[float]


class ExternalManifest(Base):
    """What is in an external parent of that digest on a platform; `manifest_id` is null where it could not be read."""

    __tablename__ = "external_manifest"

    external_id: Mapped[int] = mapped_column(ForeignKey("external_image.id"), primary_key=True)
    digest: Mapped[str] = mapped_column(primary_key=True)
    platform: Mapped[str] = mapped_column(primary_key=True)
    manifest_id: Mapped[int | None] = mapped_column(ForeignKey("manifest.id"), index=True)
    origin: Mapped[str]


class Rpm(Base):
    """A binary RPM, once, however many images carry it."""

    __tablename__ = "rpm"
    __table_args__ = (
        UniqueConstraint("name", "epoch", "version", "release", "arch", "source", "source_evr", name="uq_rpm_nevra"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    epoch: Mapped[int] = mapped_column(BIG)
    version: Mapped[str]
    release: Mapped[str]
    arch: Mapped[str]
    source: Mapped[str] = mapped_column(index=True)
    source_evr: Mapped[str]


class Manifest(Base):
    """A set of RPMs, once, however many builds have it. `digest` is that of its sorted content."""

    __tablename__ = "manifest"
    __table_args__ = (UniqueConstraint("digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))


class ManifestRpm(Base):
    """Which RPMs a manifest has; found by RPM, and by manifest.

    There are millions, written with what they lead to and never changed: no foreign key looks at each of them.
    """

    __tablename__ = "manifest_rpm"
    __table_args__ = (Index("ix_manifest_rpm_manifest", "manifest_id"), {"sqlite_with_rowid": False})

    rpm_id: Mapped[int] = mapped_column(primary_key=True)
    manifest_id: Mapped[int] = mapped_column(primary_key=True)


class ImageBuild(Base):
    """A finished build of an image. `parents` has the idents of the builds it was built on, `tags` its pull specs.

    `externals` has the pull specs by digest of the external parents it was built on, by what its file calls them.
    `endorsements` has what was attached to it and signed, each with the pull spec by digest.
    """

    __tablename__ = "image_build"
    __table_args__ = (
        UniqueConstraint("image_id", "ident"),
        Index("ix_image_build_manifest", "manifest_id"),
        Index("ix_image_build_image", "image_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    ident: Mapped[str]
    digest: Mapped[str]
    parents: Mapped[list[str]] = mapped_column(JSON)
    tags: Mapped[list[str]] = mapped_column(JSON, server_default="[]")
    externals: Mapped[dict[str, str]] = mapped_column(JSON, server_default="{}")
    endorsements: Mapped[list[str]] = mapped_column(JSON, server_default="[]")
    manifest_id: Mapped[int | None] = mapped_column(ForeignKey("manifest.id"))
    recorded_at: Mapped[float]
