"""Skopeo's answers: an image's manifest as the registry has it. It honours auth.json, registries.conf and certs.d."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence

from rebuilder.domain.wording import last_line
from rebuilder.registry import rate_limits
from rebuilder.registry.errors import Cause, cause_of, registry_error

_FATAL = re.compile(r'level=fatal msg="(?P<text>(?:[^"\\]|\\.)*)"')
_BUSY = "Too many requests"  # what is only told to those who debug: skopeo waits, and asks again
_PAUSES = re.compile(r"sleeping for ([0-9.]+) seconds")
GRACE_SECONDS = 5


def raw_manifest(spec: str, seconds: float) -> bytes:
    """The bytes of what the registry has under the full name, an index of platforms left as it is.

    One request for the manifest, within `seconds`. Raises RegistryError.
    """
    return run(("inspect", "--raw", f"docker://{spec}"), spec, seconds)


def tags(repository: str, seconds: float) -> bytes:
    """The tags of a repository, as JSON: {"Repository": …, "Tags": […]}. Raises RegistryError."""
    return run(("list-tags", f"docker://{repository}"), repository, seconds)


def command(spec: str) -> list[str]:
    """Skopeo with the options that every call has. Raises RegistryError where it is not installed.

    Buildah and podman take their registries.conf from this variable; the skopeo of Debian 12 has only an option.
    """
    program = shutil.which("skopeo")
    if program is None:
        raise registry_error(spec, "skopeo is not installed", Cause.OTHER)
    configuration = os.environ.get("CONTAINERS_REGISTRIES_CONF")
    return [program, *(("--registries-conf", configuration) if configuration else ())]


def run(arguments: Sequence[str], spec: str, seconds: float) -> bytes:
    """What skopeo answers to a call about the image; it may take so many seconds. Raises RegistryError."""
    seconds -= rate_limits.wait(spec, seconds / 2)
    called = [*command(spec), "--debug", f"--command-timeout={seconds}s", *arguments]
    try:
        done = subprocess.run(
            called, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=seconds + GRACE_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise registry_error(spec, f"no answer within {seconds:g} s", Cause.SLOW) from None
    except OSError as error:
        raise registry_error(spec, f"skopeo: {error.strerror or error}", Cause.OTHER) from None
    if done.returncode:
        text = done.stderr.decode(errors="replace")
        cause = _cause(text)
        if cause is Cause.BUSY:
            rate_limits.keep_away(spec.partition("/")[0], _pause(text))
        raise registry_error(spec, last_words(text), cause)
    return done.stdout


def _cause(text: str) -> Cause:
    cause = cause_of(last_words(text))
    return Cause.BUSY if _BUSY in text and cause in {Cause.SLOW, Cause.OTHER} else cause


def _pause(text: str) -> float:
    """For how long skopeo would have waited yet, as the registry asked it to; it never waits longer than a minute."""
    pauses = _PAUSES.findall(text)
    return float(pauses[-1]) if pauses else rate_limits.UNSAID


def last_words(text: str) -> str:
    """Why skopeo gave up, out of all that it logged."""
    errors = _FATAL.findall(text)
    if errors:
        return str(errors[-1]).replace('\\"', '"')
    return last_line(text) or "skopeo exited without output"
