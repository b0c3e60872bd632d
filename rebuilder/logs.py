"""Logs: one format for all processes, as text or JSON, and levels by the configuration, REBUILDER_LOG or `-v`.

Stands on the standard library alone, as every verb may load it. fedora-messaging's `[log_config]` may name `Formatter`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

VARIABLE = "REBUILDER_LOG"
LEVELS = ("debug", "info", "warning", "error", "critical")
OURS = ("rebuilder", "consumers")
# What libraries say that health and metrics tell better; a directive of its own, as `pika=info`, goes before that.
QUIET = {"alembic": logging.WARNING, "uvicorn": logging.WARNING, "pika": logging.CRITICAL, "httpx": logging.WARNING}
# syslog's priorities, by which journald files lines that begin with them (sd-daemon(3)).
PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
PLAIN = frozenset({*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName", "color_message"})


class InvalidDirective(ValueError):
    """A directive that names no level; says which levels there are."""


def parse(directive: str) -> dict[str, int]:
    """The level of each logger that a directive names, as `debug` or `info,rebuilder.engine=debug`.

    "" are our own loggers, `*` is the root: all others. Raises InvalidDirective.
    """
    by_logger: dict[str, int] = {}
    for part in filter(None, (word.strip() for word in directive.split(","))):
        name, _, level = part.rpartition("=")
        if level.lower() not in LEVELS:
            raise InvalidDirective(f"invalid log level {level!r}: use one of {', '.join(LEVELS)}, or LOGGER=LEVEL")
        by_logger[name.strip()] = logging.getLevelNamesMapping()[level.upper()]
    return by_logger


def levels(directive: str) -> dict[str, int]:
    """The level of each logger, "" being the root: our own follow the directive, libraries are brief unless named.

    Raises InvalidDirective.
    """
    named = parse(directive)
    ours = named.pop("", logging.INFO)
    quiet = {} if "*" in named else QUIET
    return {"": named.pop("*", max(ours, logging.INFO)), **quiet, **dict.fromkeys(OURS, ours), **named}


def set_up(directive: str = "info", layout: str = "auto") -> None:
    """Log to standard error; where a handler is there already (another program's), only levels are set.

    `layout` is `text`, `json` or `auto`, which is text. Raises InvalidDirective.
    """
    by_logger = levels(directive)
    handler = next(filter(_is_ours, logging.root.handlers), logging.StreamHandler(sys.stderr))
    handler.setFormatter(Formatter(layout))
    logging.basicConfig(handlers=[handler])
    _set(by_logger)


def _is_ours(handler: logging.Handler) -> bool:
    return isinstance(handler.formatter, Formatter)


def set_levels() -> None:
    """Set the levels that REBUILDER_LOG names, in a process that has set up its logs otherwise.

    Raises InvalidDirective.
    """
    if directive := os.environ.get(VARIABLE):
        _set(levels(directive))


def _set(by_logger: Mapping[str, int]) -> None:
    for name, level in by_logger.items():
        logging.getLogger(name or None).setLevel(level)


def configuration(directive: str = "info", layout: str = "auto") -> dict[str, Any]:
    """The same for `logging.config.dictConfig`, as in fedora-messaging's `[log_config]`. Raises InvalidDirective."""
    by_logger = levels(directive)
    root = {"level": by_logger.pop(""), "handlers": ["console"]}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"rebuilder": {"class": f"{__name__}.Formatter", "format": layout}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "rebuilder"}},
        "loggers": {name: {"level": level} for name, level in by_logger.items()},
        "root": root,
    }


def under_journald() -> bool:
    """Whether standard error goes to the journal, which adds the time and the process by itself."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        where = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return (str(where.st_dev), str(where.st_ino)) == (device, inode)


class Formatter(logging.Formatter):
    """One line for each record. Text has the time where journald does not add it; JSON has one object a line.

    A record's `extra` fields are keys of the object.
    """

    def __init__(self, layout: str | None = "auto", *_: Any, **__: Any) -> None:
        super().__init__()
        self._json = layout == "json"
        self._journald = under_journald()

    def format(self, record: logging.LogRecord) -> str:
        return self._as_json(record) if self._json else self._as_text(record)

    def _as_text(self, record: logging.LogRecord) -> str:
        said = "\n".join([record.getMessage().replace("\n", " "), *self._traceback(record)])
        if not self._journald:
            return f"{_time(record)} {record.levelname} {record.name}: {said}"
        priority = PRIORITIES.get(record.levelno, 6)
        return "\n".join(f"<{priority}>{line}" for line in f"{record.name}: {said}".split("\n"))

    def _as_json(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        entry |= {key: value for key, value in vars(record).items() if key not in PLAIN}
        if traceback := list(self._traceback(record)):
            entry["exception"] = "\n".join(traceback)
        return json.dumps(entry, default=str, ensure_ascii=False)

    def _traceback(self, record: logging.LogRecord) -> Iterator[str]:
        if record.exc_info:
            yield self.formatException(record.exc_info)
        if record.stack_info:
            yield self.formatStack(record.stack_info)


def _time(record: logging.LogRecord) -> str:
    """RFC 3339, in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
