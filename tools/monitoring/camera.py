"""The dashboard of one camera: what happens to time, faces and best shots."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard, heatmap, stat, table
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from tools.monitoring.panels import (
    CAMERA_UID,
    GREEN,
    ORANGE,
    RED,
    SOURCE,
    Drawn,
    Line,
    Restarts,
    folded,
    hidden_variable,
    lines,
    number,
    query,
    start,
    states,
    variable,
)
from tools.monitoring.promql import Queries

__all__ = ["camera_dashboard"]

_SELECTOR = 'job=~"$job", camera=~"$camera"'
_WEBRTC = f'streamgate_camera_info{{{_SELECTOR}, source=~"whip|whep"}}'
_SHARES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))


def camera_dashboard() -> dashboard.Dashboard:
    """Return a camera's dashboard."""
    q = Queries(_SELECTOR, "$__rate_interval")
    made = start(
        "Streamgate: camera", CAMERA_UID, "One camera, from its stream to the acknowledgement."
    )
    made.with_variable(
        variable("job", "Job", "label_values(streamgate_build_info, job)", multi=False)
    )
    made.with_variable(
        variable(
            "camera", "Camera", 'label_values(streamgate_build_info{job=~"$job"}, camera)',
            multi=False,
        )
    )  # fmt: skip
    # Rows for what this camera has: a source by WebRTC, zones.
    made.with_variable(hidden_variable("webrtc", f"label_values({_WEBRTC}, source)"))
    made.with_variable(
        hidden_variable("zone", f"label_values(streamgate_zone_faces_total{{{_SELECTOR}}}, zone)")
    )
    for mark in Restarts(_SELECTOR).annotations():
        made.annotation(mark)
    made.with_row(dashboard.Row("Now"))
    for shown in _numbers(q):
        made.with_panel(shown.span(3))
    made.with_row(dashboard.Row("Source"))
    for panel in _source(q):
        made.with_panel(panel)
    for title, panels in (
        ("Stages", _stages(q)),
        ("Faces", _faces(q)),
        ("Quality", _quality(q)),
        ("Gate", _gate(q)),
        ("Delivery", _delivery(q)),
        ("Two streams", _two_streams(q)),
        ("Scorer services and lease", _shared(q)),
        ("Process", _process(q)),
    ):
        made.with_row(folded(title, panels))
    made.with_row(folded("Zone: $zone", _zone(q), for_each="zone"))
    made.with_row(folded("WebRTC: $webrtc", _webrtc(q), for_each="webrtc"))
    return made


def _quantiles(q: Queries, name: str, *, by: str | None = None) -> list[Line]:
    label = f"{{{{{by}}}}} " if by else ""
    labels = (by,) if by else ()
    return [Line(q.quantile(share, name, by=labels), label + text) for share, text in _SHARES]


def _numbers(q: Queries) -> list[stat.Panel]:
    seen = q.increase("streamgate_faces_detected_total", "1h")
    released = q.increase("streamgate_shots_released_total", "1h")
    up_s = f"time() - {q.metric('process_start_time_seconds')}"
    return [
        number(
            "Pictures", "1 while frames arrive.", q.metric("streamgate_source_up"), "bool_on_off",
            [(None, RED), (1, GREEN)],
        ),
        number(
            "Frame age", "At detection; 95 of 100 frames are younger.", q.frames_age(), "s",
            [(None, GREEN), (0.5, ORANGE), (1, RED)],
        ),
        number(
            "Last face", "Time since a face was last seen.",
            f"time() - ({q.metric('streamgate_last_face_timestamp_seconds')} > 0)", "s",
            [(None, "blue")],
        ),
        number(
            "Share of faces forwarded", "Best shots per detected face in the last hour.",
            f"{released} / {seen}", "percentunit", [(None, "blue")],
        ),
        number(
            "Quality decline", "How far recent tracks fall below the calibration's reference.",
            q.metric("streamgate_quality_decline_ratio"), "percentunit",
            [(None, GREEN), (0.3, ORANGE)],
        ),
        number(
            "Best shots waiting", "Best shots that wait for a sink.", q.waiting(), "none",
            [(None, GREEN), (10, ORANGE)],
        ),
        number(
            "Scorer busy", "Share of the time during which the scorer has work.", q.utilisation(),
            "percentunit",
            [(None, GREEN), (0.9, ORANGE)],
        ),
        number("Up for", "Time since the process started.", up_s, "s", [(None, "blue")]),
    ]  # fmt: skip


