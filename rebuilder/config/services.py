"""The tables of the bus, the pages, calls, logs, and of what is done from time to time."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from rebuilder import logs
from rebuilder.config.table import StrictModel
from rebuilder.domain.topics import Notice


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
    rollback_seconds: float = Field(default=300, gt=0)
    withdrawal_seconds: float = Field(default=60, gt=0)
    reconcile_seconds: float = Field(default=60, gt=0)
    inventory_seconds: float = Field(default=60, gt=0)
    at_once: int = Field(default=100, ge=1, le=1000)

    def seconds_for(self, kind: str) -> float:
        """The time limit of a kind of calls."""
        seconds: float = getattr(self, f"{kind}_seconds")
        return seconds


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
