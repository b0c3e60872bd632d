"""Traces: one for each change, from its message to the last rebuild, sent to a collector by OTLP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from integration.workbench import Workbench
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SentSpan
from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy import update as update_of
from support.bus import until
from support.users import User, update

from rebuilder.config import TraceSettings
from rebuilder.engine import otel, traces
from rebuilder.store.database import reading
from rebuilder.store.models import Delivery, Rebuild, Wave
from rebuilder.store.traces import finished, unmoved


@contextmanager
def collector() -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """An OTLP receiver, and what it is sent."""
    received: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sent(received: list[ExportTraceServiceRequest]) -> list[SentSpan]:
    scopes = [scope for body in received for one in body.resource_spans for scope in one.scope_spans]
    return [span for scope in scopes for span in scope.spans]


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


def of_last_wave(store: Engine) -> list[traces.Span]:
    with reading(store) as connection:
        return list(traces.of_wave(finished(connection, (0.0, 0), 10)[-1]))


def inside(outer: traces.Span) -> Iterator[tuple[traces.Span, traces.Span]]:
    for inner in outer.inner:
        yield outer, inner
        yield from inside(inner)


def test_each_change_of_a_wave_has_a_trace_with_its_rebuilds_and_their_states(store: Engine) -> None:
    bench = Workbench(store)
    bench.tell("openssl-3.2.2-1.fc42", ident="m1")
    bench.clock.now += 20
    bench.finish()
    (root,) = of_last_wave(store)
    assert root.name == "openssl-3.2.2-1.fc42 in f42"
    assert root.attributes["messaging.message.id"] == "m1"
    assert [span.name for span in root.inner][:3] == ["inbox", "settling", "rebuild base:f42"]
    assert root.inner[0].end - root.inner[0].begin == pytest.approx(20)
    assert [span.name for span in root.inner[2].inner] == ["waiting", "queued", "submitting", "building"]
    assert not root.error


def test_spans_lie_within_those_that_they_are_part_of_and_never_end_before_they_begin(store: Engine) -> None:
    bench = Workbench(store, simulated={"failures": ["mid:f42"], "aborts": {"alone:f42": 1}})
    bench.tell("openssl-3.2.2-1.fc42")
    bench.finish()
    (root,) = of_last_wave(store)
    pairs = list(inside(root))
    assert len(pairs) > 10
    for outer, inner in pairs:
        assert outer.begin <= inner.begin <= inner.end <= outer.end, (outer.name, inner.name)
    assert root.error == "not rebuilt: mid:f42, app:f42"
    (failed,) = [span for span in root.inner if span.name == "rebuild mid:f42"]
    assert (failed.attributes["rebuilder.outcome"], bool(failed.error)) == ("failed", True)


def test_a_wave_of_an_operator_has_a_trace_of_its_own(store: Engine) -> None:
    bench = Workbench(store)
    bench.ask("rebuild", "base:f42")
    bench.finish()
    (root,) = of_last_wave(store)
    assert (root.name, [span.name for span in root.inner]) == ("wave 1", ["rebuild base:f42"])


def test_the_promotion_of_a_name_is_part_of_its_rebuild_also_after_the_wave(store: Engine) -> None:
    bench = Workbench(store)
    bench.tell("openssl-3.2.2-1.fc42")
    bench.finish()
    with store.begin() as connection:
        rebuild = connection.execute(select(Rebuild).order_by(Rebuild.id).limit(1)).one()
        wave = connection.execute(select(Wave)).one()
        names = {"image_id": rebuild.image_id, "build_id": rebuild.build_id, "key": rebuild.key, "state": "done"}
        moments = {"requested_at": wave.finished_at - 1, "done_at": wave.finished_at + 9}
        connection.execute(insert(Delivery).values(spec="localhost/base:f42", **names, **moments))
    (root,) = of_last_wave(store)
    (base,) = [span for span in root.inner if span.name == "rebuild base:f42"]
    promotion = base.inner[-1]
    assert (promotion.name, promotion.end - promotion.begin) == ("promotion localhost/base:f42", 10)
    assert promotion.end == base.end == root.end


def test_an_engine_sends_its_traces_to_the_collector(user: User) -> None:
    user.types("inventory", "sync")
    user.types("replay", "-", stdin=update())
    with collector() as (endpoint, received):
        user.configure(more=f'traces = {{endpoint = "{endpoint}"}}')
        assert user.types("run", "--until-idle").returncode == 0
    spans = sent(received)
    (root,) = [span for span in spans if not span.parent_span_id]
    assert root.name == "openssl-3.2.2-1.fc42 in f42"
    assert {span.trace_id for span in spans} == {root.trace_id}
    parts = {span.name for span in spans if span.parent_span_id == root.span_id}
    assert parts >= {"rebuild base:f42", "rebuild httpd:f42"}


def test_a_name_that_an_operator_moves_after_the_wave_is_a_span_of_the_same_trace(
    store: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wave is sent when it is finished; the promotion comes when somebody says so, here to another engine."""
    looks: list[frozenset[int]] = []

    def look(connection: Connection) -> frozenset[int]:
        looks.append(unmoved(connection))
        return looks[-1]

    monkeypatch.setattr(otel, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(otel, "unmoved", look)
    bench = Workbench(store)
    bench.tell("openssl-3.2.2-1.fc42")
    bench.finish()
    with store.begin() as connection:
        rebuild = connection.execute(select(Rebuild).order_by(Rebuild.id).limit(1)).one()
        waits = {"image_id": rebuild.image_id, "build_id": rebuild.build_id, "key": rebuild.key, "state": "waiting"}
        connection.execute(insert(Delivery).values(spec="localhost/base:f42", requested_at=bench.clock.now, **waits))
    with collector() as (endpoint, received):
        settings = TraceSettings(endpoint=endpoint)
        with otel.exporting(store, settings, 0):
            pass  # it looks once more at its end
        first = sent(received)
        assert not [span for span in first if span.name.startswith("promotion")]
        looks.clear()
        with otel.exporting(store, settings, bench.clock.now + 1):
            until(lambda: looks)
            with store.begin() as connection:
                connection.execute(update_of(Delivery).values(state="done", done_at=bench.clock.now + 600))
    (promotion,) = sent(received)[len(first):]
    assert promotion.name == "promotion localhost/base:f42"
    assert promotion.end_time_unix_nano - promotion.start_time_unix_nano == 600 * 10**9
    (base,) = [span for span in first if span.name == "rebuild base:f42"]
    assert (promotion.trace_id, promotion.parent_span_id) == (base.trace_id, base.span_id)
    assert len({span.span_id for span in sent(received)}) == len(sent(received))


def test_a_collector_that_is_away_holds_nothing_up(user: User) -> None:
    user.types("inventory", "sync")
    user.types("replay", "-", stdin=update())
    user.configure(more='traces = {endpoint = "http://127.0.0.1:1/v1/traces", timeout_seconds = 0.5}')
    done = user.types("run", "--until-idle")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
