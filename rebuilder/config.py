"""Typed settings, from `[consumer_config]` of fedora-messaging's own configuration file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from rebuilder import config_file, logs
from rebuilder.domain.change import Severity
from rebuilder.domain.errors import RequestError
from rebuilder.domain.external import Wait
from rebuilder.domain.image import Stream, dist_tags, stream_name
from rebuilder.domain.impact import PlanOptions
from rebuilder.domain.policy import Action, Pattern, Rule
from rebuilder.domain.rpm import INSTALLONLY
from rebuilder.domain.topics import Notice
from rebuilder.plugins import PluginGroup

BUILDERS = PluginGroup(
    "builder", "rebuilder.builders", "rebuilder.builders.plugins", ("buildah", "koji", "osbs", "simulated")
)
SOURCES = PluginGroup(
    "source", "rebuilder.sources", "rebuilder.inventory.sources", ("containerfiles", "file", "koji", "registry")
)
WORDS = {"extra_forbidden": "unknown key", "tuple_type": "must be a list", "dict_type": "must be a table",
         "model_type": "must be a table"}  # fmt: skip


def state_directory() -> Path:
    """The user's state directory (XDG): where everything lives when no configuration says otherwise."""
    root = os.environ.get("STATE_DIRECTORY") or os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(root) / "rebuilder"


def own_folder(path: Path) -> None:
    """Make a folder, and what is missing above it, for us and our group alone. Raises OSError."""
    for folder in reversed([path, *path.parents]):
        if not folder.exists():
            folder.mkdir(mode=0o750, exist_ok=True)


class StrictModel(BaseModel):
    """A table of the configuration: an unknown key is an error, and nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


T = TypeVar("T")
OneOrMore = Annotated[tuple[T, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class BuilderSettings(StrictModel):
    """What every builder's table may have: `max_builds` at one time, and the `platforms` that it builds for."""

    max_builds: int | None = Field(default=None, ge=1)
    platforms: tuple[str, ...] = ()

    takes_bundles: ClassVar[bool] = True  # whether it builds operators' bundles and their manifests

    @property
    def watch_seconds(self) -> float:
        """How often it is asked for live builds, where no message tells of an end; 0 is as often as all else."""
        return 0


class PluginSettings(BuilderSettings):
    """The table of a plugin: what else is in it, the plugin itself checks."""

    model_config = ConfigDict(extra="allow", frozen=True)


class OsbsStreamSettings(StrictModel):
    """What OSBS is told of a stream's builds in place of what `consumer_config.osbs` has; null is as there.

    An isolated build needs a `release`, as OSBS wants it: 1.2.
    """

    platforms: tuple[str, ...] | None = None
    scratch: bool | None = None
    isolated: bool = False
    release: str = ""
    yum_repourls: tuple[str, ...] | None = None
    compose_ids: tuple[int, ...] | None = None

    @model_validator(mode="after")
    def _isolated_has_a_release(self) -> OsbsStreamSettings:
        if self.isolated and not re.fullmatch(r"\d+\.\d+(\..+)?", self.release):
            raise ValueError("an isolated build needs a release like 1.2")
        if self.isolated and self.scratch:
            raise ValueError("a build cannot be isolated and scratch")
        return self


