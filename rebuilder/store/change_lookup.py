"""Which changes are meant: by an update, a CVE, a source build, a package or a stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, literal, or_, select

from rebuilder.domain.change import CVE
from rebuilder.domain.change import Change as ChangeValue
from rebuilder.domain.rpm import SourceBuild
from rebuilder.store.models import Change


def offered_by_update(connection: Connection, build: SourceBuild, name: str) -> list[int]:
    """The ids of the changes of this build that the update of that name told of."""
    return list(connection.scalars(select(Change.id).where(*_of(build), Change.update == name)))


def ids_named(connection: Connection, name: str) -> list[int]:
    """The ids of the changes that an update of this alias brought, or that fix this CVE, oldest first."""
    if not name:
        return []
    return list(connection.scalars(select(Change.id).where(named(name)).order_by(Change.id)))


def planned_ids(connection: Connection, changes: Iterable[ChangeValue]) -> list[int] | None:
    """The ids of these changes once all of them are planned or withdrawn; None until then."""
    ids = []
    for change in changes:
        query = select(Change.id, Change.state).where(*_of(change.build), Change.stream == change.stream)
        for ident, state in connection.execute(query):
            if state == "settling":
                return None
            ids.append(ident)
    return ids


def is_known(connection: Connection, package: str) -> bool:
    """Whether any change was of this source package."""
    return connection.scalar(select(Change.id).where(Change.source == package).limit(1)) is not None


def is_of_stream(connection: Connection, stream: str) -> bool:
    """Whether any change is of that stream."""
    return connection.scalar(select(Change.id).where(Change.stream == stream).limit(1)) is not None


def ids_meant(connection: Connection, name: str) -> list[int]:
    """The ids of the changes that somebody means who gives an alias, a CVE or an NVR, oldest first."""
    return list(connection.scalars(select(Change.id).where(meant(name)).order_by(Change.id))) if name else []


def updates(connection: Connection) -> set[str]:
    """The aliases of all updates that brought changes."""
    return set(connection.scalars(select(Change.update).where(Change.update != "").distinct()))


def meant(name: str) -> ColumnElement[bool]:
    """Whether a change is of the update of this alias, fixes this CVE, or is of the source build of this NVR.

    A build that is named with its epoch is not one of another epoch: how far that has come says nothing of it.
    """
    try:
        build = SourceBuild.parse(name)
    except ValueError:
        return named(name)
    return named(name) if CVE.fullmatch(name) else or_(named(name), and_(*_of(build), *_of_epoch(build)))


def named(name: str) -> ColumnElement[bool]:
    """Whether a change is of the update of this alias, or fixes this CVE and was not withdrawn."""
    if CVE.fullmatch(name):
        fixes = (literal(" ") + Change.cves + literal(" ")).contains(f" {name.upper()} ", autoescape=True)
        return and_(fixes, Change.withdrawn_at.is_(None))
    return Change.update == name


def of_build(connection: Connection, build: SourceBuild) -> list[tuple[int, str, str]]:
    """Id, stream, and the tag whose repository is waited for, of each change of this build."""
    query = select(Change.id, Change.stream, Change.waits_for_repo).where(*_of(build), Change.withdrawn_at.is_(None))
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def other_epoch(connection: Connection, build: SourceBuild) -> int | None:
    """The epoch that the build is known to have, where another one is given; None where they do not contradict."""
    if build.evr.epoch is None:
        return None
    query = select(Change.epoch).where(*_of(build), Change.epoch != build.evr.epoch)
    return connection.scalar(query.order_by(Change.id.desc()).limit(1))


def _of(build: SourceBuild) -> tuple[Any, Any]:
    return Change.source == build.name, Change.version_release == build.evr.version_release


def _of_epoch(build: SourceBuild) -> list[ColumnElement[bool]]:
    if build.evr.epoch is None:
        return []
    return [or_(Change.epoch.is_(None), Change.epoch == build.evr.epoch)]