def _source(q: Queries) -> list[Drawn]:
    dropped = q.rate("streamgate_frames_dropped_total", by=("reason",))
    faults = q.increase("streamgate_source_faults_total", "10m", by=("reason",))
    connects = q.increase("streamgate_source_connects_total", "10m")
    return [
        states(
            "Pictures",
            "Red while the camera sends nothing, or the same picture again and again, or while its "
            "timestamps cannot be trusted.",
            Line(f"1 - {q.metric('streamgate_source_up')}", "down"),
            Line(q.metric("streamgate_source_frozen"), "frozen"),
            Line(f"1 - {q.metric('streamgate_clock_trusted')}", "clock not trusted"),
            span=12,
        ),
        lines(
            "Reconnects", "Times that the source was opened, and lost by reason, within ten "
            "minutes.",
            "none", Line(connects, "opened"), Line(f"{faults} > 0", "{{reason}}"),
        ),
        lines(
            "Frames", "Received, and dropped by reason. replaced is normal where detection is "
            "slower than the camera.", "suffix: frames/s",
            Line(q.rate("streamgate_frames_received_total"), "received"),
            Line(f"{dropped} > 0", "{{reason}}"),
        ),
        lines(
            "Frame age", "Since capture, when detection starts.", "s",
            *_quantiles(q, "streamgate_frame_age_seconds"), colours=[(None, GREEN), (1, RED)],
        ),
    ]  # fmt: skip


def _webrtc(q: Queries) -> list[Drawn]:
    def rate(name: str) -> str:
        # Other sources have these series too: at zero, which says nothing.
        return f"{q.rate(name)} and on (job, instance, camera) {_WEBRTC}"

    return [
        lines(
            "Packets", "Received, lost and requested again.", "suffix: /s",
            Line(rate("streamgate_webrtc_packets_received_total"), "received"),
            Line(rate("streamgate_webrtc_packets_lost_total"), "lost"),
            Line(rate("streamgate_webrtc_nacks_sent_total"), "requested again"),
            Line(rate("streamgate_webrtc_plis_sent_total"), "keyframes requested"),
        ),
        lines(
            "Video received", "Bytes of video.", "Bps",
            Line(rate("streamgate_webrtc_received_bytes_total"), "received"),
        ),
    ]  # fmt: skip


def _zone(q: Queries) -> list[Drawn]:
    this = 'zone=~"$zone"'
    return [
        lines(
            "Faces in this zone", "Found in frames; those of an ignore zone are then left alone.",
            "suffix: /s",
            Line(q.rate("streamgate_zone_faces_total", this, by=("zone",)), "{{zone}}"),
        ),
        lines(
            "Best shots of this zone", "Released; none are of an ignore zone.", "suffix: /min",
            Line(
                f"60 * {q.rate('streamgate_zone_shots_total', this, by=('zone',))}", "{{zone}}"
            ),
        ),
    ]  # fmt: skip


def _two_streams(q: Queries) -> list[Drawn]:
    return [
        states(
            "Main stream and substream",
            "With source.detect_url: red while one of the two cannot be used. Elsewhere it says "
            "nothing.",
            Line(f"1 - {q.metric('streamgate_main_stream_up')}", "main stream down"),
            Line(f"1 - {q.metric('streamgate_substream_up')}", "substream down"),
            span=12,
        ),
        lines(
            "Where faces are cut out",
            "Of the main stream, or why it was the substream.", "suffix: /s",
            Line(q.rate("streamgate_detail_faces_total", by=("outcome",)), "{{outcome}}"),
        ),
    ]  # fmt: skip


