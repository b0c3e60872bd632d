from __future__ import annotations

import re
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from osbs.exceptions import OsbsCommitNotFound, OsbsException

GIT_MAX_RETRIES, GIT_BACKOFF_FACTOR = 3, 60  # it waits 60, 120 and 240 s
# The keys at the top of osbs/schemas/container.json, which allows no others.
KEYS = frozenset({
    *("platforms", "autorebuild", "buildtime_limit", "compose", "operator_manifests", "flatpak", "image_build_method"),
    *("tags", "set_release_env", "version", "remote_source", "remote_sources", "go", "remote_sources_version"),
})  # fmt: skip


@dataclass
class RepoConfiguration:
    container: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.is_flatpak = bool(self.container.get("flatpak"))
        self.buildtime_limit = self.container.get("buildtime_limit", 0)


@dataclass
class RepoInfo:
    git_uri: str
    git_ref: str
    git_branch: str
    git_commit_depth: int
    dockerfile: str
    configuration: RepoConfiguration

    @property
    def base_image(self) -> Any:
        return (re.findall(r"^FROM (\S+)", self._parsed, re.MULTILINE) or [None])[-1]

    @property
    def labels(self) -> dict[str, str]:
        return dict(re.findall(r'^LABEL (\S+?)="?([^"\n]*)"?$', self._parsed, re.MULTILINE))

    @property
    def _parsed(self) -> str:
        """The clone is gone by then: what was empty is looked for once more, and not found."""
        if not self.dockerfile:
            path = f"{tempfile.gettempdir()}/clone/repo/Dockerfile"
            raise RuntimeError(f"Could not parse Dockerfile in {path}: [Errno 2] No such file or directory: '{path}'")
        return self.dockerfile


def get_repo_info(git_uri: str, git_ref: str, git_branch: str) -> RepoInfo:
    with tempfile.TemporaryDirectory() as folder:
        repo = Path(folder, "repo")
        depth = _clone(git_uri, git_ref, git_branch, repo)
        dockerfile = repo / "Dockerfile"
        text = dockerfile.read_text() if dockerfile.exists() else ""
        return RepoInfo(git_uri, git_ref, git_branch, depth, text, RepoConfiguration(_container(repo)))


def _clone(git_uri: str, git_ref: str, git_branch: str, repo: Path) -> int:
    clone = ["git", "clone", "-b", git_branch, "--single-branch", git_uri, str(repo)]
    for counter in range(GIT_MAX_RETRIES + 1):
        try:
            subprocess.check_output(clone, stderr=subprocess.STDOUT)
            break
        except subprocess.CalledProcessError as error:
            if counter == GIT_MAX_RETRIES:
                told = f"Unable to clone git repo '{git_uri}' branch '{git_branch}'"
                raise OsbsException(told, cause=error) from None
            time.sleep(GIT_BACKOFF_FACTOR * 2**counter)
    try:
        after = int(subprocess.check_output(["git", "rev-list", "--count", git_ref], cwd=repo))
        subprocess.check_call(["git", "reset", "--hard", git_ref], cwd=repo)
    except subprocess.CalledProcessError:
        told = f"Commit {git_ref} is not reachable in branch {git_branch}, reason: cannot find commit"
        raise OsbsCommitNotFound(told) from None
    return int(subprocess.check_output(["git", "rev-list", "--count", "HEAD"], cwd=repo)) - (after - 1)


def _container(repo: Path) -> dict[str, Any]:
    file = repo / "container.yaml"
    if (repo / "container.yml").exists():
        raise OsbsException("Repo contains wrong filename: container.yml, expected: container.yaml")
    if not file.exists():
        return {}
    try:
        found: dict[str, Any] = yaml.safe_load(file.read_text()) or {}
        if unknown := found.keys() - KEYS:
            raise ValueError(f"Additional properties are not allowed ({', '.join(map(repr, unknown))} was unexpected)")
    except Exception as error:
        raise OsbsException(f'Failed to load or validate container file "{file}": {error}') from None
    return found