class StreamSettings(StrictModel):
    """What feeds a stream, and what its images are built for. `dist` is one dist tag or pattern, or a list of them.

    `git_branch` is where Koji builds its images from, where no build of theirs says; empty is the stream's name.
    `repo_tags` are the build tags whose repositories its images are built from; empty is that of `koji_target`. `tags`
    are the tags, or patterns of them, that its images have in a registry, the best first; empty is the stream's name.
    `test` is the command that is run in each new build before any name moves to it, or `test_script` the path of a
    script; it may take `test_timeout` seconds, and uses the network with `test_network` alone. With `gate` each new
    build waits for somebody to say that it is good. What an image says itself goes before `test` and `test_script`.
    """

    dist: OneOrMore[str] = ()
    bodhi_releases: tuple[str, ...] = ()
    koji_tags: tuple[str, ...] = ()
    koji_target: str = ""
    repo_tags: tuple[str, ...] = ()
    tags: OneOrMore[str] = ()
    git_branch: str = ""
    testing: bool = False
    max_builds: int | None = Field(default=None, ge=1)
    osbs: OsbsStreamSettings = OsbsStreamSettings()
    test: tuple[str, ...] = ()
    test_script: Path | None = None
    test_timeout: float = Field(default=1800, gt=0)
    test_network: bool = False
    gate: bool = False

    @model_validator(mode="after")
    def _one_test(self) -> StreamSettings:
        if self.test and self.test_script:
            raise ValueError("test and test_script cannot be combined: name one of them")
        if self.test_script and not self.test_script.is_absolute():
            raise ValueError(f"test_script: {str(self.test_script)!r} must be an absolute path")
        return self

    @field_validator("dist")
    @classmethod
    def _are_dist_tags(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return dist_tags(texts)


class SourceSettings(StrictModel):
    """Where an image is built from: a commit or branch of a git repository, or a folder."""

    git: str = ""
    ref: str = ""
    commit: str = ""
    path: Path | None = None
    containerfile: str = ""


class InventorySettings(StrictModel):
    """Where images come from: `path` is the document of `file`, or the folder of `containerfiles`.

    `registry` is the prefix under which the folders' images are published, and by which they name each other.
    `repositories` are those of the images in a registry, or patterns as `registry.example.com/team/*` where that has a
    catalog. `sources` says where images of a registry (`name` or `name:stream`) are built from.
    """

    source: str = "file"
    path: Path | None = None
    stream: str = "default"
    registry: str = ""
    repositories: tuple[str, ...] = ()
    sources: dict[str, SourceSettings] = Field(default_factory=dict)

    @field_validator("source")
    @classmethod
    def _known_source(cls, name: str) -> str:
        return SOURCES.check_name(name)

    @field_validator("repositories")
    @classmethod
    def _are_repositories(cls, found: tuple[str, ...]) -> tuple[str, ...]:
        for text in found:
            host, slash, path = text.partition("/")
            if not slash or not path or not ("." in host or ":" in host or host == "localhost"):
                raise ValueError(f"{text!r} names no repository: write registry.example.com/team/app")
            if ":" in path or "@" in path:
                raise ValueError(f"{text!r} has a tag: which tags count, streams.NAME.tags says")
        return found

    @model_validator(mode="after")
    def _has_repositories(self) -> InventorySettings:
        if self.source == "registry" and not self.repositories:
            raise ValueError("name the repositories of the images: repositories = [...]")
        return self

    @property
    def named(self) -> bool:
        """Whether there is a source to read the images from."""
        return self.source not in ("file", "containerfiles") or self.path is not None

    @property
    def moves(self) -> bool:
        """Whether images can change at the source without us."""
        return self.named and self.source != "file"


class BuildahSettings(BuilderSettings):
    """Builds on this machine. `root` and `runroot` are buildah's storage; empty is buildah's own default.

    Of each image the last `keep_builds` builds stay in the storage, the current one among them.
    """

    root: Path | None = None
    runroot: Path | None = None
    storage_driver: Literal["overlay", "vfs", ""] = ""
    isolation: Literal["oci", "rootless", "chroot", ""] = ""
    volumes: tuple[str, ...] = ()
    build_args: dict[str, str] = Field(default_factory=dict)
    state: Path | None = None
    rpmdb: tuple[str, ...] = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
    keep_builds: int = Field(default=3, ge=1)

    @property
    def folder(self) -> Path:
        """Where each build has a folder of its own."""
        return self.state or state_directory() / "builds"


class KojiSettings(BuilderSettings):
    """A Koji hub: `hub` is the URL of its XML-RPC, `web` that of its pages.

    `login` says who we are when we build: a Kerberos `keytab` with its `principal` (`gssapi`), a TLS client
    certificate with its key in one file (`certificate`), or `user` and `password_file`. `server_ca` is for hubs whose
    certificate the system does not trust. `build_from` is the commit of an image's last build, or its branch's head.
    Of `timeout_seconds` each answer may take; live builds are asked for every `poll_seconds`.
    """

    hub: str = ""
    web: str = ""
    login: Literal["gssapi", "certificate", "password", ""] = ""
    principal: str = ""
    keytab: Path | None = None
    certificate: Path | None = None
    user: str = ""
    password_file: Path | None = None
    server_ca: Path | None = None
    build_from: Literal["commit", "branch"] = "commit"
    scratch: bool = False
    yum_repourls: tuple[str, ...] = ()
    compose_ids: tuple[int, ...] = ()
    signing_intent: str = ""
    timeout_seconds: float = Field(default=20, gt=0)
    poll_seconds: float = Field(default=15, ge=0)

    @property
    def watch_seconds(self) -> float:
        return self.poll_seconds

    @field_validator("hub", "web")
    @classmethod
    def _address(cls, url: str) -> str:
        if url and not url.startswith(("https://", "http://")):
            raise ValueError("must start with https:// or http://")
        return url.rstrip("/")


class SimulatedSettings(BuilderSettings):
    """Builds that only take time. `failures` and `aborts` name images (name:stream) whose builds end so,
    and `test_failures` those whose tests fail; tests take no time.

    Its calls take time too, as a real builder's: `submit_seconds` a submission, `result_seconds` the reading of a
    result, `call_seconds` any other. Calls about the images that `hang` names (or about all, with `*`) never answer.
    """

    duration: float = Field(default=60, ge=0)
    speed: float = Field(default=1, gt=0)
    failures: tuple[str, ...] = ()
    test_failures: tuple[str, ...] = ()
    aborts: dict[str, int] = Field(default_factory=dict)
    submit_seconds: float = Field(default=0, ge=0)
    call_seconds: float = Field(default=0, ge=0)
    result_seconds: float = Field(default=0, ge=0)
    hang: tuple[str, ...] = ()


class NotifySettings(StrictModel):
    """What is announced on the bus, if anything is. `url` is where the status pages are: messages point there."""

    enabled: bool = False
    events: tuple[Notice, ...] = tuple(Notice)
    url: str = ""

    @field_validator("url")
    @classmethod
    def _web_address(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return url.rstrip("/")


class OsbsOverrides(StrictModel):
    """Keys of osbs-client's own configuration that take the place of what its file says."""

    openshift_url: str | None = None
    namespace: str | None = None
    verify_ssl: bool | None = None
    use_auth: bool | None = None
    token: str | None = None
    token_file: Path | None = None
    username: str | None = None
    password: str | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    use_kerberos: bool | None = None
    kerberos_keytab: str | None = None
    kerberos_principal: str | None = None
    kerberos_ccache: str | None = None
    pipeline_run_path: Path | None = None
    reactor_config_map: str | None = None
    reactor_config_map_scratch: str | None = None


class OsbsSettings(BuilderSettings):
    """Builds by OSBS. `file` and `section` are osbs-client's configuration, `user` whom the builds belong to.

    The limits are those of one build in seconds; with none, they are those of osbs-client's configuration.
    `call_seconds` is ignored: `consumer_config.calls` has the time limits of calls. `logs` is the folder of the builds'
    logs. A run that has ended is removed after `keep_runs` seconds, once its log and its result are kept.
    """

    file: Path = Path("/etc/osbs.conf")
    section: str = "default_binary"
    overrides: OsbsOverrides = OsbsOverrides()
    user: str = Field(default="rebuilder", min_length=1)
    scratch: bool = False
    yum_repourls: tuple[str, ...] = ()
    compose_ids: tuple[int, ...] = ()
    signing_intent: str = ""
    default_buildtime_limit: int | None = Field(default=None, ge=1)
    max_buildtime_limit: int | None = Field(default=None, ge=1)
    call_seconds: float = Field(default=60, gt=0)
    logs: Path | None = None
    keep_runs: Annotated[float, Field(ge=0)] | Literal["forever"] = 86400.0

    takes_bundles: ClassVar[bool] = False

    @property
    def log_folder(self) -> Path:
        return self.logs or state_directory() / "osbs"

    @model_validator(mode="after")
    def _one_source_of_composes(self) -> OsbsSettings:
        if self.compose_ids and self.signing_intent:
            raise ValueError("compose_ids and signing_intent cannot both be given: OSBS takes one of them")
        return self


class CallSettings(StrictModel):
    """Calls to builders and other services, which are made beside the engine's loop.

    Each kind has a time limit in seconds, after which a call counts as not answered, and `at_once` places. A read of
    the inventory may take long: its limit is for the time without any progress.
    """

    submit_seconds: float = Field(default=300, gt=0)
    find_seconds: float = Field(default=60, gt=0)
    poll_seconds: float = Field(default=60, gt=0)
    result_seconds: float = Field(default=60, gt=0)
    cancel_seconds: float = Field(default=60, gt=0)
    lookup_seconds: float = Field(default=60, gt=0)
    repository_seconds: float = Field(default=60, gt=0)
    tidy_seconds: float = Field(default=60, gt=0)
    externals_seconds: float = Field(default=300, gt=0)
    test_seconds: float = Field(default=60, gt=0)
    promote_seconds: float = Field(default=60, gt=0)
    push_seconds: float = Field(default=1800, gt=0)
    withdrawal_seconds: float = Field(default=60, gt=0)
    reconcile_seconds: float = Field(default=60, gt=0)
    inventory_seconds: float = Field(default=60, gt=0)
    at_once: int = Field(default=100, ge=1, le=1000)

    def seconds_for(self, kind: str) -> float:
        """The time limit of a kind of calls."""
        found: float = getattr(self, f"{kind}_seconds")
        return found


class RegistrySettings(StrictModel):
    """How registries are asked: skopeo's own configuration says with which credentials, mirrors and certificates.

    Each answer may take `call_seconds`, and `at_once` images are asked for, or pushed, at one time. `rpmdb` are the
    folders in which an image may have its RPM database. Images that were built on this machine are pushed to each
    repository of `push`, which may use {name} and {stream}, under each of `tags`, which may use {stream}, {date} and
    {n} (1 for the first of the day): one with {n} never moves. `auth_file` is the login for that, else skopeo's own.
    """

    call_seconds: float = Field(default=60, gt=0)
    at_once: int = Field(default=4, ge=1, le=32)
    rpmdb: tuple[str, ...] = ("/usr/lib/sysimage/rpm", "/var/lib/rpm", "/usr/share/rpm")
    push: OneOrMore[str] = ()
    tags: OneOrMore[str] = ("{stream}", "{stream}-{date}.{n}")
    auth_file: Path | None = None

    @field_validator("push")
    @classmethod
    def _are_repositories(cls, found: tuple[str, ...]) -> tuple[str, ...]:
        for text in found:
            host, slash, path = _filled(text, name="app", stream="f42").partition("/")
            if not slash or not path or ":" in path or "@" in path or not ("." in host or ":" in host):
                raise ValueError(f"{text!r} names no repository: write registry.example.com/team/{{name}}")
        return found

    @field_validator("tags")
    @classmethod
    def _are_tags(cls, found: tuple[str, ...]) -> tuple[str, ...]:
        for text in found:
            stream_name(_filled(text, stream="f42", date="20261128", n=1))
        return found

    @property
    def floating(self) -> bool:
        """Whether builds are pushed under tags that move."""
        return any("{n}" not in tag for tag in self.tags)

    def specs(self, image: str, date: str, n: int) -> tuple[tuple[str, bool], ...]:
        """The names that the build of an image is pushed under, and whether each moves; those that never do first."""
        name, _, stream = image.rpartition(":")
        places = [_filled(place, name=name, stream=stream) for place in self.push]
        tags = {_filled(tag, stream=stream, date=date, n=n): "{n}" not in tag for tag in self.tags}
        found = [(f"{place}:{tag}", moves) for place in dict.fromkeys(places) for tag, moves in tags.items()]
        return tuple(sorted(found, key=lambda one: one[1]))

    def floating_name(self, image: str) -> str:
        """The first name of the image (name:stream) in a registry that moves to each new build; "" with none."""
        return next((spec for spec, moves in self.specs(image, "", 0) if moves), "")


def _filled(text: str, **values: object) -> str:
    """The text with its {names} filled in. Raises ValueError for one that means nothing here."""
    try:
        return text.format(**values)
    except (KeyError, IndexError) as error:
        raise ValueError(f"{text!r}: {error} is not known: use {', '.join(f'{{{name}}}' for name in values)}") from None


class ReconcileSettings(StrictModel):
    """How often missed changes are looked for, and what a build that somebody else made means for what is on it.

    Registries are asked for external parents every `externals_seconds`.
    """

    every_seconds: float = Field(default=3600, gt=0)
    externals_seconds: float = Field(default=900, gt=0)
    foreign_builds: Literal["ignore", "plan"] = "ignore"


class RetentionSettings(StrictModel):
    """For how many days `rebuilder db prune` leaves what is over.

    `history_days` are for rebuilds with their transitions, waves and changes; `message_days` for the inbox and its dead
    letters; `notification_days` for notifications that were refused; `build_days` for builds of images with their
    manifests, and for the folders, logs and images that builds leave on this machine.
    """

    history_days: float = Field(default=90, gt=0)
    message_days: float = Field(default=90, gt=0)
    notification_days: float = Field(default=90, gt=0)
    build_days: float = Field(default=90, gt=0)


class WebSettings(StrictModel):
    """Where the status pages and the API listen.

    Links to builds and updates go to `koji_url` and `bodhi_url`; where one is empty there are none.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    koji_url: str = "https://koji.fedoraproject.org/koji"
    bodhi_url: str = "https://bodhi.fedoraproject.org"

    @field_validator("koji_url", "bodhi_url")
    @classmethod
    def _address(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return url.rstrip("/")


class LogSettings(StrictModel):
    """What daemons log, on standard error; `-v`, `-q` and REBUILDER_LOG go before `level`.

    `level` is debug, info, warning, error or critical, for single loggers as well: `info,rebuilder.engine=debug`.
    `format` is text, which has no time of its own under journald, or json: one object a line.
    """

    level: str = "info"
    format: Literal["auto", "text", "json"] = "auto"

    @field_validator("level")
    @classmethod
    def _level(cls, directive: str) -> str:
        logs.parse(directive)
        return directive


class TraceSettings(StrictModel):
    """Traces by OpenTelemetry, which need the extra `otel`.

    `endpoint` is where a collector takes OTLP over HTTP, as http://localhost:4318/v1/traces; empty is none.
    """

    endpoint: str = ""
    timeout_seconds: float = Field(default=5, gt=0)

    @field_validator("endpoint")
    @classmethod
    def _address(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return url


class RuleSettings(StrictModel):
    """A rule of the policy; see `rebuilder.domain.policy.Rule`. Each list may be a single word."""

    name: str = Field(min_length=1)
    action: Literal["allow", "deny", "approve"]
    image: OneOrMore[str] = ()
    stream: OneOrMore[str] = ()
    package: OneOrMore[str] = ()
    severity: OneOrMore[Severity] = ()
    type: OneOrMore[str] = ()
    external: Literal["wait", "build", "auto", ""] = ""
    cve: OneOrMore[str] = ()

    @field_validator("image", "stream", "package", "type", "cve")
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
        image, stream, package, kind, cve = (
            tuple(map(Pattern.parse, texts)) for texts in (self.image, self.stream, self.package, self.type, self.cve)
        )
        return Rule(
            self.name, Action(self.action), image, stream, package, self.severity, kind, self.external, cve
        )


def _each(word: Any) -> Any:
    return "image" if word == "each" else word


class Settings(StrictModel):
    """All of `[consumer_config]`. Every default lets the command run with no file at all.

    `external` says what is done with images whose external parent lacks an update (`auto`: they are built where their
    Containerfile upgrades packages), `external_changes` what a new external parent means for the images on it: they are
    rebuilt where it brings newer RPMs, for any new digest, or not for its sake.
    `installonly` are globs of packages of which several versions are installed side by side: the newest counts.
    `promote` says when the names that move are moved to a build that is proven and tested: at once for each image (also
    called `each`), when its whole wave is good, or by hand.
    In a dry run builds only take time, as with the builder `simulated`, and nothing is announced.
    """

    database_url: str = ""
    builder: str = "simulated"
    dry_run: bool = False
    max_builds: int = Field(default=4, ge=1)
    settle_seconds: float = Field(default=60, ge=0)
    descendants: Literal["affected", "all"] = "affected"
    stage_parents: Literal["order", "propagate"] = "order"
    external: Literal["wait", "build", "auto"] = "auto"
    external_changes: Literal["rpms", "digest", "ignore"] = "rpms"
    policy: tuple[RuleSettings, ...] = ()
    installonly: tuple[str, ...] = INSTALLONLY
    promote: Annotated[Literal["image", "wave", "manual"], BeforeValidator(_each)] = "image"
    max_attempts: int = Field(default=3, ge=1)
    retry_seconds: float = Field(default=30, ge=0)
    time_limit: float = Field(default=4 * 3600, gt=0)
    queue_limit: float | None = Field(default=None, gt=0)
    repo_seconds: float = Field(default=1800, ge=0)
    poll_seconds: float = Field(default=1, gt=0)
    calls: CallSettings = CallSettings()
    notify: NotifySettings = NotifySettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    retention: RetentionSettings = RetentionSettings()
    registry: RegistrySettings = RegistrySettings()
    inventory: InventorySettings = InventorySettings()
    streams: dict[str, StreamSettings] = Field(default_factory=dict)
    buildah: BuildahSettings = BuildahSettings()
    koji: KojiSettings = KojiSettings()
    osbs: OsbsSettings = OsbsSettings()
    simulated: SimulatedSettings = SimulatedSettings()
    web: WebSettings = WebSettings()
    log: LogSettings = LogSettings()
    traces: TraceSettings = TraceSettings()
    plugins: dict[str, PluginSettings] = Field(default_factory=dict)

    @field_validator("builder")
    @classmethod
    def _known_builder(cls, name: str) -> str:
        return BUILDERS.check_name(name)

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, url: str) -> str:
        if url and not url.startswith(("sqlite:///", "postgresql+psycopg://")):
            raise ValueError("must start with sqlite:/// or postgresql+psycopg://")
        return url

    def terms(self, held: Mapping[str, str]) -> PlanOptions:
        """What plans are made by; `held` has the images on hold."""
        rules = tuple(rule.rule for rule in self.policy)
        return PlanOptions(self.descendants, self.stage_parents, rules, held, self.installonly, Wait(self.external))

    @property
    def announced(self) -> frozenset[Notice]:
        """What is announced on the bus. What happens in a dry run has not happened."""
        return frozenset(self.notify.events) if self.notify.enabled and not self.dry_run else frozenset()

    @property
    def slots(self) -> int:
        """How many builds there may be at one time, by our own limit and the builder's."""
        return min(self.max_builds, self.own_builder.max_builds or self.max_builds)

    @property
    def own_builder(self) -> BuilderSettings:
        """The table of the builder that is configured."""
        ours: dict[str, BuilderSettings] = {name: getattr(self, name) for name in BUILDERS.ours}
        return ours.get(self.builder) or self.plugins.get(self.builder) or BuilderSettings()

    @property
    def watch_seconds(self) -> float:
        """How often the builder is asked for the live builds, where no message tells of an end."""
        return self.own_builder.watch_seconds

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
        raise RequestError(f"{origin}: {_faults(error)[0]}") from None


def faults(consumer_config: object) -> list[str]:
    """All that is wrong with a `[consumer_config]` table, key by key."""
    if not isinstance(consumer_config, dict):
        return ["consumer_config: must be a table"]
    try:
        Settings.model_validate(consumer_config)
    except ValidationError as error:
        return _faults(error)
    return []


def _faults(error: ValidationError) -> list[str]:
    found = []
    for fault in error.errors():
        place, what = fault["loc"], WORDS.get(fault["type"], fault["msg"].removeprefix("Value error, "))
        if fault["type"] == "extra_forbidden":
            what += config_file.did_you_mean(str(place[-1]), _table_at(place[:-1]).model_fields)
        key = ".".join(map(str, ("consumer_config", *place)))
        found.append(f"{key}: {what}")
    return found


def _table_at(place: tuple[str | int, ...]) -> type[BaseModel]:
    """The table with that path: a step leads to a key of a table, or into a list or table of tables."""
    found: Any = Settings
    for step in place:
        if isinstance(found, type) and issubclass(found, BaseModel):
            found = found.model_fields[str(step)].annotation
        else:
            found = next(kind for kind in get_args(found) if isinstance(kind, type) and issubclass(kind, BaseModel))
    assert isinstance(found, type) and issubclass(found, BaseModel)
    return found


def first_fault(error: ValidationError) -> tuple[tuple[str | int, ...], str]:
    """Where the first wrong value is, step by step from the root, and what is wrong with it."""
    first = error.errors()[0]
    return first["loc"], WORDS.get(first["type"], first["msg"])


def load(path: Path | None) -> Settings:
    """Settings of the configuration file, or the defaults. Raises RequestError when it cannot be used."""
    if path is None:
        return Settings()
    read = config_file.document(path)
    for fault in config_file.unknown_keys(read):
        raise RequestError(f"{path}: {fault}")
    table = read.get("consumer_config", {})
    if not isinstance(table, dict):
        raise RequestError(f"{path}: consumer_config: must be a table")
    return settings_of(table, str(path))
