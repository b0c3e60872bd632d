"""What lists are filtered by, and how they are cut into pages."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Select, and_, cast, exists, func, or_, select

from rebuilder.domain.image_name import ImageName
from rebuilder.store import change_lookup
from rebuilder.store.models import Cause, Change, Image, Rebuild, Rpm, Wave, WaveChange

FEW = 20  # changes: what they caused is found from them; what very many caused is soon met among all


class Filter(Struct, frozen=True):
    """Every part that is given must fit. `image` is a glob (`*` and `?`) of a name or, with a colon, of name:stream.
    `states` are those of a rebuild, a wave, a change or a message; `currencies` what an image is. `text` is a part of
    what a row says of itself (upper and lower case being the same; `*` and `?` as in file names), `owner` whoever looks
    after the image. `package` is a source package, `rpm` a binary one; `update` is an alias, the id of a CVE, or an
    NVR.

    `since` and `until` are seconds since the epoch: at `since` or later, and before `until`.
    """

    states: tuple[str, ...] = ()
    currencies: tuple[str, ...] = ()
    text: str = ""
    image: str = ""
    owner: str = ""
    stream: str = ""
    package: str = ""
    rpm: str = ""
    update: str = ""
    severities: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    wave: int | None = None


class PageRequest(Struct, frozen=True):
    """At most `limit` rows, of those that come after the row `after` in the order of the list (None is the first)."""

    limit: int
    after: Any = None


def glob(column: ColumnElement[str], pattern: str, dialect: str) -> ColumnElement[bool]:
    """Whether the column fits the pattern, upper and lower case being different."""
    if not any(mark in pattern for mark in "*?"):
        return column == pattern
    if dialect == "sqlite":
        return column.op("GLOB", is_comparison=True)(pattern.replace("[", "[[]"))
    for mark in "\\%_":
        pattern = pattern.replace(mark, f"\\{mark}")
    return column.like(pattern.replace("*", "%").replace("?", "_"), escape="\\")


def contains(column: Any, words: str) -> ColumnElement[bool]:
    """The column has the words in it; `*` and `?` stand for what they do in file names."""
    escaped = words.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    pattern = escaped.replace("*", "%").replace("?", "_")
    globbed = any(sign in words for sign in "*?")
    return func.lower(column).like(pattern if globbed else f"%{pattern}%", escape="\\")


def says(criteria: Filter, *columns: Any) -> list[ColumnElement[bool]]:
    """Whether one of these columns has the text that is wanted."""
    return [or_(*(contains(column, criteria.text) for column in columns))] if criteria.text else []


def _owned(owner: str, dialect: str) -> ColumnElement[bool]:
    """Whether the inventory names this owner of the image."""
    if dialect == "sqlite":
        owners = func.json_each(Image.source, "$.care.owners").table_valued("value")
        return exists(select(1).select_from(owners).where(owners.c.value == owner)).correlate(Image)
    from sqlalchemy.dialects.postgresql import JSONB  # takes a while to load

    return func.jsonb_exists(cast(Image.source[("care", "owners")], JSONB), owner)


def images(criteria: Filter, dialect: str) -> list[ColumnElement[bool]]:
    """What the filter says of an image's name and stream."""
    conditions: list[ColumnElement[bool]] = []
    name, colon, stream = criteria.image.rpartition(":")
    if criteria.image:
        conditions.append(glob(Image.name, name if colon else criteria.image, dialect))
    if colon:
        conditions.append(glob(Image.stream, stream, dialect))
    if criteria.stream:
        conditions.append(Image.stream == criteria.stream)
    if criteria.owner:
        conditions.append(_owned(criteria.owner, dialect))
    return conditions


def between(column: Any, criteria: Filter) -> list[ColumnElement[bool]]:
    """What the filter says of a moment."""
    since = [column >= criteria.since] if criteria.since is not None else []
    return since + ([column < criteria.until] if criteria.until is not None else [])


def packages(criteria: Filter) -> list[ColumnElement[bool]]:
    """What the filter says of RPMs: for each of these a manifest must have one that fits."""
    source = [Rpm.source == criteria.package] if criteria.package else []
    return source + ([Rpm.name == criteria.rpm] if criteria.rpm else [])


def changes(criteria: Filter) -> list[ColumnElement[bool]]:
    """What the filter says of the changes that something is about."""
    package = [Change.source == criteria.package] if criteria.package else []
    return package + ([change_lookup.meant(criteria.update)] if criteria.update else [])


def rebuilds(connection: Connection, query: Select[Any], criteria: Filter) -> Select[Any]:
    """The query, on rebuilds and their images, filtered."""
    if criteria.states:
        query = query.where(Rebuild.state.in_(criteria.states))
    if criteria.severities:
        query = query.where(Rebuild.severity.in_(criteria.severities))
    if criteria.wave is not None:
        query = query.where(Rebuild.wave_id == criteria.wave)
    named = images(criteria, connection.dialect.name)
    if named:
        query = query.where(Rebuild.image_id.in_(select(Image.id).where(*named)))
    about = changes(criteria)
    if about:
        ids = list(connection.scalars(select(Change.id).where(*about).limit(FEW + 1)))
        if len(ids) <= FEW:
            caused = Cause.change_id.in_(ids)
            query = query.where(
                Rebuild.id.in_(select(Cause.rebuild_id).where(caused)),
                # The newest may be far back in history, where a scan from its end would be long.
                Rebuild.id <= select(func.max(Cause.rebuild_id)).where(caused).scalar_subquery(),
            )
        else:
            causes = exists().where(Cause.rebuild_id == Rebuild.id, Cause.change_id == Change.id)
            query = query.where(causes.where(*about))
    query = query.where(*says(criteria, Image.key, Rebuild.reason, Rebuild.note))
    return query.where(*between(Rebuild.created_at, criteria))


def waves(connection: Connection, query: Select[Any], criteria: Filter) -> Select[Any]:
    """The query, on waves, filtered."""
    if criteria.states:
        query = query.where(Wave.state.in_(criteria.states))
    about = changes(criteria)
    if criteria.severities:
        about.append(Change.severity.in_(criteria.severities))
    if about:
        taken = select(WaveChange.wave_id).join(Change, Change.id == WaveChange.change_id).where(*about)
        query = query.where(Wave.id.in_(taken))
    if criteria.text:
        matches = says(criteria, Change.source + "-" + Change.version_release, Change.update, Change.cves)
        about_it = select(WaveChange.wave_id).join(Change, Change.id == WaveChange.change_id).where(*matches)
        query = query.where(or_(Wave.id.in_(about_it), contains(Wave.rule, criteria.text)))
    named = images(criteria, connection.dialect.name)
    if named:
        ids = select(Image.id).where(*named)
        query = query.where(exists().where(Rebuild.wave_id == Wave.id, Rebuild.image_id.in_(ids)))
    return query.where(*between(Wave.created_at, criteria))


def after(column: Any, page: PageRequest) -> list[ColumnElement[bool]]:
    """Of a list with the newest first, what comes after the page before."""
    return [] if page.after is None else [column < page.after]


def after_name(page: PageRequest) -> list[ColumnElement[bool]]:
    """Of images in the order of their names and streams, what comes after the page before."""
    if page.after is None:
        return []
    name, stream = ImageName.of(str(page.after))
    return [or_(Image.name > name, and_(Image.name == name, Image.stream > stream))]
