"""Which commit of which repository a folder is a checkout of, as git says."""

from __future__ import annotations

import re
import subprocess
from urllib.parse import urlsplit

from rebuilder.domain.annotations import Origin
from rebuilder.domain.image import Source

SECONDS = 10.0
COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def origin_of(source: Source) -> Origin:
    """Where the source's files are from: what it says itself, else what git says of the folder.

    The revision of a folder that differs from its commit, or is in no repository, is the digest of what is in it.
    """
    if source.git:
        return Origin(without_login(source.git), source.version or source.ref)
    if not source.path:
        return Origin(revision=source.version)
    commit = _git(source.path, "rev-parse", "HEAD")
    if not COMMIT.fullmatch(commit):
        return Origin(revision=source.version)
    clean = _git(source.path, "status", "--porcelain", "--untracked-files=all", "--", ".", fails="?") == ""
    url = _git(source.path, "config", "--get", "remote.origin.url")
    return Origin(without_login(url), commit if clean else source.version)


def without_login(url: str) -> str:
    """The URL without a user and password, which are secrets; a path on this machine is no URL."""
    if url.startswith(("/", ".", "file:")):
        return ""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() if "http" in parts.scheme else url


def _git(folder: str, *arguments: str, fails: str = "") -> str:
    """What git answers in one line or more; `fails` where it cannot."""
    command = ["git", "--no-optional-locks", "-C", folder, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=SECONDS,
                              stdin=subprocess.DEVNULL)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return fails
    return done.stdout.strip() if done.returncode == 0 else fails
