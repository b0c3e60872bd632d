"""What an image in a registry gets before any tag moves to it: its bill of materials, and its signature."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Engine

from rebuilder.config import Settings
from rebuilder.domain.errors import InfrastructureError, RequestError
from rebuilder.registry import signing
from rebuilder.registry.pull_spec import pinned
from rebuilder.registry.referrers import Attachment, attach
from rebuilder.sbom.contents import Contents
from rebuilder.sbom.documents import Format, document
from rebuilder.store import contents
from rebuilder.store.database import reading

SBOM, SIGNATURE = "sbom", "signature"
CREATED = "org.opencontainers.image.created"


class Endorsing(Struct, frozen=True):
    """What is asked for by the settings. `contents_of` reads what is in a build, by its id."""

    settings: Settings
    contents_of: Callable[[int], Contents | None]

    @classmethod
    def of(cls, settings: Settings, engine: Engine) -> Endorsing:
        """One that reads the contents of builds from the database."""
        def read(build_id: int) -> Contents | None:
            with reading(engine) as connection:
                return contents.of_build(connection, build_id)

        return cls(settings, read)

    @property
    def wanted(self) -> bool:
        """Whether anything is."""
        return bool(self.settings.registry.sbom or self.settings.registry.sign)

    def endorse(self, build_id: int, at: str, done: frozenset[str]) -> Iterator[str]:
        """Do for the build, at a pull spec by digest, what is not done yet; each that was, as it is to be remembered.

        The bill of materials comes first, so that a signing command finds it. The same one attached twice is attached
        once. Raises InfrastructureError and RegistryError.
        """
        registry = self.settings.registry
        if registry.sbom and f"{SBOM} {at}" not in done and self._attach(build_id, at):
            yield f"{SBOM} {at}"
        if registry.sign and f"{SIGNATURE} {at}" not in done:
            signing.sign(registry.sign, at, registry.sign_seconds)
            yield f"{SIGNATURE} {at}"

    def _attach(self, build_id: int, at: str) -> bool:
        """Whether there was anything to attach: what is in the build may be unknown."""
        registry, contents = self.settings.registry, self.contents_of(build_id)
        if contents is None:
            return False
        form = Format(registry.sbom)
        made = contents.made.isoformat().replace("+00:00", "Z")
        try:
            text = document(replace(contents, digest=pinned(at)), form)
            attachment = Attachment(text.encode(), form.media_type, {CREATED: made})
            attach(at, attachment, registry.call_seconds, registry.auth_file)
        except RequestError as error:  # a missing extra, or somebody else's tag: it is mended, and tried again
            raise InfrastructureError(f"{at} has no bill of materials, so no tag moves to it: {error}") from None
        return True
