"""Logs: levels by directive, one line for each record, and no second time under journald."""

from __future__ import annotations

import json
import logging
import logging.config
import os
import sys
from collections.abc import Iterator

import pytest

from rebuilder import logs


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    names = ("", "rebuilder", "consumers", "rebuilder.engine", *logs.QUIET)
    before = {name: logging.getLogger(name or None).level for name in names}
    handlers = list(logging.root.handlers)
    yield
    logging.root.handlers[:] = handlers
    for name, level in before.items():
        logging.getLogger(name or None).setLevel(level)


def record(text: str = "wave %d is finished", *args: object, **more: object) -> logging.LogRecord:
    found = logging.makeLogRecord({"name": "rebuilder.engine.loop", "levelno": 20, "levelname": "INFO", "msg": text,
                                   "args": args, "created": 1772443800.25, **more})  # fmt: skip
    return found


def test_a_directive_sets_our_own_level_and_that_of_single_loggers() -> None:
    found = logs.levels("warning,rebuilder.engine=debug,pika=info")
    assert found["rebuilder"] == found["consumers"] == found[""] == logging.WARNING
    assert found["rebuilder.engine"] == logging.DEBUG
    assert found["pika"] == logging.INFO


def test_debugging_leaves_libraries_brief_unless_all_are_named() -> None:
    assert (logs.levels("debug")[""], logs.levels("debug")["pika"]) == (logging.INFO, logging.CRITICAL)
    everything = logs.levels("debug,*=debug")
    assert everything[""] == logging.DEBUG
    assert "pika" not in everything


@pytest.mark.parametrize("directive", ["loud", "info,rebuilder.engine=", "rebuilder=1"])
def test_an_unknown_level_is_refused_with_those_that_there_are(directive: str) -> None:
    with pytest.raises(logs.InvalidDirective, match="use one of debug, info, warning, error, critical"):
        logs.parse(directive)


def test_text_is_one_line_with_its_time_in_utc() -> None:
    said = logs.Formatter("text").format(record("wave %d\nis finished", 7))
    assert said == "2026-03-02T09:30:00.250Z INFO rebuilder.engine.loop: wave 7 is finished"


def test_under_journald_a_line_has_its_priority_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream, os.fdopen(read):
        where = os.fstat(write)
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("JOURNAL_STREAM", f"{where.st_dev}:{where.st_ino}")
        said = logs.Formatter().format(record("wave %d is finished", 7))
        monkeypatch.setenv("JOURNAL_STREAM", f"{where.st_dev}:{where.st_ino + 1}")
        elsewhere = logs.Formatter().format(record())
    assert said == "<6>rebuilder.engine.loop: wave 7 is finished"
    assert elsewhere.startswith("2026-")


def test_json_is_one_object_a_line_with_the_fields_of_the_record() -> None:
    try:
        raise ValueError("no such\nimage")
    except ValueError:
        error = sys.exc_info()
    said = logs.Formatter("json").format(record("%s\nfailed", "base:f42", image="base:f42", wave=7, exc_info=error))
    assert "\n" not in said
    found = json.loads(said)
    assert found["message"] == "base:f42\nfailed"
    assert (found["time"], found["level"], found["image"], found["wave"]) == (
        "2026-03-02T09:30:00.250Z", "info", "base:f42", 7)  # fmt: skip
    assert found["exception"].endswith("ValueError: no such\nimage")


def test_another_programs_handler_stays_and_ours_is_set_up_once(capsys: pytest.CaptureFixture[str]) -> None:
    logging.root.handlers[:] = []
    logs.set_up("debug")
    logs.set_up("info", "json")
    logging.getLogger("rebuilder.x").debug("not this")
    logging.getLogger("rebuilder.x").info("but this")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "but this"


def test_the_same_is_a_configuration_for_fedora_messaging(capsys: pytest.CaptureFixture[str]) -> None:
    logging.config.dictConfig(logs.configuration("warning", "json"))
    logging.getLogger("consumers.inbox").info("not this")
    logging.getLogger("consumers.inbox").warning("but this")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["logger"] == "consumers.inbox"
