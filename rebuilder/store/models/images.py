"""Images, their builds, and what is in these."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    ColumnElement,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
    and_,
)

from rebuilder.domain.image import ParentKind
from rebuilder.domain.image_name import ImageName, name_of
from rebuilder.store.models.base import BIG, Base, column, expression, nullable, one_of


class Stream(Base):
    """A stream that the inventory's document or the configuration names; `dist` has its dist tags, a blank between."""

    __tablename__ = "stream"

    name = column(String, primary_key=True)
    dist = column(String)


class Image(Base):
    """An image of the inventory. One that left the inventory stays for its history, `present` false.

    `estimate` is the inventory's word on the seconds of a build, `measured` the median of its last builds.
    """

    __tablename__ = "image"
    __table_args__ = (UniqueConstraint("name", "stream"),)

    id = column(Integer, primary_key=True)
    name = column(String)
    stream = column(String, index=True)
    source: ColumnElement[dict[str, str]] = column(JSON)
    pull_spec = column(String)
    estimate = column(Double)
    measured = nullable(Double)
    present = column(Boolean)
    current_build_id = nullable(
        Integer, ForeignKey("image_build.id", use_alter=True, name="fk_image_current_build"), index=True
    )

    @expression
    def key(cls: type[Image]) -> ColumnElement[str]:
        """Its `name:stream`, in a query as in a value."""
        return cls.name + ":" + cls.stream

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

    ident = column(String, primary_key=True)
    manifest_id = column(Integer, ForeignKey("manifest.id"))
    read_at = column(Double)


class ImageParent(Base):
    """What an image is built on: another image, or an external pull spec."""

    __tablename__ = "image_parent"
    __table_args__ = (
        CheckConstraint("(parent_id IS NULL) <> (external = '')", name="one"),
        one_of("kind", ParentKind, "kind"),
    )

    image_id = column(Integer, ForeignKey("image.id"), primary_key=True)
    position = column(Integer, primary_key=True)
    kind = column(String(8))
    parent_id = nullable(Integer, ForeignKey("image.id"), index=True)
    external = column(String)


class ExternalImage(Base):
    """An external parent by its pull spec, as its registry had it last: `name` is the full one.

    The digest, empty where it was never told, is there `since` then; before it there was `previous`, empty where none
    is known. `offered` is what the tag of a pinned one names. `trouble` says why it could not be asked
    last, empty where it could.
    """

    __tablename__ = "external_image"
    __table_args__ = (UniqueConstraint("spec"),)

    id = column(Integer, primary_key=True)
    spec = column(String)
    name = column(String)
    digest = column(String)
    previous = column(String)
    offered = column(String)
    trouble = column(String)
    since = nullable(Double)
    asked_at = column(Double)


class ExternalManifest(Base):
    """What is in an external parent of that digest on a platform; `manifest_id` is null where it could not be read."""

    __tablename__ = "external_manifest"

    external_id = column(Integer, ForeignKey("external_image.id"), primary_key=True)
    digest = column(String, primary_key=True)
    platform = column(String, primary_key=True)
    manifest_id = nullable(Integer, ForeignKey("manifest.id"), index=True)
    origin = column(String)


class Rpm(Base):
    """A binary RPM, once, however many images carry it."""

    __tablename__ = "rpm"
    __table_args__ = (
        UniqueConstraint("name", "epoch", "version", "release", "arch", "source", "source_evr", name="uq_rpm_nevra"),
    )

    id = column(Integer, primary_key=True)
    name = column(String)
    epoch = column(BIG)
    version = column(String)
    release = column(String)
    arch = column(String)
    source = column(String, index=True)
    source_evr = column(String)


class Manifest(Base):
    """A set of RPMs, once, however many builds have it. `digest` is that of its sorted content."""

    __tablename__ = "manifest"
    __table_args__ = (UniqueConstraint("digest"),)

    id = column(Integer, primary_key=True)
    digest = column(String(64))


class ManifestRpm(Base, sqlite_with_rowid=False):
    """Which RPMs a manifest has; found by RPM, and by manifest.

    There are millions, written with what they lead to and never changed: no foreign key looks at each of them.
    """

    __tablename__ = "manifest_rpm"
    __table_args__ = (Index("ix_manifest_rpm_manifest", "manifest_id"),)

    rpm_id = column(Integer, primary_key=True)
    manifest_id = column(Integer, primary_key=True)


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

    id = column(Integer, primary_key=True)
    image_id = column(Integer, ForeignKey("image.id"))
    ident = column(String)
    digest = column(String)
    parents: ColumnElement[list[str]] = column(JSON)
    tags: ColumnElement[list[str]] = column(JSON, server_default="[]")
    externals: ColumnElement[dict[str, str]] = column(JSON, server_default="{}")
    endorsements: ColumnElement[list[str]] = column(JSON, server_default="[]")
    manifest_id = nullable(Integer, ForeignKey("manifest.id"))
    recorded_at = column(Double)
