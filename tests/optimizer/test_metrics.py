from __future__ import annotations

import re

import pytest

from optimizer import metrics


def test_names_follow_prometheus_rules_and_are_ours() -> None:
    for each in metrics.NAMES:
        assert re.fullmatch(r"optimizer_[a-z_]+", each.name)
        assert each.name.endswith("_total") == (each.kind == "counter")
        assert each.meaning.endswith(".")
        assert len(each.labels) == len(set(each.labels))


def test_what_is_alike_is_added_at_once() -> None:
    before = metrics.REGISTRY.get_sample_value("optimizer_events_total", {"tenant": "t", "status": "late"}) or 0
    metrics.count(metrics.EVENTS, [("t", "late"), ("t", "parked"), ("t", "late")])
    after = metrics.REGISTRY.get_sample_value("optimizer_events_total", {"tenant": "t", "status": "late"})
    assert after == before + 2


def test_a_gauge_of_another_name_is_refused() -> None:
    with pytest.raises(KeyError):
        metrics.family("optimizer_other", {})


def test_http_latencies_are_told_apart_from_a_millisecond_to_ten_seconds() -> None:
    metrics.HTTP_SECONDS.labels("GET", "/test", "2xx").observe(0.0015)

    def up_to(limit: str) -> float | None:
        labels = {"method": "GET", "route": "/test", "status": "2xx", "le": limit}
        return metrics.REGISTRY.get_sample_value("optimizer_http_request_seconds_bucket", labels)

    assert [up_to(limit) for limit in ("0.001", "0.002", "10.0", "+Inf")] == [0, 1, 1, 1]
