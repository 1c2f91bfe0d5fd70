"""The alert rules: what is worth a person's attention, and what that person can do about it."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent
from typing import Any, Literal

from tools.monitoring.promql import Queries
from tools.monitoring.timing import FLEET, Timing, duration

__all__ = ["Alert", "Record", "alerts", "groups", "records"]

JOB = "streamgate"
_SELECTOR = f'job="{JOB}"'
_ON = "on (job, instance, camera)"
_DAYS = range(1, 8)
_LEAST_DAYS = 3

Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Record:
    """A series that Prometheus computes ahead."""

    name: str
    expr: str


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert; texts are templates of Prometheus.

    Attributes:
        for_s: how long the fault must last.
        action: what to do.
    """

    name: str
    severity: Severity
    expr: str
    for_s: int
    summary: str
    description: str
    action: str


def records(timing: Timing = FLEET) -> list[Record]:
    """Return the recording rules."""
    q = Queries(_SELECTOR, duration(timing.window_s))
    hour, day, week = (duration(s) for s in (timing.hour_s, timing.day_s, timing.week_s))
    start = q.metric("process_start_time_seconds")
    return [
        Record("camera:streamgate_frame_age_seconds:p95", q.frames_age()),
        Record("camera:streamgate_capture_to_score_seconds:p95", q.score_age()),
        Record("camera:streamgate_scorer_utilisation:ratio", q.utilisation()),
        Record("camera:streamgate_faces_shed:ratio", q.shed()),
        Record("camera:streamgate_outbox_shots:sum", q.waiting()),
        Record(
            "camera:streamgate_tracks_decided:increase_hour", q.decided(hour)
        ),
        Record(
            "camera:streamgate_tracks_unusable:ratio_hour",
            q.decided(hour, 'outcome="all_rejected"') + "\n/\n" + q.decided(hour),
        ),
        Record(
            "camera:streamgate_faces_detected:increase_hour",
            q.increase("streamgate_faces_detected_total", hour),
        ),
        Record("camera:streamgate_faces_detected:usual_increase_hour", _usual_faces(timing)),
        # NaN, which says that too few tracks were seen, would spoil the quantile.
        Record(
            "camera:streamgate_quality_decline:known",
            f"{q.metric('streamgate_quality_decline_ratio')} >= 0",
        ),
        Record(
            "camera:streamgate_quality_decline:usual",
            f"quantile_over_time(0.25, camera:streamgate_quality_decline:known[{week}])",
        ),
        # A target that is down has no camera label; the process that was last there knows it.
        Record(
            "instance:streamgate_camera:last",
            f"topk by (job, instance) (1, max_over_time({start}[{day}]))",
        ),
    ]  # fmt: skip


def _usual_faces(timing: Timing) -> str:
    """Average the same hour of the last seven days, of as many of them as are known."""
    seen = "camera:streamgate_faces_detected:increase_hour"
    days = "\nor\n".join(
        f'label_replace({seen} offset {duration(n * timing.day_s)}, "day", "{n}", "", "")'
        for n in _DAYS
    )
    return (
        f"avg without (day) (\n{_indented(days)}\n)\nand\n"
        f"count without (day) (\n{_indented(days)}\n) >= {_LEAST_DAYS}"
    )


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def alerts(timing: Timing = FLEET) -> list[Alert]:
    """Return the alerts, the gravest kinds of fault first."""
    return [
        *_camera_alerts(timing),
        *_sight_alerts(timing),
        *_delivery_alerts(timing),
        *_process_alerts(timing),
    ]


