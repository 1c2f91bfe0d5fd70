"""The dashboard of all cameras: which of them need attention."""

from __future__ import annotations

from grafana_foundation_sdk.builders import common, dashboard, stat, table
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

from tools.monitoring.panels import (
    CAMERA_UID,
    FLEET_UID,
    GREEN,
    ORANGE,
    RED,
    SOURCE,
    Drawn,
    Line,
    Restarts,
    folded,
    lines,
    number,
    query,
    start,
    states,
    steps,
    variable,
)
from tools.monitoring.promql import Queries

__all__ = ["fleet_dashboard"]

_SELECTOR = 'job=~"$job", camera=~"$camera"'
_UP = 'up{job=~"$job"}'
_WORST = 10
_TO_CAMERA = (
    f"/d/{CAMERA_UID}?var-datasource=${{datasource}}&var-job=${{__data.fields.job}}"
    "&var-camera=${__data.fields.camera}&${__url_time_range}"
)


def fleet_dashboard() -> dashboard.Dashboard:
    """Return the fleet's dashboard."""
    q = Queries(_SELECTOR, "$__rate_interval")
    made = start(
        "Streamgate: fleet",
        FLEET_UID,
        "Which cameras are down, late, frozen, see no faces, or fail to deliver.",
    )
    made.with_variable(
        variable("job", "Job", "label_values(streamgate_build_info, job)", multi=True)
    )
    made.with_variable(
        variable(
            "camera", "Camera", 'label_values(streamgate_build_info{job=~"$job"}, camera)',
            multi=True,
        )
    )  # fmt: skip
    for mark in Restarts(_SELECTOR).annotations():
        made.annotation(mark)
    made.with_row(dashboard.Row("Now"))
    for panel in _counts(q):
        made.with_panel(panel.span(4))
    made.with_panel(_alerts())
    made.with_panel(_cameras(q))
    made.with_row(folded("Over time", [_faults(q), *_graphs(q)]))
    return made


def _counts(q: Queries) -> list[stat.Panel]:
    hour_s = 3600
    bad = [(None, GREEN), (1, RED)]
    uneasy = [(None, GREEN), (1, ORANGE)]
    down = f"{_UP} == 0 or on (job, instance) {q.metric('streamgate_source_up')} == 0"
    late = f"{q.frames_age()} > 1 or {q.score_age()} > 2.5"
    blind = (
        f"(time() - {q.metric('streamgate_last_face_timestamp_seconds')}) > {hour_s}"
        f" and on (job, instance, camera) {q.metric('streamgate_source_up')} == 1"
    )
    backing_up = (
        f"{q.waiting()} > 10 or on (job, instance, camera) "
        f"min by (job, instance, camera) ({q.metric('streamgate_sink_up')}) == 0"
    )
    return [
        number(
            "Cameras", "Processes that Prometheus scrapes.", f"count({_UP})", "none",
            [(None, "blue")],
        ),
        number("Down", "The process is down, or no frames arrive.", _count(down), "none", bad),
        number(
            "Frozen", "All frames that arrive show the same picture.",
            _count(f"{q.metric('streamgate_source_frozen')} == 1"), "none", bad,
        ),
        number(
            "Late", "More than 5 of 100 frames are analysed after 1 s, or faces scored after "
            "2.5 s.",
            _count(late), "none", uneasy,
        ),
        number("No faces", "Frames, but no face for an hour.", _count(blind), "none", uneasy),
        number(
            "Not delivering", "More than 10 best shots wait, or deliveries to a sink fail.",
            _count(backing_up), "none", uneasy,
        ),
    ]  # fmt: skip


def _count(query: str) -> str:
    return f"count({query}) or vector(0)"


def _alerts() -> table.Panel:
    expr = 'ALERTS{alertname=~"Streamgate.*", job=~"$job", alertstate="firing"}'
    hidden = {"Time": True, "Value": True, "__name__": True, "alertstate": True}
    order = {
        "severity": 0,
        "alertname": 1,
        "camera": 2,
        "sink": 3,
        "reason": 4,
        "instance": 5,
        "job": 6,
    }
    return (
        table.Panel()
        .title("Firing alerts")
        .description("From the rules in streamgate.rules.yml. Empty is good.")
        .datasource(SOURCE)
        .no_value("None")
        .with_target(query(Line(expr, ""), instant=True))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize", options={"excludeByName": hidden, "indexByName": order}
            )
        )
        .span(24)
        .height(6)
    )