def _shared(q: Queries) -> list[Drawn]:
    return [
        lines(
            "Scorer services", "1 while a service is used or could be; and whether the camera "
            "scores by itself because none answers.", "none",
            Line(q.metric("streamgate_remote_scorer_up"), "{{service}}"),
            Line(q.metric("streamgate_remote_scorer_local"), "by itself"), most=1,
        ),
        lines(
            "Requests without scores", "Within ten minutes, by reason.", "none",
            Line(
                q.increase("streamgate_remote_scorer_faults_total", "10m", by=("reason",)),
                "{{reason}}",
            ),
        ),
        states(
            "Lease",
            "Red while the camera may not deliver, or cannot use the server of the leases.",
            Line(f"1 - {q.metric('streamgate_lease_held')}", "not held"),
            Line(f"1 - {q.metric('streamgate_lease_server_up')}", "server away"),
            span=12,
        ),
        lines(
            "Leases lost, and faults of their server", "Within ten minutes.", "none",
            Line(q.increase("streamgate_lease_lost_total", "10m"), "lost"),
            Line(q.increase("streamgate_lease_faults_total", "10m"), "faults"),
        ),
        lines(
            "Epoch", "Number of the current tenure; 0 without a lease.", "none",
            Line(q.metric("streamgate_lease_epoch"), "epoch"),
        ),
    ]  # fmt: skip


def _stages(q: Queries) -> list[Drawn]:
    stage = "streamgate_stage_seconds"
    mean = f"{q.rate(f'{stage}_sum', by=('stage',))} / {q.rate(f'{stage}_count', by=('stage',))}"
    batch = "streamgate_scorer_batch_faces"
    return [
        lines(
            "Time in each stage", "Median, per frame, or per batch of the scorer.", "s",
            Line(q.quantile(0.5, stage, by=("stage",)), "{{stage}}"),
        ),
        lines(
            "Time in each stage, slowest", "95 of 100 frames or batches are faster.", "s",
            Line(q.quantile(0.95, stage, by=("stage",)), "{{stage}}"),
        ),
        lines(
            "Time in each stage, mean", "Mean, per frame, or per batch of the scorer.", "s",
            Line(f"{mean} >= 0", "{{stage}}"),
        ),
        lines(
            "Capture to score", "From the capture of a face to its score. Each dot is a track.",
            "s", *_quantiles(q, "streamgate_capture_to_score_seconds"), exemplars=True,
            colours=[(None, GREEN), (2.5, RED)],
        ),
        lines(
            "How busy the scorer is",
            "Share of the time during which it has work, and share of faces that were "
            "displaced by more promising ones.",
            "percentunit", Line(q.utilisation(), "busy"), Line(f"{q.shed()} >= 0", "displaced"),
            most=1, colours=[(None, GREEN), (0.9, RED)],
        ),
        lines(
            "Faces at the scorer", "How many wait, and how many are scored in one batch.", "none",
            Line(q.metric("streamgate_pending_faces"), "waiting"),
            Line(f"{q.rate(f'{batch}_sum')} / {q.rate(f'{batch}_count')} >= 0", "in a batch"),
        ),
    ]  # fmt: skip


def _faces(q: Queries) -> list[Drawn]:
    rejected = q.rate("streamgate_faces_rejected_total", by=("reason",))
    skipped = q.rate("streamgate_faces_skipped_total", by=("reason",))
    return [
        lines(
            "Frames with and without detection",
            "Frames in which faces were looked for, and were not, by reason.",
            "suffix: frames/s",
            Line(q.rate("streamgate_frames_looked_at_total", by=("reason",)), "yes: {{reason}}"),
            Line(q.rate("streamgate_frames_passed_total", by=("reason",)), "no: {{reason}}"),
        ),
        lines(
            "Faces", "Detected and scored.", "suffix: /s",
            Line(q.rate("streamgate_faces_detected_total"), "detected"),
            Line(q.rate("streamgate_faces_scored_total"), "scored"),
        ),
        lines(
            "Rejected by prechecks", "By reason.", "suffix: /s",
            Line(f"{rejected} > 0", "{{reason}}"), stacked=True,
        ),
        lines(
            "Not scored", "Faces that passed the prechecks and were not scored, by reason.",
            "suffix: /s", Line(skipped, "{{reason}}"),
            stacked=True,
        ),
        lines(
            "Tracks in the picture", "Tracks that are being followed.", "none",
            Line(q.metric("streamgate_live_tracks"), "tracks"),
        ),
    ]  # fmt: skip