def _camera_alerts(timing: Timing) -> list[Alert]:
    q = Queries(_SELECTOR, duration(timing.window_s))
    return [
        Alert(
            "StreamgateDown",
            "critical",
            expr=_text(f"""
                ({q.metric("up")} == 0)
                * on (job, instance) group_left (camera)
                (instance:streamgate_camera:last ^ 0)
                or on (job, instance)
                {q.metric("up")} == 0
                """),
            for_s=timing.soon_s,
            summary="Streamgate at {{ $labels.instance }} does not answer",
            description="It could not be scraped. Nothing is known of its camera "
            "{{ $labels.camera }}, and most likely nobody is watching it.",
            action="On its machine look at `systemctl status streamgate@{{ $labels.camera }}` and "
            "`journalctl -u streamgate@{{ $labels.camera }}`. If the process runs, check that "
            "Prometheus reaches web.host and web.port. If it ends again and again, the last lines "
            "of its log say why; `streamgate check FILE` finds faults in its configuration.",
        ),
        Alert(
            "StreamgateCameraDown",
            "critical",
            expr=f"{q.metric('streamgate_source_up')} == 0",
            for_s=timing.at_once_s,
            summary="Camera {{ $labels.camera }} sends no pictures",
            description="The process runs but receives no frames; it goes on trying to connect.",
            action="The log's line `source lost` names the reason, as does the panel of reconnects "
            "by reason: refused or unreachable is the camera's power or network, unauthorized its "
            "password, not_found the path of the address, timeout a camera that accepts and then "
            "stays silent. Open the same address with `ffprobe` from this machine.",
        ),
        Alert(
            "StreamgatePictureFrozen",
            "critical",
            expr=f"{q.metric('streamgate_source_frozen')} == 1",
            for_s=timing.at_once_s,
            summary="Camera {{ $labels.camera }} repeats one picture",
            description="Frames arrive, but all show the very same picture, noise included.",
            action="Restart the camera or the recorder between: its encoder hangs or it replays "
            "its last picture. Nothing needs to be done to streamgate.",
        ),
        Alert(
            "StreamgateLate",
            "warning",
            expr=_text(f"""
                camera:streamgate_frame_age_seconds:p95 > 1
                or
                camera:streamgate_capture_to_score_seconds:p95 > 2.5
                or
                {q.metric("streamgate_analysis_busy_seconds")} > 5
                """),
            for_s=timing.later_s,
            summary="Camera {{ $labels.camera }} is {{ $value | humanizeDuration }} late",
            description="Frames are older than 1 s when they are looked at, or faces wait longer "
            "than 2.5 s for their score (95 of 100), or one frame has been in detection for 5 s. "
            "Best shots come late, and people have walked on.",
            action="If frames are old, the delay is in the camera or the network, or this machine "
            "is out of CPU: compare with the other cameras of its host. If scores are late, see "
            "StreamgateScorerSaturated. A lower frame rate or detector.max_side_px helps at once.",
        ),
    ]


def _sight_alerts(timing: Timing) -> list[Alert]:
    q = Queries(_SELECTOR, duration(timing.window_s))
    hour, week = duration(timing.hour_s), duration(timing.week_s)
    seen = "camera:streamgate_faces_detected:increase_hour"
    usual = "camera:streamgate_faces_detected:usual_increase_hour"
    return [
        Alert(
            "StreamgateNoFaces",
            "warning",
            expr=_text(f"""
                {seen} < 0.1 * {usual}
                and {_ON}
                {usual} >= 50
                and {_ON}
                avg_over_time({q.metric("streamgate_source_up")}[{hour}]) > 0.8
                unless {_ON}
                ({seen} offset {week} < 0.1 * {usual})
                """),
            for_s=timing.long_s,
            summary="Camera {{ $labels.camera }} sees hardly any faces",
            description="It found {{ $value | humanize }} in the last hour, less than a tenth of "
            "what it finds in this hour on other days. On this day of last week it was not so.",
            action="Look at the picture: the camera may have been turned, covered or blinded by "
            "light, or the way past it may be closed. Then look at rejections by reason.",
        ),
        Alert(
            "StreamgateNothingUsable",
            "warning",
            expr=_text(f"""
                camera:streamgate_tracks_unusable:ratio_hour > 0.95
                and {_ON}
                camera:streamgate_tracks_decided:increase_hour >= 20
                """),
            for_s=timing.long_s,
            summary="No face at camera {{ $labels.camera }} is fit to be scored",
            description="{{ $value | humanizePercentage }} of the people of the last hour were "
            "rejected in every frame, before any score.",
            action="Rejections by reason say why: blurred is focus or a dirty lens, too_dark and "
            "too_bright the light, too_small the distance or the zoom, turned_away the place where "
            "the camera hangs. If it has always been so, precheck is too strict for this place.",
        ),
        Alert(
            "StreamgateQualityDrift",
            "warning",
            expr=_text(f"""
                camera:streamgate_quality_decline:known > 0.3
                and {_ON}
                camera:streamgate_quality_decline:known - camera:streamgate_quality_decline:usual
                > 0.15
                """),
            for_s=timing.later_s,
            summary="Faces at camera {{ $labels.camera }} have become worse",
            description="{{ $value | humanizePercentage }} more of the recent people than of the "
            "calibration's reference lie below some quality, and that is more than is usual here.",
            action="Look at recent best shots: a lens out of focus or dirty, a lamp that has "
            "failed, or a camera that was moved. Clean, focus or turn it. If nothing is wrong and "
            "it shall stay so, calibrate the camera anew on its own traffic.",
        ),
        Alert(
            "StreamgateCalibrationUnlike",
            "info",
            expr=_text(f"""
                camera:streamgate_quality_decline:usual > 0.3
                and {_ON}
                max_over_time({q.metric("streamgate_quality_drift_tracks")}[{hour}]) > 0
                """),
            for_s=timing.day_s,
            summary="Camera {{ $labels.camera }} is unlike its calibration",
            description="Its faces are usually worse than the calibration's reference "
            "({{ $value | humanizePercentage }} more of them below some quality), so thresholds "
            "do not mean the shares that they name.",
            action="Calibrate the camera on its own traffic, or choose gate.min_quality from its "
            "panel of qualities.",
        ),
    ]