def _cameras(q: Queries) -> table.Panel:
    """One row for each camera; the columns are queries joined by instance."""
    columns: list[tuple[str, str, str, list[tuple[float | None, str]] | None]] = [
        ("Up", q.metric("streamgate_source_up"), "bool_on_off", [(None, RED), (1, GREEN)]),
        ("Frames/s", q.rate("streamgate_frames_received_total"), "suffix: /s", None),
        ("Frame age p95", q.frames_age(), "s", [(None, GREEN), (0.5, ORANGE), (1, RED)]),
        ("Capture to score p95", q.score_age(), "s", [(None, GREEN), (1, ORANGE), (2.5, RED)]),
        (
            "Last face", f"time() - ({q.metric('streamgate_last_face_timestamp_seconds')} > 0)",
            "s", None,
        ),
        ("Faces/min", f"60 * {q.rate('streamgate_faces_detected_total')}", "none", None),
        ("Best shots/min", f"60 * {q.rate('streamgate_shots_released_total')}", "none", None),
        ("Median quality", q.quantile(0.5, "streamgate_face_quality"), "none", None),
        (
            "Decline", q.metric("streamgate_quality_decline_ratio"), "percentunit",
            [(None, GREEN), (0.3, ORANGE)],
        ),
        ("Waiting", q.waiting(), "none", [(None, GREEN), (10, ORANGE)]),
        ("Scorer busy", q.utilisation(), "percentunit", [(None, GREEN), (0.9, ORANGE)]),
    ]  # fmt: skip
    panel = (
        table.Panel()
        .title("Cameras")
        .description("Click a name to open the dashboard of that camera.")
        .datasource(SOURCE)
        .span(24)
        .height(12)
        .with_transformation(
            models.DataTransformerConfig(
                id_val="joinByField", options={"byField": "instance", "mode": "outer"}
            )
        )
    )
    hidden, names = {}, {}
    for number_, ((title, expr, unit, colours), ref) in enumerate(
        zip(columns, "ABCDEFGHIJK", strict=True), 1
    ):
        labelled = f"max by (job, instance, camera) ({expr})"
        panel.with_target(query(Line(labelled, title), ref=ref, instant=True))
        names[f"Value #{ref}"] = title
        hidden[f"Time {number_}"] = True
        if number_ > 1:
            hidden[f"job {number_}"] = hidden[f"camera {number_}"] = True
        panel.override_by_name(title, _column(unit, colours))
    names |= {"camera 1": "camera", "job 1": "job"}
    panel.with_transformation(
        models.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": hidden, "renameByName": names,
                "indexByName": {"camera 1": 0, "job 1": 1, "instance": 2},
            },
        )
    )  # fmt: skip
    link = {"title": "Open the dashboard of this camera", "url": _TO_CAMERA}
    panel.override_by_name("camera", [models.DynamicConfigValue(id_val="links", value=[link])])
    return panel.sort_by([common.TableSortByFieldState().display_name("camera")])


def _column(
    unit: str, colours: list[tuple[float | None, str]] | None
) -> list[models.DynamicConfigValue]:
    properties = [
        models.DynamicConfigValue(id_val="unit", value=unit),
        models.DynamicConfigValue(
            id_val="decimals", value=2 if unit in {"s", "percentunit"} else 1
        ),
    ]
    if colours is not None:
        properties += [
            models.DynamicConfigValue(id_val="thresholds", value=steps(colours).build()),
            models.DynamicConfigValue(
                id_val="custom.cellOptions",
                value={
                    "type": common_models.TableCellDisplayMode.COLOR_BACKGROUND.value,
                    "mode": "basic",
                },
            ),
        ]
    return properties


def _faults(q: Queries) -> Drawn:
    return states(
        "Down, frozen, failing sinks",
        "Red while a camera sends nothing, sends the same picture again and again, or deliveries "
        "to a sink fail.",
        Line(f"1 - {q.metric('streamgate_source_up')}", "{{camera}} down"),
        Line(q.metric("streamgate_source_frozen"), "{{camera}} frozen"),
        Line(f"1 - {q.metric('streamgate_sink_up')}", "{{camera}} {{sink}}"),
    )


def _graphs(q: Queries) -> list[Drawn]:
    def worst(expr: str) -> str:
        return f"topk({_WORST}, {expr})"

    return [
        lines(
            f"Frame age, the {_WORST} highest",
            "Age of frames when detection starts; 95 of 100 are younger.",
            "s", Line(worst(q.frames_age()), "{{camera}}"), colours=[(None, GREEN), (1, RED)],
        ),
        lines(
            f"Capture to acknowledgement, the {_WORST} slowest",
            "From the capture of a best shot to its acknowledgement, including the wait for a "
            "better face; 95 of 100 are faster.", "s",
            Line(
                worst(q.quantile(0.95, "streamgate_capture_to_ack_seconds", by=("sink",))),
                "{{camera}} {{sink}}",
            ),
        ),
        lines(
            "Frames received", "Frames per second.", "suffix: frames/s",
            Line(q.rate("streamgate_frames_received_total"), "{{camera}}"),
        ),
        lines(
            "Best shots released", "Best shots per minute.", "suffix: /min",
            Line(f"60 * {q.rate('streamgate_shots_released_total')}", "{{camera}}"),
        ),
        lines(
            "Best shots that wait", "Per sink.", "none",
            Line(worst(q.metric("streamgate_outbox_shots")), "{{camera}} {{sink}}"),
        ),
        lines(
            f"Scorer, the {_WORST} busiest", "Share of the time during which the scorer has work.",
            "percentunit", Line(worst(q.utilisation()), "{{camera}}"), most=1,
            colours=[(None, GREEN), (0.9, RED)],
        ),
        lines(
            f"Decline of quality, the {_WORST} worst",
            "How far recent tracks fall below the calibration's reference.", "percentunit",
            Line(worst(q.metric("streamgate_quality_decline_ratio") + " >= 0"), "{{camera}}"),
            most=1, colours=[(None, GREEN), (0.3, RED)],
        ),
        lines(
            f"Reconnects, the {_WORST} most frequent", "Times that the source was opened within "
            "ten minutes.", "none",
            Line(worst(q.increase("streamgate_source_connects_total", "10m")), "{{camera}}"),
        ),
    ]  # fmt: skip
