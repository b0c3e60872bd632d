"""All of `[consumer_config]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from rebuilder.config.builders import (
    BUILDERS,
    BuildahSettings,
    BuilderSettings,
    KojiSettings,
    OsbsSettings,
    PluginSettings,
    SimulatedSettings,
)
from rebuilder.config.images import InventorySettings, StreamSettings
from rebuilder.config.policy import RuleSettings
from rebuilder.config.registry import RegistrySettings
from rebuilder.config.services import (
    CallSettings,
    LogSettings,
    NotifySettings,
    ReconcileSettings,
    RetentionSettings,
    TraceSettings,
    WebSettings,
)
from rebuilder.config.table import StrictModel, state_directory
from rebuilder.domain.external import Wait
from rebuilder.domain.image import Stream
from rebuilder.domain.impact import PlanOptions
from rebuilder.domain.rpm import INSTALLONLY
from rebuilder.domain.topics import Notice


def _each(word: Any) -> Any:
    """The older word for `image`."""
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

    def with_descendants(self, descendants: str | None) -> Settings:
        """The same settings for a plan that is asked for with other descendants, if with any."""
        return self.model_copy(update={"descendants": descendants}) if descendants else self

    @property
    def slots(self) -> int:
        """How many builds there may be at one time, by our own limit and the builder's."""
        return min(self.max_builds, self.own_builder.max_builds or self.max_builds)

    @property
    def own_builder(self) -> BuilderSettings:
        """The table of the builder that is configured."""
        if self.builder in BUILDERS.ours:
            own: BuilderSettings = getattr(self, self.builder)
            return own
        return self.plugins.get(self.builder) or BuilderSettings()

    @property
    def watch_seconds(self) -> float:
        """How often the builder is asked for the live builds, where no message tells of an end."""
        return self.own_builder.watch_seconds

    @property
    def database(self) -> str:
        """The URL of the database: the one that is configured, or a SQLite file in the state directory."""
        return self.database_url or f"sqlite:///{state_directory() / 'rebuilder.db'}"

    @property
    def known_streams(self) -> tuple[Stream, ...]:
        """The streams that the configuration names."""
        return tuple(Stream(name, stream.dist) for name, stream in self.streams.items())
