"""What is scraped: names, labels and formats, and that nothing in it can grow without bound."""

from __future__ import annotations

import itertools
import subprocess
from enum import StrEnum

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as parse_text

from streamgate.config.section import Name
from streamgate.delivery.durable import faults as store_faults
from streamgate.sources.webrtc.peer import PeerEnd
from streamgate.telemetry.drift import UNSCORABLE
from streamgate.telemetry.exposition import exemplar_of
from streamgate.telemetry.metrics import LATENCY_BUCKETS_S, Metrics
from streamgate.values.reasons import FaultReason, OutboxFault, Rejection
from tests.servers.prometheus import promtool

MOST_SERIES = 450
"""Of a camera with one sink. A fleet of a thousand cameras is then no burden to Prometheus."""


def _metrics() -> Metrics:
    metrics = Metrics("door")
    metrics.expect_sink("http")
    metrics.show_config("c" * 64, {"min_quality": 30.0, "release_quality": None}, 1.7e9)
    return metrics


def _values(kind: type[StrEnum]) -> set[str]:
    return {member.value for member in kind}


def test_every_series_names_the_camera() -> None:
    """Those of the process and of Python as well, so that no query needs a join."""
    samples = [s for family in _metrics().exposition.collect() for s in family.samples]
    assert samples
    assert {sample.labels["camera"] for sample in samples} == {"door"}


def test_times_of_creation_are_left_out() -> None:
    """They would be a series more for each counter, and are no news beside the start time."""
    names = {s.name for family in _metrics().exposition.collect() for s in family.samples}
    assert not [name for name in names if name.endswith("_created")]
    assert "process_start_time_seconds" in names


def test_a_camera_has_few_series() -> None:
    """Every known label is there from the start, and still they are few."""
    samples = [s for family in _metrics().exposition.collect() for s in family.samples]
    assert 250 < len(samples) < MOST_SERIES


def test_promtool_finds_nothing_to_say() -> None:
    """Names, units and suffixes are as Prometheus' conventions want them."""
    found = subprocess.run(
        [promtool(), "check", "metrics"],
        input=generate_latest(_metrics().exposition),
        capture_output=True,
        check=False,
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")


def test_known_labels_are_those_that_the_program_raises() -> None:
    """What counts lies above the reasons; what is counted must not be missing among them."""
    assert {end.value for end in PeerEnd if end.is_fault} <= set(FaultReason)
    assert {reason for reason, _text in store_faults._REASONS.values()} <= set(OutboxFault)
    assert set(Rejection) >= UNSCORABLE


@pytest.mark.parametrize("name", ["faces_rejected", "deliveries", "outbox_dropped"])
def test_what_has_not_happened_yet_is_zero(name: str) -> None:
    """A series that begins with its first event has no rate until its second."""
    text = generate_latest(_metrics().exposition).decode()
    family = next(f for f in parse_text(text) if f.name == f"streamgate_{name}")
    assert family.samples
    assert {sample.value for sample in family.samples} == {0.0}


def test_latency_buckets_span_a_millisecond_to_ten_seconds() -> None:
    """Each is at most 2.5 times the one before, so that a quantile is off by no more."""
    assert (LATENCY_BUCKETS_S[0], LATENCY_BUCKETS_S[-1]) == (0.001, 10.0)
    steps = [b / a for a, b in itertools.pairwise(LATENCY_BUCKETS_S)]
    assert max(steps) <= 2.5


def test_openmetrics_carries_the_track_of_a_measurement() -> None:
    """A slow face can be found in the log; the text format has no place for it."""
    metrics = _metrics()
    metrics.capture_to_score.observe(0.3, exemplar_of("door", "b00t", 17))
    text = generate_openmetrics(metrics.exposition).decode()  # type: ignore[no-untyped-call] # of the library
    parsed = text_string_to_metric_families(text)  # type: ignore[no-untyped-call] # of the library
    families = {family.name: family for family in parsed}
    buckets = families["streamgate_capture_to_score_seconds"].samples
    exemplars = [sample.exemplar for sample in buckets if sample.exemplar]
    assert [exemplar.labels for exemplar in exemplars] == [{"track": "door-b00t-17"}]
    assert b"door-b00t-17" not in generate_latest(metrics.exposition)


def test_an_exemplar_is_never_too_long() -> None:
    """OpenMetrics allows 128 characters; the longest name of a camera fits, more is left out."""
    longest = "c" * 63
    assert Name.__metadata__[0].metadata[0].pattern.endswith("{0,62}$")  # type: ignore[attr-defined] # an annotation
    assert exemplar_of(longest, "f" * 12, 10**9) is not None
    assert exemplar_of("c" * 128, "f", 1) is None


def test_thresholds_follow_the_configuration() -> None:
    """One that is no longer set is no longer there, rather than where it was."""
    metrics = _metrics()
    metrics.show_config("d" * 64, {"min_quality": 20.0, "release_quality": 80.0}, 1.8e9)
    metrics.show_config("e" * 64, {"min_quality": 25.0, "release_quality": None}, 1.9e9)
    families = {family.name: family for family in metrics.exposition.collect()}
    shown = families["streamgate_quality_threshold"].samples
    assert {s.labels["setting"]: s.value for s in shown} == {"min_quality": 25.0}
    hashes = [s.labels["sha256"] for s in families["streamgate_config"].samples]
    assert hashes == ["e" * 64]
