"""Histograms from what the engine counts in buckets."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import Metric
from prometheus_client.core import HistogramMetricFamily
from sqlalchemy import Connection

from rebuilder.store import counters
from rebuilder.store.counters import StoredCounter


def histogram(connection: Connection, described: tuple[str, str], name: str, labels: Mapping[str, str]) -> Metric:
    """The histogram that is counted under `name`; `described` are the metric's name, after `rebuilder_`, and its help.

    `labels` are the values of the label `call`, by what they are counted under; with the value "" there is no label.
    """
    sums, counts = counters.read(connection, name), counters.read(connection, counters.buckets_of(name))
    metric, about = described
    family = HistogramMetricFamily(f"rebuilder_{metric}", about, labels=[] if "" in labels else ["call"])
    for value, label in labels.items():
        whole, below, buckets = sums.get(label, StoredCounter(0)), 0, []
        for bound in counters.BUCKETS[name]:
            below += counts.get(counters.bucket_label(label, bound), StoredCounter(0)).count
            buckets.append((str(float(bound)), float(below)))
        buckets.append(("+Inf", float(whole.count)))
        family.add_metric([value] if value else [], buckets, whole.seconds)
    return family