def _delivery_alerts(timing: Timing) -> list[Alert]:
    q = Queries(_SELECTOR, duration(timing.window_s))
    trend, hour = duration(timing.trend_s), duration(timing.hour_s)
    dropped = "streamgate_outbox_dropped_total"
    lost = q.increase(dropped, hour, 'reason!~"refused|purged"', by=("sink", "reason"))
    refused = q.increase(dropped, hour, 'reason="refused"', by=("sink",))
    return [
        Alert(
            "StreamgateDeliveryFailing",
            "critical",
            expr=f"{q.metric('streamgate_sink_up')} == 0",
            for_s=timing.later_s,
            summary="Sink {{ $labels.sink }} of camera {{ $labels.camera }} takes nothing",
            description="It is away, does not let us in, or refuses every best shot. They wait in "
            "the outbox and are delivered when it takes them again.",
            action="The log's line `best shot not delivered` tells the error and, where the sink "
            "refuses our credentials (401, 403, 407, a wrong password), the setting to look at, "
            "such as `delivery.sinks[0].token`. Otherwise check the sink's service, its address "
            "and the way to it. Nothing is lost while the outbox has room: see its panel for how "
            "long that will be.",
        ),
        Alert(
            "StreamgateOutboxGrowing",
            "warning",
            expr=_text(f"""
                (
                  camera:streamgate_outbox_shots:sum > 10
                  and
                  deriv(camera:streamgate_outbox_shots:sum[{trend}]) > 0
                )
                or
                max by (job, instance, camera) ({q.metric("streamgate_outbox_shots")})
                > {_ON}
                0.8 * {q.metric("streamgate_outbox_limit_shots")}
                """),
            for_s=timing.later_s,
            summary="The outbox of camera {{ $labels.camera }} grows",
            description="{{ $value | humanize }} best shots wait, and more come in than go out, or "
            "it is nearly full. When it is full, those of lowest quality are given up.",
            action="If a sink fails, see StreamgateDeliveryFailing. If it works, it is too slow: "
            "raise its at_once, or let fewer through (gate.min_quality, gate.max_per_track). "
            "delivery.outbox.max_shots sets the room.",
        ),
        Alert(
            "StreamgateShotsLost",
            "critical",
            expr=f"{lost} > 0",
            for_s=0,
            summary="Best shots of camera {{ $labels.camera }} were lost",
            description="{{ $value | humanize }} best shots for {{ $labels.sink }} were given up "
            "within the last hour: {{ $labels.reason }}.",
            action="full: the outbox ran over, so mend the sink and raise "
            "delivery.outbox.max_shots. expired: a sink was away for longer than ttl_s. "
            "unwritable or damaged: look at the disk that holds the outbox's file.",
        ),
        Alert(
            "StreamgateDeadLetters",
            "warning",
            expr=_text(f"""
                {refused} > 0
                or
                {q.metric("streamgate_outbox_dead_letters")} > 0
                """),
            for_s=0,
            summary="Sink {{ $labels.sink }} cannot take some best shots of camera "
            "{{ $labels.camera }}",
            description="{{ $value | humanize }} best shots were refused, or the sink has failed "
            "on them, again and again while it took others.",
            action="`streamgate outbox list FILE` and the log's line `best shot given up` tell "
            "the error: usually a picture that the receiver chokes on, a schema that it does not "
            "know, or a size limit. A durable outbox keeps them: mend the receiver, then offer "
            "them again (`outbox retry`) or purge them.",
        ),
        Alert(
            "StreamgateOutboxUnwritable",
            "critical",
            expr=_text(f"""
                {q.metric("streamgate_outbox_held_shots")} > 0
                or
                {q.increase("streamgate_outbox_faults_total", trend, by=("reason",))} > 0
                """),
            for_s=timing.at_once_s,
            summary="The outbox file of camera {{ $labels.camera }} cannot be written",
            description="Best shots are kept in memory only and would be lost with the process.",
            action="The reason of streamgate_outbox_faults_total says where to look. full: "
            "space and inodes. stuck: the disk or its server does not answer. moved: the file was "
            "deleted or replaced; it is written anew. io, readonly, open: mount options, errors "
            "and who owns the file of delivery.outbox.path. What is held is written when the file "
            "can be.",
        ),
    ]


