"""Metrics as they are scraped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from streamgate.telemetry.exposition import CachedExposition
from streamgate.telemetry.rate_limit import Rarely


class Counting(Collector):
    """A registry that knows how often it was read."""

    def __init__(self) -> None:
        self.times = 0

    def collect(self) -> Iterator[Metric]:
        self.times += 1
        yield Metric("x", "x", "gauge")


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("application/openmetrics-text", "application/openmetrics-text"),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;q=0.5",
            "application/openmetrics-text",
        ),
        ("application/openmetrics-text; version=0.0.1", "text/plain"),
        ("application/openmetrics-text; version=x", "text/plain"),
        ("text/plain;version=1.0.0;escaping=nonsense", "text/plain"),
    ],
)
def test_the_format_is_one_that_is_asked_for(accept: str, media: str) -> None:
    """Whatever the header says, it is answered."""
    _, content_type = CachedExposition(Counting(), clock=lambda: 0.0).newest(accept)
    assert content_type.startswith(media)


def test_it_is_made_once_a_second_whatever_is_asked() -> None:
    """Sixty scrapes a second cost as much as one, and varying the header changes nothing."""
    now = 0.0
    registry = Counting()
    exposition = CachedExposition(registry, clock=lambda: now)
    for step in range(120):
        now = step / 60
        exposition.newest(f"text/plain;version=1.0.{step}")
        exposition.newest(f"application/openmetrics-text;version=1.0.0;escaping=x{step}")
    assert registry.times == 4


def test_what_is_said_often_is_said_rarely() -> None:
    """Of each kind so many a period; the rest is counted and told with the next."""
    now = 0.0
    rarely = Rarely(2, 10.0, clock=lambda: now)
    assert [rarely.admit("a") for _ in range(5)] == [0, 0, None, None, None]
    assert rarely.admit("b") == 0
    now = 10.0
    assert rarely.admit("a") == 3
    assert rarely.admit("a") == 0
