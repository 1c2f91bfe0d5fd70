"""Prometheus and Alertmanager of Debian watch a daemon on a live stream while faults are made.

One run of all faults serves every test here; it takes four minutes on two idle cores.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from streamgate.telemetry.metrics import Metrics
from tests.dashboards.grafana import DASHBOARDS, Query, queries, variables
from tests.dashboards.scenario import FAULTS, STANDING, Fault, Scene, play
from tests.servers.prometheus import promtool
from tests.telemetry.test_metrics import MOST_SERIES
from tools.monitoring.rules import alerts, records

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(3600)]

ALL_FAULTS = {name for fault in FAULTS for name in fault.alerts}
NOT_MADE = {
    # They need a device that fails and a disk that is full; promtool's cases alone try them.
    "StreamgateAnalysisFailing",
    "StreamgateOutboxUnwritable",
    # The camera of the scene scores by itself.
    "StreamgateScorerServiceLost",
    # The camera of the scene needs no lease; promtool's cases try it.
    "StreamgateLeaseNotHeld",
    # How many faces are too many depends on the machine.
    "StreamgateScorerSaturated",
}
# This camera has neither zones nor a source by WebRTC nor a scorer service.
QUERIES = [
    query
    for name in DASHBOARDS
    for query in queries(name)
    if not any(name in query.expr for name in ("webrtc", "streamgate_zone", "remote_scorer_up"))
]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with play(tmp_path_factory.mktemp("fleet")) as scene:
        yield scene


def test_nothing_fires_while_nothing_is_wrong(scene: Scene) -> None:
    """After three days, which are short here, of a camera at its work."""
    assert scene.quiet <= STANDING


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_told_and_its_end_as_well(scene: Scene, fault: Fault) -> None:
    """Each of its alerts fires, reaches the receiver, and clears once the fault is mended."""
    assert fault.name not in scene.troubles, scene.troubles[fault.name]


def test_every_alert_is_tried_or_said_not_to_be() -> None:
    """An alert without a fault of its own would be a promise that nobody has kept."""
    assert {alert.name for alert in alerts()} == ALL_FAULTS | STANDING | NOT_MADE


def test_alerts_are_told_in_whole_sentences(scene: Scene) -> None:
    """Every template was filled: the camera is named, and no value is missing."""
    assert scene.told
    for name, alert in scene.told.items():
        assert alert["labels"]["camera"] == "door", name
        for text in alert["annotations"].values():
            assert "<no value>" not in text, (name, text)
            assert "error expanding" not in text, (name, text)
            assert "{{" not in text, (name, text)
            assert "  " not in text, (name, text)


def test_every_rule_can_be_evaluated(scene: Scene) -> None:
    """None has met an error, such as two series where one was expected."""
    assert scene.prometheus.unhealthy_rules() == []


@pytest.mark.parametrize("name", [record.name for record in records()])
def test_recorded_series_exist(scene: Scene, name: str) -> None:
    """Each recording rule has made its series for this camera."""
    found = scene.prometheus.query(f"max_over_time({name}[1h])")
    assert {series["metric"]["camera"] for series in found} == {"door"}


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.place)
def test_every_query_of_the_dashboards_gives_a_series(scene: Scene, query: Query) -> None:
    """As Grafana would ask it, over the time of the faults."""
    window = f"{6 * scene.pace}s"
    expr = query.filled(job="streamgate", camera="door", __rate_interval=window)
    found = scene.prometheus.query_range(expr, last_s=3600, step_s=5)
    assert found, expr
    assert any(value != "NaN" for series in found for _at, value in series["values"]), expr


@pytest.mark.parametrize("name", DASHBOARDS)
def test_variables_find_the_job_and_the_camera(scene: Scene, name: str) -> None:
    """What Grafana offers for a choice."""
    for variable, wanted in (("job", "streamgate"), ("camera", "door")):
        query = variables(name)[variable]["query"].replace("$job", "streamgate")
        selector, label = query.removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
        assert scene.prometheus.label_values(label, selector) == [wanted]


def test_prometheus_keeps_the_track_of_slow_faces(scene: Scene) -> None:
    """It asks for OpenMetrics, and an exemplar names camera, boot and track."""
    found = scene.prometheus.exemplars("streamgate_capture_to_score_seconds_bucket")
    tracks = {e["labels"]["track"] for series in found for e in series["exemplars"]}
    assert tracks
    assert all(track.startswith("door-") for track in tracks)


def test_promtool_finds_nothing_to_say_of_a_running_daemon(scene: Scene) -> None:
    """With every label that the faults have brought, and still few series."""
    text = scene.daemon.metrics()
    found = subprocess.run(
        [promtool(), "check", "metrics"],
        input=text, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    assert len([line for line in text.splitlines() if not line.startswith("#")]) < MOST_SERIES


def test_every_metric_reaches_prometheus(scene: Scene) -> None:
    """Nothing is lost between the registry and what is stored; the camera is on all of it."""
    stored = set(scene.prometheus.label_values("__name__", '{camera="door"}'))
    for family in Metrics().families:
        name = f"{family.name}_bucket" if family.kind == "histogram" else family.name
        if all(family.labels.values()) or "sink" in family.labels:
            assert name in stored
