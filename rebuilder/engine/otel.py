"""Traces sent by OTLP, from a thread of its own: a collector that is slow, or away, does not hold the engine up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import Tracer, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span as RecordedSpan
from opentelemetry.trace import Status, StatusCode, set_span_in_context
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from rebuilder import distribution
from rebuilder.config import TraceSettings
from rebuilder.engine import traces
from rebuilder.engine.traces import Span
from rebuilder.store.database import first_line, reading
from rebuilder.store.traces import finished

log = logging.getLogger(__name__)
LOOK_SECONDS, AT_ONCE = 5.0, 20  # waves
BILLION = 1_000_000_000


@contextmanager
def exporting(engine: Engine, settings: TraceSettings, since: float) -> Iterator[None]:
    """Send a trace for each change of the waves that finish inside the block; `since` is now, since the epoch.

    What is not sent when the process is killed is not sent any more.
    """
    resource = Resource.create({SERVICE_NAME: "rebuilder", SERVICE_VERSION: distribution.version()})
    provider = TracerProvider(resource=resource)
    exporter = OTLPSpanExporter(endpoint=settings.endpoint, timeout=settings.timeout_seconds)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    stop = threading.Event()
    work = (engine, provider.get_tracer("rebuilder"), since, stop)
    thread = threading.Thread(target=_follow, args=work, name="traces", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(settings.timeout_seconds)
        provider.force_flush(round(settings.timeout_seconds * 1000))
        provider.shutdown()


def _follow(engine: Engine, tracer: Tracer, since: float, stop: threading.Event) -> None:
    """Look for finished waves until `stop` is set, and once more then."""
    after, ending = (since, 0), False
    while not ending:
        ending = stop.wait(LOOK_SECONDS)
        try:
            with reading(engine) as connection:
                found = finished(connection, after, AT_ONCE)
        except DBAPIError as error:
            log.warning("traces: database: %s", first_line(error))
            continue
        for wave in found:
            after = (wave.finished, wave.id)
            for span in traces.of_wave(wave):
                record(tracer, span)


def record(tracer: Tracer, span: Span, within: RecordedSpan | None = None) -> None:
    """Record a span that is over, and those inside it."""
    context = set_span_in_context(within) if within is not None else None
    made = tracer.start_span(span.name, context, attributes=span.attributes, start_time=_nanoseconds(span.begin))
    if span.error:
        made.set_status(Status(StatusCode.ERROR, span.error))
    for inner in span.inner:
        record(tracer, inner, made)
    made.end(_nanoseconds(span.end))


def _nanoseconds(seconds: float) -> int:
    return round(seconds * BILLION)
