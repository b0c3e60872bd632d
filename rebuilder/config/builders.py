"""The tables of the builders."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from rebuilder.config.table import StrictModel, state_directory
from rebuilder.plugins import PluginGroup

BUILDERS = PluginGroup(
    "builder", "rebuilder.builders", "rebuilder.builders.plugins", ("buildah", "koji", "osbs", "simulated")
)


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
        """How often tasks are asked for, in seconds."""
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
        """Where the logs of pipeline runs are kept."""
        return self.logs or state_directory() / "osbs"

    @model_validator(mode="after")
    def _one_source_of_composes(self) -> OsbsSettings:
        if self.compose_ids and self.signing_intent:
            raise ValueError("compose_ids and signing_intent cannot both be given: OSBS takes one of them")
        return self
