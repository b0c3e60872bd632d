"""What a build of an external parent would rebuild, asked before it is there or taken up."""

from __future__ import annotations

from sqlalchemy import Engine

from rebuilder.config import Settings
from rebuilder.domain.errors import UnknownError
from rebuilder.domain.external import ExternalImage, at_digest
from rebuilder.domain.plan import Draft
from rebuilder.engine import moved_bases, planning
from rebuilder.engine.external_parents import newer_than_images
from rebuilder.engine.planning import Assumptions
from rebuilder.inventory import external
from rebuilder.registry.errors import ContentsError
from rebuilder.registry.pull_spec import check_digest
from rebuilder.registry.reader import RegistryReader
from rebuilder.store import bases, externals
from rebuilder.store.database import reading


def draft(engine: Engine, base: str, settings: Settings, now: float) -> Draft:
    """The plan for the external parent SPEC, as its registry has it now, or for SPEC@DIGEST. Changes nothing.

    Raises UnknownError for a pull spec that no image is built on, RequestError for what is no digest, RegistryError
    where its registry is unreachable, and ContentsError where what is in the build is unknown, but counts.
    """
    with reading(engine) as connection:
        used = externals.in_use(connection)
    spec, digest = _split(base, used)
    with RegistryReader(settings.registry) as reader:
        image = reader.resolve(at_digest(spec, digest) if digest else spec)
        by_platform = {name: reader.contents(image, name) for name in external.platforms_of(settings, used[spec])}
    unknown = [f"{name}: {contents.origin}" for name, contents in by_platform.items() if contents.rpms is None]
    if unknown and settings.external_changes != "digest":  # nothing to rebuild would be a guess
        raise ContentsError(f"what is in {at_digest(image.name, image.digest)} is unknown ({'; '.join(unknown)})")
    rpms = dict.fromkeys(rpm for contents in by_platform.values() for rpm in contents.rpms or ())
    return _draft(engine, ExternalImage(spec, image.digest, None, tuple(rpms)), settings, now)


def _split(base: str, used: dict[str, set[str]]) -> tuple[str, str]:
    """The pull spec as images have it, and the digest that is asked about, if any."""
    if base in used:
        return base, ""
    spec, at, digest = base.partition("@")
    if spec not in used:
        raise UnknownError(f"no image is built on {spec}; see `rebuilder inventory list --external`")
    if at:
        check_digest(spec, digest)
    return spec, digest


def _draft(engine: Engine, base: ExternalImage, settings: Settings, now: float) -> Draft:
    with reading(engine) as connection:
        if settings.external_changes == "digest":
            on = {one.image: one.at for one in bases.standing(connection) if one.spec == base.spec}
            current = {image for image, at in on.items() if at == base.digest}
            return moved_bases.draft(connection, sorted(on.keys() - current), settings, current)
        changes = newer_than_images(connection, base.spec, base.rpms, settings)
        return planning.draft(connection, changes, settings, now, Assumptions(parent=base))
