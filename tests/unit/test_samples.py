"""The sample configurations are ones that both readers accept."""

from __future__ import annotations

import logging.config
import re
from pathlib import Path
from typing import Any

import pytest
from fedora_messaging.config import LazyConfig

from consumers.topics import PARSERS
from rebuilder.config import load

FOLDER = Path(__file__).resolve().parents[2] / "config"
SAMPLES = sorted(FOLDER.glob("*.toml"))


@pytest.fixture(params=SAMPLES, ids=lambda path: path.stem)
def sample(request: pytest.FixtureRequest) -> Path:
    path = request.param
    assert isinstance(path, Path)
    return path


def loaded(path: Path) -> LazyConfig:
    return LazyConfig().load_config(config_path=str(path))


def test_there_is_a_sample_for_each_kind_of_site() -> None:
    assert [path.stem for path in SAMPLES] == ["koji", "one-machine", "osbs", "postgresql", "registry"]


def test_fedora_messaging_accepts_the_sample(sample: Path) -> None:
    conf = loaded(sample)
    assert conf["callback"] == "consumers:Inbox"
    assert conf["qos"] == {"prefetch_size": 0, "prefetch_count": 1}
    assert set(conf["tls"]) == {"ca_cert", "certfile", "keyfile"}


def test_rebuilder_accepts_the_sample(sample: Path) -> None:
    settings = load(sample)
    assert settings.database_url
    assert "f42" in settings.streams


def test_the_policy_that_a_sample_has_as_a_comment_is_one_that_may_be_used(sample: Path, tmp_path: Path) -> None:
    text = sample.read_text()
    start = text.index("# [[consumer_config.policy]]")
    rules = text[start : text.index("\n\n", start)]
    used = tmp_path / "config.toml"
    used.write_text(text.replace(rules, re.sub("^# ?", "", rules, flags=re.MULTILINE)))
    policy = load(used).policy
    assert len(policy) == rules.count("[[consumer_config.policy]]")
    assert load(sample) == load(used).model_copy(update={"policy": ()})


def test_the_bound_queue_survives_and_gets_every_topic_that_is_parsed(sample: Path) -> None:
    conf = loaded(sample)
    (binding,) = conf["bindings"]
    assert conf["queues"][binding["queue"]]["durable"]
    own = {"rebuilder.update.available"}  # `rebuilder update` puts it into the inbox: nobody may send it by the bus
    assert sorted(key.removeprefix("#.") for key in binding["routing_keys"]) == sorted(PARSERS.keys() - own)


def test_logging_is_set_up_as_the_sample_says(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(logging.config, "dictConfig", given.append)
    loaded(sample).setup_logging()
    assert given[0]["version"] == 1
    assert set(given[0]["root"]["handlers"]) <= set(given[0]["handlers"])


def test_the_queue_gives_up_what_came_back_20_times_and_loses_nothing(sample: Path) -> None:
    conf = loaded(sample)
    arguments = conf["queues"]["rebuilder"]["arguments"]
    assert arguments["x-queue-type"] == "quorum"
    assert arguments["x-delivery-limit"] == 20
    assert arguments["x-dead-letter-exchange"] == "rebuilder.dead"
    assert "rebuilder.dead" not in conf["queues"], "every queue named there is consumed"


def test_postgresql_is_what_its_sample_uses() -> None:
    assert load(FOLDER / "postgresql.toml").database.startswith("postgresql+psycopg://")