def _quality(q: Queries) -> list[Drawn]:
    quality = "streamgate_face_quality"
    deciles = ((0.1, "p10"), (0.5, "median"), (0.9, "p90"))
    return [
        lines(
            "Quality of faces", "Of scored faces, 0-100. The dashed lines are what the gate wants: "
            "min_quality and, where it is set, release_quality.",
            "none",
            *(Line(q.quantile(share, quality), name) for share, name in deciles),
            most=100, exemplars=True,
            limits=[
                Line(q.metric("streamgate_quality_threshold", f'setting="{name}"'), name)
                for name in ("min_quality", "release_quality")
            ],
        ),
        _heatmap(q, quality),
        lines(
            "Quality compared with the reference",
            "Decline: how far recent tracks fall below the calibration's reference. Difference: "
            "how much they differ, for better or worse (population stability index); above 0.25 "
            "is a lot.", "none",
            Line(q.metric("streamgate_quality_decline_ratio"), "decline"),
            Line(q.metric("streamgate_quality_drift_psi"), "difference"),
            colours=[(None, GREEN), (0.25, ORANGE)],
        ),
        lines(
            "Tracks that are compared",
            "Recent tracks that are compared with the reference.", "none",
            Line(q.metric("streamgate_quality_drift_tracks"), "tracks"),
        ),
    ]  # fmt: skip


def _heatmap(q: Queries, name: str) -> heatmap.Panel:
    expr = f"sum by (le) (increase({q.metric(f'{name}_bucket')}[$__rate_interval]))"
    target = query(Line(expr, "{{le}}")).format(PromQueryFormat.HEATMAP)
    return (
        heatmap.Panel()
        .title("Qualities of scored faces")
        .description("Number of scored faces, by quality.")
        .datasource(SOURCE)
        .with_target(target)
        .span(12)
        .height(8)
    )


def _gate(q: Queries) -> list[Drawn]:
    outcomes = q.rate("streamgate_tracks_decided_total", by=("outcome",))
    reasons = q.rate("streamgate_shots_released_total", by=("reason",))
    seen = q.rate("streamgate_faces_detected_total")
    return [
        lines(
            "Share of faces forwarded", "Best shots per detected face.", "percentunit",
            Line(f"{q.rate('streamgate_shots_released_total')} / {seen} >= 0", "now"),
            Line(q.metric("streamgate_forwarded_per_seen_ratio"), "since the start"),
        ),
        lines(
            "Tracks that ended", "By outcome.", "suffix: /min",
            Line(f"60 * {outcomes}", "{{outcome}}"), stacked=True,
        ),
        lines(
            "Best shots released", "By reason.", "suffix: /min",
            Line(f"60 * {reasons} > 0", "{{reason}}"), stacked=True,
        ),
        lines(
            "Capture to release", "Including the wait for a better face. Each dot is a track.", "s",
            *_quantiles(q, "streamgate_capture_to_decision_seconds"), exemplars=True,
        ),
    ]  # fmt: skip


