"""The alert rules: what needs a person's attention, and what that person can do about it."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent
from typing import Any, Literal

from tools.monitoring.promql import Queries
from tools.monitoring.timing import FLEET, Timing, duration

__all__ = ["Alert", "Record", "alerts", "groups", "records"]

JOB = "streamgate"
_SELECTOR = f'job="{JOB}"'
# Who passes outside the watch zones tells nothing about the camera.
_COUNTING = 'outcome!="outside_zones"'
_ON = "on (job, instance, camera)"
_DAYS = range(1, 8)
_LEAST_DAYS = 3

Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Record:
    """A recording rule: a series that Prometheus computes in advance."""

    name: str
    expr: str


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert; texts are templates of Prometheus.

    Attributes:
        for_s: how long the fault must last before the alert fires, seconds.
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
            "camera:streamgate_tracks_decided:increase_hour", q.decided(hour, _COUNTING)
        ),
        Record(
            "camera:streamgate_tracks_unusable:ratio_hour",
            q.decided(hour, 'outcome="all_rejected"') + "\n/\n" + q.decided(hour, _COUNTING),
        ),
        Record(
            "camera:streamgate_faces_detected:increase_hour",
            q.increase("streamgate_faces_detected_total", hour),
        ),
        Record("camera:streamgate_faces_detected:usual_increase_hour", _usual_faces(timing)),
        # NaN means that too few tracks were seen; it would make the quantile NaN too.
        Record(
            "camera:streamgate_quality_decline:known",
            f"{q.metric('streamgate_quality_decline_ratio')} >= 0",
        ),
        Record(
            "camera:streamgate_quality_decline:usual",
            f"quantile_over_time(0.25, camera:streamgate_quality_decline:known[{week}])",
        ),
        # A target that is down has no camera label: take that of the process that ran there last.
        Record(
            "instance:streamgate_camera:last",
            f"topk by (job, instance) (1, max_over_time({start}[{day}]))",
        ),
    ]  # fmt: skip


def _usual_faces(timing: Timing) -> str:
    """Average the same hour of the last seven days, as far as it was recorded."""
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
    """Return the alerts, the most serious kinds of fault first."""
    return [
        *_camera_alerts(timing),
        *_sight_alerts(timing),
        *_delivery_alerts(timing),
        *_lease_alerts(timing),
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
            description="Prometheus cannot scrape the process. The state of its camera "
            "{{ $labels.camera }} is unknown; most likely it is not being watched.",
            action="On its machine, look at `systemctl status streamgate@{{ $labels.camera }}` and "
            "`journalctl -u streamgate@{{ $labels.camera }}`. If the process runs, check that "
            "Prometheus can reach web.host and web.port. If it keeps ending, the last lines of its "
            "log say why; `streamgate check FILE` finds faults in its configuration.",
        ),
        Alert(
            "StreamgateCameraDown",
            "critical",
            expr=f"{q.metric('streamgate_source_up')} == 0",
            for_s=timing.at_once_s,
            summary="Camera {{ $labels.camera }} sends no pictures",
            description="The process runs but receives no frames. It keeps trying to connect.",
            action="The log message `source lost` and the panel of reconnects name the reason. "
            "refused, unreachable: the camera has no power or network. unauthorized: the user "
            "name or password is wrong. not_found: the path of the address is wrong. timeout: the "
            "camera accepts the connection and sends nothing. Try the same address with `ffprobe` "
            "from this machine.",
        ),
        Alert(
            "StreamgatePictureFrozen",
            "critical",
            expr=f"{q.metric('streamgate_source_frozen')} == 1",
            for_s=timing.at_once_s,
            summary="Camera {{ $labels.camera }} keeps sending the same picture",
            description="Frames arrive, but all show exactly the same picture, noise included.",
            action="Restart the camera, or the recorder that its stream passes through: the "
            "encoder hangs or repeats its last picture. Streamgate itself needs no attention.",
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
            description="More than 5 of 100 frames are older than 1 s when they are analysed, or "
            "more than 5 of 100 faces wait longer than 2.5 s for their score, or one frame has "
            "been in detection for 5 s. Best shots arrive late, when people have already walked "
            "on.",
            action="If frames are old, the camera or the network delays them, or this machine is "
            "short of CPU: compare with the other cameras of this machine. If scores are late, see "
            "StreamgateScorerSaturated. A lower frame rate or a smaller detector.max_side_px helps "
            "at once.",
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
            description="It found {{ $value | humanize }} faces in the last hour, less than a "
            "tenth of what it usually finds at this hour. On the same day last week this was not "
            "so.",
            action="Look at the picture: the camera may have been turned, covered or dazzled, or "
            "people may no longer pass there. Then look at rejections by reason.",
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
            description="For {{ $value | humanizePercentage }} of the tracks of the last hour, the "
            "prechecks rejected every face.",
            action="Rejections by reason say why. blurred: the camera is out of focus, or its lens "
            "is dirty. too_dark, too_bright: the light. too_small: the distance or the zoom. "
            "turned_away: the place of the camera. If it has always been so, the precheck settings "
            "are too strict for this place.",
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
            description="Recent tracks have fallen below the calibration's reference by "
            "{{ $value | humanizePercentage }} (the largest surplus of tracks below any quality), "
            "more than is usual for this camera.",
            action="Look at recent best shots for a lens that is dirty or out of focus, a lamp "
            "that has failed, or a camera that was moved. Clean, focus or turn it. If the change "
            "is intended, calibrate the camera again on its own faces.",
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
            description="Its faces are usually worse than the calibration's reference (the largest "
            "surplus below any quality is {{ $value | humanizePercentage }}), so a threshold "
            "rejects a larger share of them than it says.",
            action="Calibrate the camera on its own faces, or choose gate.min_quality by the panel "
            "of qualities.",
        ),
    ]


def _delivery_alerts(timing: Timing) -> list[Alert]:
    q = Queries(_SELECTOR, duration(timing.window_s))
    trend, hour = duration(timing.trend_s), duration(timing.hour_s)
    dropped = "streamgate_outbox_dropped_total"
    lost = q.increase(dropped, hour, 'reason!~"refused|purged|no_lease"', by=("sink", "reason"))
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
            description="{{ $value | humanize }} best shots wait, and more arrive than are "
            "delivered, or the outbox is nearly full. When it is full, best shots of lowest "
            "quality are dropped.",
            action="If a sink fails, see StreamgateDeliveryFailing. If it works, it is too slow: "
            "raise its at_once, or forward fewer faces (gate.min_quality, gate.max_per_track). "
            "delivery.outbox.max_shots sets the limit.",
        ),
        Alert(
            "StreamgateShotsLost",
            "critical",
            expr=f"{lost} > 0",
            for_s=0,
            summary="Best shots of camera {{ $labels.camera }} were lost",
            description="{{ $value | humanize }} best shots for {{ $labels.sink }} were dropped "
            "within the last hour. The reason: {{ $labels.reason }}.",
            action="full: the outbox was full; repair the sink, and raise "
            "delivery.outbox.max_shots. expired: a sink was down for longer than "
            "delivery.outbox.ttl_s. unwritable, damaged: check the disk that holds the outbox "
            "file. sink_removed: a sink was removed from the configuration while best shots "
            "waited for it in memory.",
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


def _lease_alerts(timing: Timing) -> list[Alert]:
    q = Queries(_SELECTOR, duration(timing.window_s))
    return [
        Alert(
            "StreamgateLeaseNotHeld",
            "critical",
            expr=f"{q.metric('streamgate_lease_held')} == 0",
            for_s=timing.at_once_s,
            summary="Camera {{ $labels.camera }} does not hold its lease",
            description="It delivers nothing; what it has accepted waits in its outbox. Either the "
            "server of the leases cannot be used (streamgate_lease_server_up is 0), or another "
            "process holds the lease.",
            action="The log says which. Where the server is away, mend it: delivery goes on by "
            "itself. Where another process holds the lease, one of the two is not wanted: end it. "
            "See docs/fleet.md.",
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
            summary="The scorer of camera {{ $labels.camera }} is overloaded",
            description="It is busy {{ $value | humanizePercentage }} of the time, and more than "
            "half of the faces were displaced by more promising ones. Nothing is late, but the "
            "best face of a track may not have been scored.",
            action="Speed it up: more quality.threads, a GPU (quality.device), a smaller network. "
            "Or reduce its load: a lower frame rate, stricter prechecks, fewer cameras on this "
            "machine.",
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
            description="{{ $value | humanize }} faces could not be scored, or frames not "
            "analysed, within 15 minutes.",
            action="The log messages `scoring failed` and `frame not analysed` have the error. On "
            "a GPU, check `nvidia-smi` and the kernel's log, then restart the process.",
        ),
        Alert(
            "StreamgateScorerServiceLost",
            "critical",
            expr=f"max by (job, instance, camera) ({q.metric('streamgate_remote_scorer_up')}) == 0",
            for_s=timing.at_once_s,
            summary="No scorer service answers camera {{ $labels.camera }}",
            description="Its faces are skipped, or scored by the camera itself where "
            "quality.on_loss is local. The best faces so far are still forwarded.",
            action="Look at the service: its log, `streamgate_scorer_service_serving` and the "
            "network. `streamgate check --online FILE` says why it does not answer.",
        ),
        Alert(
            "StreamgateReloadRefused",
            "warning",
            expr=f"{q.metric('streamgate_config_last_reload_successful')} == 0",
            for_s=timing.at_once_s,
            summary="Camera {{ $labels.camera }} runs with an old configuration",
            description="Its file was changed and refused. The previous settings are still in "
            "use, but a restart would fail.",
            action="`streamgate check FILE` names every fault with its line. Correct the file; it "
            "is then reloaded.",
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
