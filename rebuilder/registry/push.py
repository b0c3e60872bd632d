"""Copies of an image to where people pull it, with the digest kept: skopeo copies what is there bit for bit.

What a single request does just as well is done by that.
"""

from __future__ import annotations

import json
from pathlib import Path

from rebuilder.registry import document, skopeo
from rebuilder.registry.direct import Direct
from rebuilder.registry.errors import Cause, ContentsError, RegistryError
from rebuilder.registry.pull_spec import at_digest

KEY = "rebuilder.key"  # the label that says which build made the image


class Remote:
    """Registries, as `auth_file` lets us in; skopeo's own where there is none. May be used from several threads.

    A copy may take `seconds`, each single answer `answer_seconds`. Every method raises RegistryError.
    """

    def __init__(self, auth_file: Path | None, seconds: float, answer_seconds: float) -> None:
        self.auth_file, self.seconds = auth_file, seconds
        self._direct = Direct(answer_seconds, auth_file)

    def close(self) -> None:
        """End the connections that are kept."""
        self._direct.close()

    def copy(self, at: str, spec: str) -> None:
        """Put the image `at` (a pull spec by digest) under another name; a tag moves in one step."""
        if self._direct.give(at, spec):
            return
        self._run("copy", "--all", "--preserve-digests", f"docker://{at}", f"docker://{spec}", of=spec)

    def has(self, spec: str) -> bool:
        """Whether the registry has what the pull spec names."""
        there = self._direct.is_there(spec)
        if there is not None:
            return there
        try:
            self._run("inspect", "--raw", f"docker://{spec}", of=spec)
        except RegistryError as error:
            if error.cause is Cause.MISSING:
                return False
            raise
        return True

    def digest_of(self, spec: str, key: str) -> str | None:
        """The digest of what the registry has under that name, where the build of this key made it.

        "" where it is something else's, None where there is nothing. Raises RegistryError, and ContentsError where
        what is there is no image.
        """
        if self._direct.is_there(spec) is False:
            return None
        try:
            manifest = document.parse(self._run("inspect", "--raw", f"docker://{spec}", of=spec), spec)
            one = next(iter(manifest.platforms.values()), manifest.digest)  # the image of each platform has the labels
            config = self._run("inspect", "--config", f"docker://{at_digest(spec, one)}", of=spec)
            labels = (json.loads(config).get("config") or {}).get("Labels") or {}
        except RegistryError as error:
            if error.cause is Cause.MISSING:
                return None
            raise
        except (ValueError, AttributeError) as error:
            raise ContentsError(f"the configuration of {spec} cannot be read: {error}") from None
        return manifest.digest if labels.get(KEY) == key else ""

    def _run(self, *arguments: str, of: str) -> bytes:
        login = (f"--authfile={self.auth_file}",) if self.auth_file else ()
        return skopeo.run((arguments[0], *login, *arguments[1:]), of, self.seconds)
