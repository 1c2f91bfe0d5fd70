"""The dashboards that are checked in: made from the code, whole, and asking for what there is."""

from __future__ import annotations

import itertools
import re

import pytest

from streamgate.telemetry.metrics import Metrics
from tests import needs
from tests.dashboards.grafana import DASHBOARDS, dashboard, panels, queries, variables
from tools.monitoring.__main__ import files
from tools.monitoring.reference import metrics_table

_NAME = re.compile(r"\b(?:streamgate|process|python)_[a-z0-9_]+")
_GRID_WIDTH = 24
_PARTS_OF_A_HISTOGRAM = ("_bucket", "_sum", "_count")


def known_names() -> set[str]:
    """Every series that a camera shows."""
    samples = {s.name for family in Metrics().exposition.collect() for s in family.samples}
    histograms = {f.name for f in Metrics().families if f.kind == "histogram"}
    parts = {name + part for name in histograms for part in _PARTS_OF_A_HISTOGRAM}
    return samples | parts | {family.name for family in Metrics().families} - histograms


@pytest.mark.parametrize("path", sorted(files(), key=str), ids=str)
def test_what_is_checked_in_is_what_the_code_makes(path: object) -> None:
    """`python -m tools.monitoring` would change nothing."""
    assert (needs.ROOT / str(path)).read_text(encoding="utf-8") == files()[path]  # type: ignore[index] # a path


@pytest.mark.parametrize("name", DASHBOARDS)
def test_queries_ask_for_metrics_that_exist(name: str) -> None:
    """A renamed metric cannot leave a panel empty."""
    asked = {found for query in queries(name) for found in _NAME.findall(query.expr)}
    assert asked - known_names() == set()


def test_every_metric_can_be_seen_somewhere() -> None:
    """What is measured and never shown helps nobody; these few are for other eyes."""
    asked = {
        found
        for name in DASHBOARDS
        for query in queries(name)
        for found in _NAME.findall(query.expr)
    }
    rules = (needs.ROOT / "dashboards" / "streamgate.rules.yml").read_text(encoding="utf-8")
    asked |= set(_NAME.findall(rules))
    shown = {re.sub(r"_(bucket|sum|count)$", "", found) for found in asked} | asked
    unseen = {family.name for family in Metrics().families} - shown
    assert unseen == {
        # Raw scores compare runs of one network; they mean nothing to who watches a fleet.
        "streamgate_face_raw_score",
        # The age of frames says it better.
        "streamgate_last_frame_timestamp_seconds",
        # Told by the state of the source, by faults and by frames that were dropped.
        "streamgate_webrtc_state",
        "streamgate_webrtc_jitter_seconds",
        "streamgate_webrtc_decode_errors_total",
        "streamgate_whip_requests_total",
    }


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_say_what_they_show_and_in_which_unit(name: str) -> None:
    """Each has a title, a description and, where it shows numbers, a unit."""
    for panel in panels(name):
        assert panel["title"], panel
        assert panel["description"], panel["title"]
        assert panel["targets"], panel["title"]
        if panel["type"] in {"timeseries", "stat"}:
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_lie_side_by_side(name: str) -> None:
    """None covers another or leaves the grid, and no two share an id."""
    everything = dashboard(name)["panels"]
    places = [panel["gridPos"] for panel in everything]
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert all(place["x"] + place["w"] <= _GRID_WIDTH for place in places)
    for one, other in itertools.combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, (one, other)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_what_one_looks_for_rarely_is_folded_up(name: str) -> None:
    """The first look is a screen or two; the rest lies in rows by topic, numbered all the same."""
    everything = dashboard(name)["panels"]
    assert max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in everything) <= 40
    folded = {row["title"]: row for row in everything if row.get("collapsed")}
    assert folded
    assert all(row["panels"] for row in folded.values())
    for title, variable in (("WebRTC: $webrtc", "webrtc"), ("Zone: $zone", "zone")):
        if name == "streamgate-camera":
            assert folded[title]["repeat"] == variable
            assert variables(name)[variable]["hide"] == 2
    ids = [panel["id"] for panel in panels(name)]
    assert len(set(ids)) == len(ids)


def test_no_panel_shows_a_limit_on_the_axis_of_what_it_limits() -> None:
    """Beside ten thousand, the ten that wait are a flat line."""
    for panel in panels("streamgate-camera"):
        expressions = [target["expr"] for target in panel["targets"]]
        for expression in expressions:
            if "outbox_limit_shots" in expression:
                assert panel["fieldConfig"]["defaults"]["unit"] == "percentunit"
                assert "/" in expression


def test_limits_are_thresholds() -> None:
    """The newest value of a limit is drawn as one; none is a series beside what it limits."""
    limits = ("streamgate_quality_threshold", "process_max_fds")
    for panel in panels("streamgate-camera"):
        made = {one["options"]["configRefId"] for one in panel.get("transformations", [])
                if one["id"] == "configFromData"}  # fmt: skip
        asked = {t["refId"] for t in panel["targets"] if any(one in t["expr"] for one in limits)}
        assert asked == made, panel["title"]
        if made:
            style = panel["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]
            assert style == {"mode": "dashed"}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_query_is_filtered_by_the_variables(name: str) -> None:
    """A choice of job and camera holds for each panel; alerts and `up` know the job alone."""
    chosen = [one for one, made in variables(name).items() if made.get("hide", 0) == 0]
    assert chosen == ["datasource", "job", "camera"]
    for query in queries(name):
        assert 'job=~"$job"' in query.expr, query
        if "ALERTS" not in query.expr and "up{" not in query.expr:
            assert 'camera=~"$camera"' in query.expr, query


def test_the_dashboards_lead_to_each_other() -> None:
    """By the list of dashboards, and from a camera's line to its own view."""
    for name in DASHBOARDS:
        (link,) = dashboard(name)["links"]
        assert (link["type"], link["tags"]) == ("dashboards", dashboard(name)["tags"])
    (table,) = [panel for panel in panels("streamgate-fleet") if panel["type"] == "table"][1:]
    links = [
        prop["value"][0]["url"]
        for override in table["fieldConfig"]["overrides"]
        for prop in override["properties"]
        if prop["id"] == "links"
    ]
    assert links
    assert links[0].startswith(f"/d/{dashboard('streamgate-camera')['uid']}?")
    assert "${__data.fields.camera}" in links[0]


def test_the_table_of_metrics_names_each_once() -> None:
    """With its kind and meaning."""
    rows = metrics_table().splitlines()[2:]
    names = [row.split("`")[1] for row in rows]
    assert names == [family.name for family in Metrics().families]
    assert len(set(names)) == len(names)
    assert all(family.text.endswith(".") for family in Metrics().families)
