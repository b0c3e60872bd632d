"""Typed settings, from `[consumer_config]` of fedora-messaging's own configuration file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from rebuilder.domain.affected import Terms
from rebuilder.domain.change import Severity
from rebuilder.domain.errors import RequestError
from rebuilder.domain.image import Stream
from rebuilder.domain.policy import Action, Pattern, Rule

BUILDERS = ("buildah", "simulated")


def state_directory() -> Path:
    """The user's state directory (XDG): where everything lives when no configuration says otherwise."""
    root = os.environ.get("STATE_DIRECTORY") or os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(root) / "rebuilder"


class Table(BaseModel):
    """A table of the configuration: an unknown key is an error, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StreamSettings(Table):
    """What feeds a stream, and what its images are built for."""

    dist: str = ""
    bodhi_releases: tuple[str, ...] = ()
    koji_tags: tuple[str, ...] = ()
    koji_target: str = ""
    testing: bool = False
    max_builds: int | None = Field(default=None, ge=1)


class InventorySettings(Table):
    """Where images come from: `path` is the document of `file`, or the folder of `containerfiles`."""

    source: Literal["file", "containerfiles"] = "file"
    path: Path | None = None
    stream: str = "default"


class BuildahSettings(Table):
    """Builds on this machine. `root` and `runroot` are buildah's storage; empty is buildah's own default."""

    max_builds: int | None = Field(default=None, ge=1)
    root: Path | None = None
    runroot: Path | None = None
    storage_driver: Literal["overlay", "vfs", ""] = ""
    isolation: Literal["oci", "rootless", "chroot", ""] = ""
    volumes: tuple[str, ...] = ()
    build_args: dict[str, str] = Field(default_factory=dict)
    state: Path | None = None
    rpmdb: tuple[str, ...] = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")


class SimulatedSettings(Table):
    """Builds that only take time. `failures` and `aborts` name images (name:stream) whose builds end so."""

    max_builds: int | None = Field(default=None, ge=1)
    duration: float = Field(default=60, ge=0)
    speed: float = Field(default=1, gt=0)
    failures: tuple[str, ...] = ()
    aborts: dict[str, int] = Field(default_factory=dict)


class ReconcileSettings(Table):
    """How often missed changes are looked for, and what a build that somebody else made means for what is on it."""

    every_seconds: float = Field(default=3600, gt=0)
    foreign_builds: Literal["ignore", "plan"] = "ignore"


class WebSettings(Table):
    """Where the status pages and the API are. `url` is the address that people know them by, where a proxy is between.

    Links to builds and updates go to `koji_url` and `bodhi_url`; where one is empty there are none.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    url: str = ""
    koji_url: str = "https://koji.fedoraproject.org/koji"
    bodhi_url: str = "https://bodhi.fedoraproject.org"

    @field_validator("url", "koji_url", "bodhi_url")
    @classmethod
    def _address(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return url.rstrip("/")


T = TypeVar("T")
OneOrMore = Annotated[tuple[T, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class RuleSettings(Table):
    """A rule of the policy; see `rebuilder.domain.policy.Rule`. Each list may be a single word."""

    name: str = Field(min_length=1)
    action: Literal["allow", "deny", "approve"]
    image: OneOrMore[str] = ()
    stream: OneOrMore[str] = ()
    package: OneOrMore[str] = ()
    severity: OneOrMore[Severity] = ()
    type: OneOrMore[str] = ()

    @field_validator("image", "stream", "package", "type")
    @classmethod
    def _patterns(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            try:
                Pattern.parse(text)
            except RequestError as error:
                raise ValueError(str(error)) from None
        return texts

    @property
    def rule(self) -> Rule:
        image, stream, package, kind = (
            tuple(map(Pattern.parse, texts)) for texts in (self.image, self.stream, self.package, self.type)
        )
        return Rule(self.name, Action(self.action), image, stream, package, self.severity, kind)


class Settings(Table):
    """All of `[consumer_config]`. Every default lets the command run with no file at all."""

    database_url: str = ""
    builder: Literal["buildah", "simulated"] = "simulated"
    max_builds: int = Field(default=4, ge=1)
    settle_seconds: float = Field(default=60, ge=0)
    descendants: Literal["affected", "all"] = "affected"
    stage_parents: Literal["order", "propagate"] = "order"
    policy: tuple[RuleSettings, ...] = ()
    max_attempts: int = Field(default=3, ge=1)
    retry_seconds: float = Field(default=30, ge=0)
    time_limit: float = Field(default=4 * 3600, gt=0)
    repo_seconds: float = Field(default=1800, ge=0)
    poll_seconds: float = Field(default=1, gt=0)
    reconcile: ReconcileSettings = ReconcileSettings()
    inventory: InventorySettings = InventorySettings()
    streams: dict[str, StreamSettings] = Field(default_factory=dict)
    buildah: BuildahSettings = BuildahSettings()
    simulated: SimulatedSettings = SimulatedSettings()
    web: WebSettings = WebSettings()

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        if url and not url.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("must start with sqlite:/// or postgresql+psycopg://")
        return url

    def terms(self, held: Mapping[str, str]) -> Terms:
        """What plans are made by; `held` has the images on hold."""
        return Terms(self.descendants, self.stage_parents, tuple(rule.rule for rule in self.policy), held)

    @property
    def slots(self) -> int:
        """How many builds there may be at one time, by our own limit and the builder's."""
        limit = {"buildah": self.buildah.max_builds, "simulated": self.simulated.max_builds}[self.builder]
        return min(self.max_builds, limit or self.max_builds)

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{state_directory() / 'rebuilder.db'}"

    @property
    def known_streams(self) -> tuple[Stream, ...]:
        return tuple(Stream(name, stream.dist) for name, stream in self.streams.items())


def settings_of(consumer_config: dict[str, Any], origin: str = "consumer_config") -> Settings:
    """Check a `[consumer_config]` table. Raises RequestError naming the first wrong key."""
    try:
        return Settings.model_validate(consumer_config)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "consumer_config"
        what = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise RequestError(f"{origin}: consumer_config.{key}: {what}") from None


def configuration_file(given: Path | None) -> Path | None:
    """The file to read: the one given, else REBUILDER_CONFIG, else where fedora-messaging looks, else none."""
    named = given or os.environ.get("REBUILDER_CONFIG") or os.environ.get("FEDORA_MESSAGING_CONF")
    if named:
        return Path(named)
    usual = Path("/etc/fedora-messaging/config.toml")
    return usual if usual.exists() else None


def amqp_url(path: Path | None) -> str:
    """The broker's URL in the configuration file, else fedora-messaging's default."""
    document = _document(path) if path else {}
    return str(document.get("amqp_url", "amqp://localhost"))


@dataclass(frozen=True, slots=True)
class Bus:
    """The broker that messages come from, and the queues that we read; `tls` has the files of `[tls]` by their keys."""

    url: str
    queues: tuple[str, ...]
    tls: Mapping[str, str]


def bus(path: Path | None) -> Bus:
    """What fedora-messaging's own configuration says of the broker. Raises RequestError where it cannot be read."""
    document = _document(path) if path else {}
    queues, tls = document.get("queues"), document.get("tls")
    files = {key: str(value) for key, value in tls.items() if value} if isinstance(tls, dict) else {}
    return Bus(amqp_url(path), tuple(queues) if isinstance(queues, dict) else (), files)


def load(given: Path | None = None) -> Settings:
    """Settings of the configuration file, or the defaults. Raises RequestError when it cannot be used."""
    path = configuration_file(given)
    if path is None:
        return Settings()
    table = _document(path).get("consumer_config", {})
    if not isinstance(table, dict):
        raise RequestError(f"{path}: consumer_config: must be a table")
    return settings_of(table, str(path))


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: not TOML: {error}") from None