def _process_alerts(timing: Timing) -> list[Alert]:
    q = Queries(_SELECTOR, duration(timing.window_s))
    trend = duration(timing.trend_s)
    return [
        Alert(
            "StreamgateScorerSaturated",
            "warning",
            expr=_text(f"""
                camera:streamgate_scorer_utilisation:ratio > 0.9
                and {_ON}
                camera:streamgate_faces_shed:ratio > 0.5
                """),
            for_s=timing.long_s,
            summary="The scorer of camera {{ $labels.camera }} is at its limit",
            description="It works {{ $value | humanizePercentage }} of the time, and more than "
            "half of the faces that were fit to be scored gave way to others. Nothing is late, but "
            "the best face of a track may be among those that nobody looked at.",
            action="Give it more: quality.threads, a GPU (quality.device), a smaller network. Or "
            "less to do: a lower frame rate, stricter prechecks, fewer cameras on this machine.",
        ),
        Alert(
            "StreamgateAnalysisFailing",
            "critical",
            expr=_text(f"""
                {q.increase("streamgate_faces_skipped_total", trend, 'reason="scorer_failed"')} > 0
                or
                {q.increase("streamgate_frames_dropped_total", trend, 'reason="detector_failed"')}
                > 0
                """),
            for_s=timing.at_once_s,
            summary="Detection or scoring fails at camera {{ $labels.camera }}",
            description="{{ $value | humanize }} faces or frames could not be worked on.",
            action="The log's lines `scoring failed` and `frame not analysed` tell the error. Of a "
            "GPU: look at `nvidia-smi` and the kernel's log, then restart the process.",
        ),
        Alert(
            "StreamgateReloadRefused",
            "warning",
            expr=f"{q.metric('streamgate_config_last_reload_successful')} == 0",
            for_s=timing.at_once_s,
            summary="Camera {{ $labels.camera }} runs on an old configuration",
            description="Its file was changed and refused; the settings from before are in use, "
            "and a restart would fail.",
            action="`streamgate check FILE` names every fault with its line. Mend it and reload.",
        ),
    ]


def groups(timing: Timing = FLEET) -> dict[str, Any]:
    """Return the rules as Prometheus reads them."""
    recorded = [{"record": rule.name, "expr": rule.expr} for rule in records(timing)]
    alerting = [_rule(alert) for alert in alerts(timing)]
    return {
        "groups": [
            {"name": "streamgate.records", "rules": recorded},
            {"name": "streamgate.alerts", "rules": alerting},
        ]
    }


def _rule(alert: Alert) -> dict[str, Any]:
    rule: dict[str, Any] = {"alert": alert.name, "expr": alert.expr}
    if alert.for_s:
        rule["for"] = duration(alert.for_s)
    rule["labels"] = {"severity": alert.severity}
    rule["annotations"] = {
        "summary": alert.summary,
        "description": alert.description,
        "action": alert.action,
    }
    return rule


def _text(query: str) -> str:
    return dedent(query).strip()
