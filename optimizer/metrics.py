"""What the service counts and measures, for Prometheus: a closed list of names, each explained in `docs/metrics.md`.

Counters and histograms are moved where something happened, after its commit, once for a batch. Gauges that say how
things stand are not kept here: `optimizer.gauges` finds them out when somebody looks. A process tells of itself only,
except in what it reads from the database, which is the same from all of them.
"""

from __future__ import annotations

import platform
from collections import Counter as Tally
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Metric = TypeVar("Metric", Counter, Histogram)

SENT: Final = "send"
"""What stands for the reason of a decision that has none, since something is sent."""

_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CHANGES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)

disable_created_metrics()  # type: ignore[no-untyped-call]


class Described(NamedTuple):
    """One of the names; `kind` is Prometheus's."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str


REGISTRY: Final = CollectorRegistry()
"""What this process has counted since its start."""

_COUNTED: Final = (
    Described(
        "optimizer_decisions_total",
        "counter",
        ("tenant", "campaign", "group", "reason"),
        "Decisions made; reason is why nothing is sent, or send.",
    ),
    Described(
        "optimizer_arms_removed_total",
        "counter",
        ("tenant", "campaign", "reason"),
        "Arms that were removed before the draw, by the first reason.",
    ),
    Described("optimizer_decide_seconds", "histogram", ("size",), "From the question, one or many, to its commit."),
    Described(
        "optimizer_http_request_seconds",
        "histogram",
        ("method", "route", "status"),
        "From a request to the end of its answer; status is its class.",
    ),
    Described(
        "optimizer_http_refused_total",
        "counter",
        ("reason",),
        "Requests turned away at the door, by the problem's code.",
    ),
    Described("optimizer_commit_seconds", "histogram", (), "A transaction that writes, its commit included."),
    Described("optimizer_commit_changes", "histogram", (), "Callers whose changes shared one transaction."),
    Described("optimizer_events_total", "counter", ("tenant", "status"), "Events received, by what became of them."),
    Described(
        "optimizer_touch_transitions_total", "counter", ("tenant", "state"), "Touches that came into each state."
    ),
    Described(
        "optimizer_touch_attempts_total",
        "counter",
        ("tenant", "channel", "outcome"),
        "Attempts to send a touch: sent, temporary, permanent or unknown.",
    ),
    Described(
        "optimizer_touches_held_back_total",
        "counter",
        ("tenant", "reason"),
        "Touches that were due and not sent, by what the rules said at that time.",
    ),
    Described("optimizer_closings_total", "counter", ("tenant", "campaign"), "Decisions closed with their reward."),
    Described("optimizer_learned_total", "counter", ("tenant", "campaign"), "Closed decisions learned from."),
    Described("optimizer_snapshots_published_total", "counter", ("tenant", "campaign"), "Models published."),
    Described("optimizer_job_failures_total", "counter", ("job",), "Runs of a background job that raised an error."),
    Described("optimizer_build_info", "gauge", ("version", "python", "vowpalwabbit"), "Always 1: what is running."),
)

STANDING: Final = (
    Described("optimizer_database_up", "gauge", (), "1 while the database answers, else 0: what it tells is old then."),
    Described("optimizer_writer_waiting", "gauge", (), "Callers that wait for the writer."),
    Described(
        "optimizer_writer_oldest_seconds",
        "gauge",
        (),
        "How long the first has waited, those included whose change is being written.",
    ),
    Described("optimizer_touches", "gauge", ("tenant", "state"), "Touches in each open state."),
    Described("optimizer_touches_due", "gauge", ("tenant",), "Touches that are to be sent and whose time has come."),
    Described("optimizer_touches_lag_seconds", "gauge", ("tenant",), "How long the first of them has been due."),
    Described("optimizer_events_parked", "gauge", ("tenant",), "Events that name a decision which is not known."),
    Described(
        "optimizer_closing_lag_seconds",
        "gauge",
        ("tenant", "campaign"),
        "How long the first decision without a reward has been mature.",
    ),
    Described(
        "optimizer_learning_lag_seconds",
        "gauge",
        ("tenant", "campaign"),
        "How long the first closed decision has waited to be learned and published.",
    ),
    Described(
        "optimizer_snapshot_age_seconds", "gauge", ("tenant", "campaign"), "Since the newest model was published."
    ),
    Described(
        "optimizer_snapshot_faults",
        "gauge",
        ("tenant", "campaign"),
        "1 while the campaign's newest model cannot be used here, else 0.",
    ),
    Described(
        "optimizer_propensity_audit_z",
        "gauge",
        ("tenant", "campaign"),
        "The largest |z| of an arm: how far its draws are from the logged probabilities.",
    ),
    Described(
        "optimizer_propensity_audit_z_alarm",
        "gauge",
        ("tenant", "campaign"),
        "What that z stays below with near certainty if the log is right.",
    ),
    Described(
        "optimizer_propensity_audit_weight",
        "gauge",
        ("tenant", "campaign"),
        "Mean of 1/(propensity x candidates) of the drawn arms; near 1 if the log is right.",
    ),
    Described(
        "optimizer_propensity_audit_decisions", "gauge", ("tenant", "campaign"), "Random draws in the audit's window."
    ),
    Described(
        "optimizer_propensity_audit_differing",
        "gauge",
        ("tenant", "campaign"),
        "Of these, draws whose logged propensity is not the one recomputed from the log.",
    ),
    Described("optimizer_budget_amount", "gauge", ("tenant", "campaign"), "What the campaign may spend."),
    Described(
        "optimizer_budget_used", "gauge", ("tenant", "campaign"), "What its touches have cost, or may cost, of that."
    ),
    Described("optimizer_leases_held", "gauge", ("tenant",), "Campaigns whose work this process does."),
    Described("optimizer_leases_free", "gauge", ("tenant",), "Campaigns whose work nobody does."),
)

NAMES: Final = (*_COUNTED, *STANDING)
"""Everything that `/metrics` shows, no more and no less."""

_BY_NAME: Final = {each.name: each for each in NAMES}


def _counter(name: str) -> Counter:
    said = _BY_NAME[name]
    return Counter(name, said.meaning, said.labels, registry=REGISTRY)


def _histogram(name: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
    said = _BY_NAME[name]
    return Histogram(name, said.meaning, said.labels, registry=REGISTRY, buckets=buckets)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


DECISIONS: Final = _counter("optimizer_decisions_total")
ARMS_REMOVED: Final = _counter("optimizer_arms_removed_total")
DECIDE_SECONDS: Final = _histogram("optimizer_decide_seconds")
HTTP_SECONDS: Final = _histogram("optimizer_http_request_seconds")
HTTP_REFUSED: Final = _counter("optimizer_http_refused_total")
COMMIT_SECONDS: Final = _histogram("optimizer_commit_seconds")
COMMIT_CHANGES: Final = _histogram("optimizer_commit_changes", _CHANGES)
EVENTS: Final = _counter("optimizer_events_total")
TRANSITIONS: Final = _counter("optimizer_touch_transitions_total")
ATTEMPTS: Final = _counter("optimizer_touch_attempts_total")
HELD_BACK: Final = _counter("optimizer_touches_held_back_total")
CLOSINGS: Final = _counter("optimizer_closings_total")
LEARNED: Final = _counter("optimizer_learned_total")
PUBLISHED: Final = _counter("optimizer_snapshots_published_total")
JOB_FAILURES: Final = _counter("optimizer_job_failures_total")

_BUILD: Final = Gauge(
    "optimizer_build_info",
    _BY_NAME["optimizer_build_info"].meaning,
    _BY_NAME["optimizer_build_info"].labels,
    registry=REGISTRY,
)
_BUILD.labels(_version("campaign-optimizer"), platform.python_version(), _version("vowpalwabbit")).set(1)


def count(counter: Counter, each: Iterable[tuple[str, ...]]) -> None:
    """Move a counter once for each of these values of its labels; what is alike is counted first and added at once."""
    add(counter, Tally(each))


def add(counter: Counter, numbers: Mapping[tuple[str, ...], int]) -> None:
    """Move a counter on by so many, by the values of its labels."""
    for labels, n in numbers.items():
        _labelled(counter, labels).inc(n)


def observe(histogram: Histogram, labels: tuple[str, ...], value: float) -> None:
    """Note one value; on the path of every request, where finding the labels would take the most of it."""
    _labelled(histogram, labels).observe(value)


@lru_cache(maxsize=4096)
def _labelled(metric: Metric, labels: tuple[str, ...]) -> Metric:
    return metric.labels(*labels)


def family(name: str, values: Mapping[tuple[str, ...], float]) -> GaugeMetricFamily:
    """A gauge of `STANDING` with its values, by the values of its labels."""
    said = _BY_NAME[name]
    made = GaugeMetricFamily(name, said.meaning, labels=said.labels)
    for labels, value in values.items():
        made.add_metric(labels, value)
    return made
