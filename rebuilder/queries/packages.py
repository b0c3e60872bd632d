"""Which packages the images carry, and what somebody means who names one that none carries."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection

from rebuilder.config import Settings
from rebuilder.domain.change import ALIAS, CVE, NO_CVE, Change, Severity
from rebuilder.domain.errors import RequestError, UnknownError
from rebuilder.domain.naming import did_you_mean
from rebuilder.domain.rpm import SourceBuild
from rebuilder.engine import ingest
from rebuilder.engine.plan_preview import AskedUpdates, build_named, builds_named, changes_from, meant
from rebuilder.store import change_lookup, changes, coverage, installed_packages, search
from rebuilder.store.changes import StoredChange

SHOWN = 3


class StoredPackages(Struct, frozen=True):
    """The packages in the current builds of the images in the database; see rebuilder.engine.plan_preview.Packages."""

    connection: Connection

    def sources_of(self, name: str) -> Collection[str]:
        return installed_packages.sources_of(self.connection, name)

    def carriers(self, rpm: str) -> Mapping[str, int]:
        return coverage.made_from(self.connection, rpm)

    def sources(self) -> Collection[str]:
        return coverage.sources(self.connection)


def changes_named(connection: Connection, updates: AskedUpdates, settings: Settings) -> list[Change]:
    """The changes that somebody asks about: of source builds by their NVRs, of updates by their aliases, or of CVEs.

    Raises RequestError for what is none of these, for an unknown stream, an empty inventory, and where no image carries
    the package.
    """
    streams = ingest.known_streams(connection, settings)
    if not streams:
        raise RequestError("the inventory is empty: run `rebuilder inventory sync` first")
    changes: list[Change] = []
    for text in updates.names:
        if named := _told(connection, text):
            changes += _carried(connection, text, named, updates)
        else:
            (build,) = builds_named([text], StoredPackages(connection))
            refuse_other_epoch(connection, build)
            changes += changes_from([build], streams, updates)
    return changes


def _told(connection: Connection, name: str) -> list[Change]:
    """The changes of an update or of a CVE.

    Raises UnknownError where it is sure to be one, and nothing told of it; RequestError where all of it was withdrawn.
    """
    ids = change_lookup.ids_named(connection, name)
    if not ids:
        refuse_untold(connection, name)
    records = changes.of_ids(connection, ids)
    refuse_withdrawn(name, records.values())
    return [records[ident].change for ident in ids if not records[ident].withdrawn]


def refuse_withdrawn(name: str, records: Collection[StoredChange]) -> None:
    """Raises RequestError where all of these changes, which are meant by the name, were withdrawn."""
    if records and all(record.withdrawn for record in records):
        raise RequestError(f"{name} was withdrawn: no image lacks it")


def _carried(connection: Connection, name: str, changes: Sequence[Change], updates: AskedUpdates) -> list[Change]:
    """Those of an update's changes that are asked for. Raises RequestError where no image carries its packages."""
    fitting = [change for change in changes if updates.stream in (None, change.stream)]
    if not fitting:
        raise RequestError(
            f"{name} is not for stream {updates.stream}; it is for {', '.join({c.stream for c in changes})}"
        )
    packages = StoredPackages(connection)
    if not any(change.build.name in packages.sources_of(change.build.name) for change in fitting):
        raise RequestError(f"{name}: {meant(fitting[0].build, packages)}")
    if updates.severity is Severity.UNSPECIFIED:
        return fitting
    return [replace(change, severity=updates.severity) for change in fitting]


def refuse_untold(connection: Connection, name: str) -> None:
    """Raises UnknownError for what no change is of, where it is a CVE, or looks like the alias of an update."""
    if CVE.fullmatch(name):
        raise UnknownError(f"no known update fixes {name.upper()}")
    if name.upper().startswith("CVE-"):
        raise UnknownError(NO_CVE.format(name))
    if ALIAS.fullmatch(name):
        raise UnknownError(f"unknown update {name}{did_you_mean(name, change_lookup.updates(connection))}")


def refuse_other_epoch(connection: Connection, build: SourceBuild) -> None:
    """Raises RequestError for a build with an epoch that it does not have: there is one build of a version."""
    epoch = change_lookup.other_epoch(connection, build)
    if epoch is not None:
        known = replace(build, evr=replace(build.evr, epoch=epoch))
        raise RequestError(f"{build}: the epoch of that build is {epoch}: did you mean {known}?")


def check_update(connection: Connection, name: str) -> None:
    """Raises RequestError for an alias, a CVE or an NVR of which no change is, with what may be meant."""
    if not name or change_lookup.ids_meant(connection, name):
        return
    try:
        refuse_untold(connection, name)
        build = build_named(name)
    except UnknownError as error:
        raise RequestError(f"update: {error}") from None
    except RequestError:
        raise RequestError(f"update: unknown update {name}: give an alias, an NVR or a CVE") from None
    refuse_other_epoch(connection, build)
    if build.name in installed_packages.sources_of(connection, build.name):
        raise RequestError(f"update: no message told of {name}")
    raise RequestError(f"update: {meant(build, StoredPackages(connection))}")


def alike(connection: Connection, words: str) -> list[str]:
    """What may be meant by words that nothing is called by: packages, images, updates."""
    if CVE.fullmatch(words):
        return []
    with suppress(RequestError):
        build = build_named(words)
        if not ALIAS.fullmatch(words):
            name, version = build.name, f"-{build.evr.version_release}"
            return [f"{near}{version}" for near in get_close_matches(name, coverage.sources(connection), SHOWN)]
    names = {*coverage.sources(connection), *search.names(connection), *change_lookup.updates(connection)}
    return get_close_matches(words, names, SHOWN)


def check(connection: Connection, package: str) -> None:
    """Raises RequestError for a source package that no image carries and no change is of, with what may be meant."""
    if not package or package in installed_packages.sources_of(connection, package):
        return
    if not change_lookup.is_known(connection, package):
        raise RequestError(f"package: {_instead(connection, package)}")


def check_rpm(connection: Connection, rpm: str) -> None:
    """Raises RequestError for a binary package that no image carries."""
    if not rpm or coverage.made_from(connection, rpm):
        return
    if rpm in installed_packages.sources_of(connection, rpm):
        raise RequestError(f"rpm: {rpm} is a source package: use package={rpm}")
    raise RequestError(f"rpm: no image carries an RPM {rpm}{did_you_mean(rpm, coverage.rpm_names(connection))}")


class FoundPackage(Struct, frozen=True):
    """A package that so many images carry; `source` is its source package, itself where it is one."""

    name: str
    source: str
    images: int


def find(connection: Connection, words: str) -> list[FoundPackage]:
    """The packages of just this name, or of the name of this source build: as a source first, then as RPMs."""
    with suppress(RequestError):
        words = build_named(words).name
    count = coverage.made_into(connection, words) if words else 0
    made = coverage.made_from(connection, words) if words else {}
    sources = [FoundPackage(words, words, count)] if count else []
    return sources + [
        FoundPackage(words, source, images) for source, images in made.items() if source not in ("", words)
    ]


def _instead(connection: Connection, name: str) -> str:
    """What may have been meant by a source package that no image carries."""
    if made := coverage.made_from(connection, name):
        source = max(made, key=lambda one: made[one])
        return f"{name} is an RPM of the source package {source}: use package={source} or rpm={name}"
    hint = meant(build_named(f"{name}-0-0"), StoredPackages(connection))
    return hint.replace("-0-0?", "?")