def _delivery(q: Queries) -> list[Drawn]:
    dropped = q.increase("streamgate_outbox_dropped_total", "1h", by=("sink", "reason"))
    attempts = q.rate("streamgate_deliveries_total", by=("sink", "outcome"))
    return [
        lines(
            "Capture to acknowledgement", "From the capture of a best shot to its "
            "acknowledgement. Each dot is a track.", "s",
            *_quantiles(q, "streamgate_capture_to_ack_seconds", by="sink"), exemplars=True,
        ),
        lines(
            "Release to acknowledgement", "From the release of a best shot to its "
            "acknowledgement. Each dot is a track.", "s",
            *_quantiles(q, "streamgate_decision_to_ack_seconds", by="sink"), exemplars=True,
        ),
        lines(
            "Attempts to deliver", "By sink and outcome.", "suffix: /min",
            Line(f"60 * {attempts}", "{{sink}} {{outcome}}"),
        ),
        lines(
            "Duration of an attempt", "Successful or not.", "s",
            *_quantiles(q, "streamgate_delivery_seconds", by="sink"),
        ),
        lines(
            "Best shots waiting", "Best shots that wait, and dead letters.", "none",
            Line(q.metric("streamgate_outbox_shots"), "{{sink}} waiting"),
            Line(q.metric("streamgate_outbox_dead_letters"), "{{sink}} dead letters"),
            Line(q.metric("streamgate_outbox_held_shots"), "in memory only"),
        ),
        lines(
            "How full the outbox is",
            "Share of the room for best shots that wait, by sink.", "percentunit",
            Line(
                f"{q.metric('streamgate_outbox_shots')} / on (job, instance, camera) group_left () "
                f"{q.metric('streamgate_outbox_limit_shots')}",
                "{{sink}}",
            ),
            most=1, colours=[(None, GREEN), (0.5, ORANGE), (0.9, RED)],
        ),
        lines(
            "Best shots dropped", "Within an hour, by sink and reason.", "none",
            Line(dropped, "{{sink}} {{reason}}"), stacked=True,
        ),
        lines(
            "Size of the outbox", "Size of the best shots in it.", "bytes",
            Line(q.metric("streamgate_outbox_bytes"), "bytes"),
        ),
        lines(
            "Lines of the decision log", "Lines, by outcome; zero where there is no decision log.",
            "suffix: /min",
            Line(
                f"60 * {q.rate('streamgate_decision_log_lines_total', by=('outcome',))}",
                "{{outcome}}",
            ),
        ),
        lines(
            "Faults of the outbox file",
            "Times that its file could not be used, within ten minutes.", "none",
            Line(q.increase("streamgate_outbox_faults_total", "10m", by=("reason",)), "{{reason}}"),
        ),
    ]  # fmt: skip


def _process(q: Queries) -> list[Drawn]:
    return [
        lines(
            "CPU", "Seconds of CPU time per second: 1 is one core.", "none",
            Line(q.rate("process_cpu_seconds_total"), "CPU"),
        ),
        lines(
            "Memory", "Resident memory.", "bytes",
            Line(q.metric("process_resident_memory_bytes"), "resident"),
        ),
        lines(
            "Open files", "Open file descriptors. The dashed line is their limit.", "none",
            Line(q.metric("process_open_fds"), "open"),
            limits=[Line(q.metric("process_max_fds"), "limit")],
        ),
        lines(
            "Is the pipeline alive",
            "Time since the pipeline last ran, and how long the current frame has "
            "been in detection.", "s",
            Line(f"time() - {q.metric('streamgate_heartbeat_timestamp_seconds')}", "heartbeat"),
            Line(q.metric("streamgate_analysis_busy_seconds"), "frame in detection"),
        ),
        lines(
            "Changes of the configuration",
            "Changed settings that need a restart, and reloads within an hour by "
            "outcome.", "none",
            Line(q.metric("streamgate_config_keys_waiting"), "need a restart"),
            Line(
                q.increase("streamgate_config_reloads_total", "1h", by=("outcome",)), "{{outcome}}"
            ),
        ),
        lines(
            "Age of the configuration", "Time since the configuration was applied.", "s",
            Line(
                f"time() - {q.metric('streamgate_config_last_reload_timestamp_seconds')}",
                "configuration",
            ),
        ),
        lines(
            "Changes of the profile", "Within an hour, by outcome.", "none",
            Line(
                q.increase("streamgate_profile_changes_total", "1h", by=("outcome",)), "{{outcome}}"
            ),
        ),
        _configuration(q),
    ]  # fmt: skip


def _configuration(q: Queries) -> Drawn:
    hidden = {"Time": True, "Value": True, "__name__": True, "job": True}
    return (
        table.Panel()
        .title("Version, configuration, profile, decoder and model")
        .description("SHA-256 of the configuration and of the weights in use.")
        .datasource(SOURCE)
        .with_target(query(Line(q.metric("streamgate_build_info"), ""), instant=True))
        .with_target(query(Line(q.metric("streamgate_config_info"), ""), ref="B", instant=True))
        .with_target(query(Line(q.metric("streamgate_model_info"), ""), ref="C", instant=True))
        .with_target(query(Line(q.metric("streamgate_camera_info"), ""), ref="D", instant=True))
        .with_target(query(Line(q.metric("streamgate_profile_info"), ""), ref="E", instant=True))
        .with_target(query(Line(q.metric("streamgate_decoder_info"), ""), ref="F", instant=True))
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            models.DataTransformerConfig(id_val="organize", options={"excludeByName": hidden})
        )
        .span(24)
        .height(5)
    )
