"""What Prometheus is given: metrics that its own linter accepts, alerts and a dashboard that ask for what there is."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from integration.workbench import Workbench, image
from sqlalchemy import Engine
from support import databases, servers
from support.api_client import Client

from rebuilder.store import counters

ROOT = Path(__file__).resolve().parents[2]
ALERTS, DASHBOARD = ROOT / "monitoring" / "alerts.yml", ROOT / "monitoring" / "dashboard.json"
OF_THE_BROKER = {"rebuilder_broker_up", "rebuilder_queue_messages", "rebuilder_queue_consumers"}


@pytest.fixture
def store(tmp_path: Path) -> Engine:
    return databases.sqlite(tmp_path / "test.db")


def exposed(store: Engine) -> str:
    return Client(store).http.get("/metrics").text


def promtool(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    servers.need("prometheus", "promtool")
    command = ["promtool", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60)


def expressions() -> Iterator[str]:
    for rule in yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]:
        yield rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_promtool_finds_nothing_to_mend_in_the_metrics(store: Engine) -> None:
    done = promtool("check", "metrics", stdin=exposed(store))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_promtool_takes_the_alerts_and_what_the_dashboard_asks(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": found} for number, found in enumerate(expressions())]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    for path in (ALERTS, tmp_path / "rules.yml"):
        done = promtool("check", "rules", str(path))
        assert done.returncode == 0, done.stderr


def test_alerts_fire_when_they_should_and_not_else() -> None:
    done = promtool("test", "rules", str(ROOT / "tests" / "unit" / "alerts_test.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_alerts_and_dashboard_ask_for_is_measured(store: Engine) -> None:
    bench = Workbench(store)
    bench.tell("openssl-3.2.2-1.fc42")
    bench.finish()
    bench.loop.beat()
    measured = set(re.findall(r"^(rebuilder_\w+)", exposed(store), re.MULTILINE)) | OF_THE_BROKER
    asked = {name for found in expressions() for name in re.findall(r"\brebuilder_\w+", found)}
    engines = {"rebuilder_engine_active"}  # there is one only while an engine of its own process acts
    assert asked - engines <= measured


def test_every_alert_has_its_section_in_the_runbook() -> None:
    sections = re.findall(r"^## (Rebuilder\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    assert sections == [rule["alert"] for rule in rules]
    for rule in rules:
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_what_calls_take_is_a_histogram_that_adds_up(store: Engine) -> None:
    with store.begin() as connection:
        for seconds in (0.004, 0.2, 0.2, 7.0, 4000.0):
            counters.add(connection, counters.timed("builder", "submit", seconds))
    series = r'^rebuilder_builder_call_seconds_(\w+{call="submit".*?}) (\S+)$'
    found = dict(re.findall(series, exposed(store), re.MULTILINE))
    assert found['count{call="submit"}'] == "5.0"
    assert float(found['sum{call="submit"}']) == pytest.approx(4007.404)
    for bound, below in {"0.01": 1, "0.1": 1, "0.25": 3, "10.0": 4, "+Inf": 5}.items():
        assert float(found[f'bucket{{call="submit",le="{bound}"}}']) == below


def test_an_engine_counts_its_calls_in_buckets(store: Engine) -> None:
    bench = Workbench(store, images=(image("base"),))
    bench.tell("openssl-3.2.2-1.fc42")
    bench.finish()
    bench.loop.beat()
    found = exposed(store)
    assert re.search(r'^rebuilder_builder_call_seconds_bucket{call="submit",le="300.0"} 1.0$', found, re.MULTILINE)
    assert re.search(r'^rebuilder_wave_makespan_seconds_bucket{le="\+Inf"} 1.0$', found, re.MULTILINE)
    assert re.search(r'^rebuilder_build_info{.*database="sqlite".*} 1.0$', found, re.MULTILINE)
