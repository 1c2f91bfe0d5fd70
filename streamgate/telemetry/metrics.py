"""Every metric of a camera, on one object with a registry of its own.

Labels take their values from the program or the configuration, never from outside, so that the
number of series is bounded. Times are in seconds; latencies have buckets from 1 ms to 10 s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import Gauge
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from streamgate.telemetry.exposition import Families, WithCamera
from streamgate.values import LookReason, PassReason, ReleaseReason, SkipReason, TrackOutcome
from streamgate.values.reasons import (
    DeliveryOutcome,
    DetailOutcome,
    DropReason,
    FaultReason,
    FrameDrop,
    LeaseLoss,
    LineOutcome,
    OutboxFault,
    Rejection,
    ReloadOutcome,
    ServiceFault,
    SourceState,
    Stage,
)
from streamgate.version import __version__

__all__ = ["LATENCY_BUCKETS_S", "QUALITY_BUCKETS", "WAIT_BUCKETS_S", "Metrics"]

LATENCY_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
# The gate waits for better faces, and sinks may be down: these reach five minutes.
WAIT_BUCKETS_S = (*LATENCY_BUCKETS_S, 30.0, 60.0, 300.0)
QUALITY_BUCKETS = tuple(float(q) for q in range(10, 101, 10))
RAW_BUCKETS = tuple(10.0**exponent for exponent in range(-6, 4))
BATCH_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


class Metrics:
    """The metrics of one camera process.

    Args:
        camera: the camera's name, a constant label of every series that is scraped.

    Attributes:
        registry: what is measured, without the camera's label.
        exposition: what is scraped: the registry with the camera's label on every series.
    """

    def __init__(self, camera: str = "camera") -> None:
        self._families = Families()
        self.families = self._families.all
        self.registry = self._families.registry
        self.exposition = WithCamera(self.registry, camera)
        self._counter = self._families.counter
        self._gauge = self._families.gauge
        self._histogram = self._families.histogram
        self._info = self._families.info
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._process()
        self._source()
        self._faces()
        self._remote()
        self._quality()
        self._gate()
        self._delivery()
        self._outbox()
        self._lease()
        self._webrtc()

    def _process(self) -> None:
        self.build = self._info("build", "Version of the program.", "version")
        self.build.info({"version": __version__})
        self.camera = self._info("camera", "Kind of source that the camera has.", "source")
        self.config = self._info("config", "SHA-256 of the configuration in use.", "sha256")
        self.config_reloads = self._counter(
            "config_reloads", "Times that the configuration was reloaded, by outcome.",
            outcome=tuple(ReloadOutcome),
        )  # fmt: skip
        self.config_reload_successful = self._gauge(
            "config_last_reload_successful",
            "0 if the last reload was refused, else 1.",
        )
        self.config_reload_successful.set(1)
        self.config_reload_at = self._gauge(
            "config_last_reload_timestamp_seconds",
            "Unix time at which the configuration in use was applied, at start or by a reload.",
        )
        self.profile = self._info(
            "profile", "Profile in use (default: the file's own settings), and what wants it.",
            "profile", "reason",
        )  # fmt: skip
        self.profile_changes = self._counter(
            "profile_changes", "Changes to a different profile, by outcome.",
            outcome=("applied", "refused"),
        )  # fmt: skip
        self.config_waiting = self._gauge(
            "config_keys_waiting",
            "Changed settings in the file that need a restart to take effect.",
        )
        self.heartbeat = self._gauge(
            "heartbeat_timestamp_seconds", "Unix time at which the pipeline last ran."
        )

    def _source(self) -> None:
        self.source_up = self._gauge("source_up", "1 while frames arrive, else 0.")
        self.source_connects = self._counter("source_connects", "Times that the source was opened.")
        self.source_faults = self._counter(
            "source_faults",
            "Failed attempts to open the source and lost streams, by reason.",
            reason=tuple(FaultReason),
        )
        self.source_frozen = self._gauge(
            "source_frozen", "1 while all frames that arrive show the same picture, else 0."
        )
        self.clock_trusted = self._gauge(
            "clock_trusted",
            "1 while frames are timed by the source's clock, 0 while by their arrival.",
        )
        self.clock_trusted.set(1)
        self.decoder = self._info(
            "decoder", "What decodes, and what source.decoder asks for.", "decoder", "wanted"
        )
        self.main_stream_up = self._gauge(
            "main_stream_up", "With two streams: 1 while the main stream can be read, else 0."
        )
        self.substream_up = self._gauge(
            "substream_up", "With two streams: 1 while the substream is looked at, else 0."
        )
        self.detail_faces = self._counter(
            "detail_faces",
            "With two streams: faces by where they were cut out (main), or why it was the "
            "substream.",
            outcome=tuple(DetailOutcome),
        )
        self.frames_received = self._counter("frames_received", "Frames decoded.")
        self.frames_dropped = self._counter(
            "frames_dropped", "Frames that were not analysed, by reason.", reason=tuple(FrameDrop)
        )
        self.frame_age = self._histogram(
            "frame_age_seconds",
            "Age of a frame, since its capture, when detection starts.",
            LATENCY_BUCKETS_S,
        )
        self.last_frame_wall = self._gauge(
            "last_frame_timestamp_seconds", "Unix time at which the last frame was captured."
        )

    def _faces(self) -> None:
        self.stage_seconds = self._histogram(
            "stage_seconds", "Time that a frame, or a batch of the scorer, spends in a stage.",
            LATENCY_BUCKETS_S, stage=tuple(Stage),
        )  # fmt: skip
        self.analysis_busy = self._gauge(
            "analysis_busy_seconds",
            "How long the current frame has been in detection; 0 between frames.",
        )
        self.frames_looked_at = self._counter(
            "frames_looked_at",
            "Frames in which faces were looked for, by reason.",
            reason=tuple(LookReason),
        )
        self.frames_passed = self._counter(
            "frames_passed",
            "Frames in which faces were not looked for, by reason.",
            reason=tuple(PassReason),
        )
        self.faces_detected = self._counter("faces_detected", "Faces found in frames.")
        self.last_face_wall = self._gauge(
            "last_face_timestamp_seconds",
            "Unix time at which the last frame with a face was captured; 0 before the first.",
        )
        self.faces_rejected = self._counter(
            "faces_rejected", "Faces that a precheck rejected, by reason.", reason=tuple(Rejection)
        )
        self.zone_faces = self._counter(
            "zone_faces", "Faces found in a zone, by its name; those in ignore zones too.", zone=()
        )
        self.faces_scored = self._counter("faces_scored", "Faces that were scored.")
        self.faces_skipped = self._counter(
            "faces_skipped", "Faces that passed the prechecks and were not scored, by reason.",
            reason=tuple(SkipReason),
        )  # fmt: skip
        self.pending_faces = self._gauge("pending_faces", "Faces that wait for the scorer.")
        self.scorer_busy = self._counter(
            "scorer_busy_seconds",
            "Time during which the scorer had work; its rate is the utilisation, 0-1.",
        )
        self.scorer_batch = self._histogram(
            "scorer_batch_faces", "Faces in a batch of the scorer.", BATCH_BUCKETS
        )

    def _remote(self) -> None:
        self.remote_scorer_up = self._gauge(
            "remote_scorer_up",
            "1 while the scorer service at an address is used or could be, else 0; absent without "
            "services.",
            service=(),
        )
        self.remote_scorer_faults = self._counter(
            "remote_scorer_faults",
            "Requests to a scorer service that brought no scores, by reason.",
            reason=tuple(ServiceFault),
        )
        self.remote_scorer_local = self._gauge(
            "remote_scorer_local",
            "1 while the camera scores by itself because no scorer service answers, else 0.",
        )

    def _quality(self) -> None:
        self.model = self._info(
            "model", "SHA-256 of the weights, and whether they are calibrated.",
            "sha256", "calibrated",
        )  # fmt: skip
        self.face_quality = self._histogram(
            "face_quality", "Quality of scored faces, 0-100.", QUALITY_BUCKETS
        )
        self.face_raw_score = self._histogram(
            "face_raw_score", "Raw GraFIQs score of scored faces; lower is better.", RAW_BUCKETS
        )
        self.quality_threshold = self._gauge(
            "quality_threshold",
            "Thresholds of the gate, quality 0-100; one that is not set is absent.",
            setting=(),
        )
        self.quality_decline = self._gauge(
            "quality_decline_ratio",
            "How far recent tracks fall below the calibration's reference, 0-1: the largest "
            "surplus of them below any quality (one-sided Kolmogorov-Smirnov statistic); NaN while "
            "there are too few tracks.",
        )
        self.quality_drift = self._gauge(
            "quality_drift_psi",
            "How much the qualities of recent tracks differ from the calibration's reference, for "
            "better or worse (population stability index); NaN while there are too few tracks.",
        )
        self.quality_drift_tracks = self._gauge(
            "quality_drift_tracks", "Recent tracks that are compared with the reference."
        )

    def _gate(self) -> None:
        self.live_tracks = self._gauge("live_tracks", "Tracks that are being followed.")
        self.tracks_decided = self._counter(
            "tracks_decided", "Tracks that have ended, by outcome.", outcome=tuple(TrackOutcome)
        )
        self.shots_released = self._counter(
            "shots_released",
            "Best shots that the gate released, by reason.",
            reason=tuple(ReleaseReason),
        )
        self.zone_shots = self._counter(
            "zone_shots", "Best shots released, by the watch zone that they are of.", zone=()
        )
        self.capture_to_decision = self._histogram(
            "capture_to_decision_seconds",
            "From the capture of a best shot to its release, including the wait for a better face.",
            WAIT_BUCKETS_S,
        )
        self.capture_to_score = self._histogram(
            "capture_to_score_seconds", "From the capture of a face to its score.",
            LATENCY_BUCKETS_S,
        )  # fmt: skip
        self.forwarded_ratio = self._gauge(
            "forwarded_per_seen_ratio", "Best shots released per face detected, since the start."
        )

    def _delivery(self) -> None:
        self.sink_up = self._gauge(
            "sink_up", "0 while attempts to deliver to the sink fail, else 1.", sink=()
        )
        self.deliveries = self._counter(
            "deliveries",
            "Attempts to deliver, by sink and outcome.",
            sink=(),
            outcome=tuple(DeliveryOutcome),
        )
        self.delivery_seconds = self._histogram(
            "delivery_seconds", "Duration of one attempt to deliver.", LATENCY_BUCKETS_S, sink=()
        )
        self.decision_to_ack = self._histogram(
            "decision_to_ack_seconds", "From the release of a best shot to its acknowledgement.",
            WAIT_BUCKETS_S, sink=(),
        )  # fmt: skip
        self.capture_to_ack = self._histogram(
            "capture_to_ack_seconds", "From the capture of a best shot to its acknowledgement.",
            WAIT_BUCKETS_S, sink=(),
        )  # fmt: skip

    def _outbox(self) -> None:
        self.outbox_shots = self._gauge(
            "outbox_shots", "Best shots that wait for the acknowledgement of a sink.", sink=()
        )
        self.outbox_limit = self._gauge(
            "outbox_limit_shots", "Most best shots that may wait; beyond it, the worst are dropped."
        )
        self.outbox_dropped = self._counter(
            "outbox_dropped", "Best shots that were dropped undelivered, by sink and reason.",
            sink=(), reason=tuple(DropReason),
        )  # fmt: skip
        self.outbox_held = self._gauge(
            "outbox_held_shots",
            "Best shots that exist in memory only, because the outbox file cannot be written.",
        )
        self.outbox_dead_letters = self._gauge(
            "outbox_dead_letters", "Best shots that a sink has refused for good and that are kept.",
            sink=(),
        )  # fmt: skip
        self.outbox_bytes = self._gauge("outbox_bytes", "Size of the best shots in the outbox.")
        self.outbox_faults = self._counter(
            "outbox_faults", "Times that the outbox file could not be used, by reason.",
            reason=tuple(OutboxFault),
        )  # fmt: skip
        self.decision_log_lines = self._counter(
            "decision_log_lines", "Lines of the decision log, by outcome.",
            outcome=tuple(LineOutcome),
        )  # fmt: skip

    def _lease(self) -> None:
        self.lease_held = self._gauge(
            "lease_held", "1 while the camera may deliver; 0 while it has not got its lease."
        )
        self.lease_held.set(1)
        self.lease_epoch = self._gauge(
            "lease_epoch", "Number of the current tenure; 0 where the camera needs no lease."
        )
        self.lease_server_up = self._gauge(
            "lease_server_up", "0 while the server of the leases cannot be used, else 1."
        )
        self.lease_server_up.set(1)
        self.lease_faults = self._counter(
            "lease_faults", "Times that the server of the leases could not be used."
        )
        self.lease_lost = self._counter(
            "lease_lost", "Times that the lease was lost, by reason.", reason=tuple(LeaseLoss)
        )

    def _webrtc(self) -> None:
        self.webrtc_state = self._gauge(
            "webrtc_state", "1 for the current state of the WebRTC source, else 0.",
            state=tuple(SourceState),
        )  # fmt: skip
        self.webrtc_packets_received = self._counter(
            "webrtc_packets_received", "RTP packets received."
        )
        self.webrtc_packets_lost = self._counter(
            "webrtc_packets_lost",
            "RTP packets that did not arrive at first; some arrived when requested again.",
        )
        self.webrtc_jitter = self._gauge(
            "webrtc_jitter_seconds", "Variation of the packets' transit times (RFC 3550)."
        )
        self.webrtc_bytes_received = self._counter(
            "webrtc_received_bytes", "Bytes of video received."
        )
        self.webrtc_keyframes_asked = self._counter(
            "webrtc_plis_sent", "Times that a keyframe was requested from the sender."
        )
        self.webrtc_nacks_sent = self._counter(
            "webrtc_nacks_sent", "Packets that were requested again from the sender."
        )
        self.webrtc_decode_errors = self._counter(
            "webrtc_decode_errors",
            "Frames that could not be decoded completely, by codec.",
            codec=(),
        )
        self.whip_requests = self._counter(
            "whip_requests", "WHIP requests, by method and status.", method=(), status=()
        )

    def watch(self, gauge: Gauge, read: Callable[[], float]) -> None:
        """Make a gauge read its value whenever it is scraped."""
        gauge.set_function(read)

    def expect_zone(self, name: str, *, watched: bool) -> None:
        """Create the series of a zone before its first face."""
        self.zone_faces.labels(name)
        if watched:
            self.zone_shots.labels(name)

    def expect_sink(self, name: str) -> None:
        """Create the series of a sink before its first delivery."""
        for outcome in tuple(DeliveryOutcome):
            self.deliveries.labels(name, outcome)
        for reason in tuple(DropReason):
            self.outbox_dropped.labels(name, reason)
        for histogram in (self.delivery_seconds, self.decision_to_ack, self.capture_to_ack):
            histogram.labels(name)
        self.outbox_dead_letters.labels(name)
        self.sink_up.labels(name).set(1)

    def forget_sink(self, name: str) -> None:
        """Remove the gauges of a sink that was removed; its counters stay."""
        for gauge in (self.outbox_shots, self.outbox_dead_letters, self.sink_up):
            gauge.remove(name)

    def show_config(self, sha256: str, thresholds: Mapping[str, float | None], at: float) -> None:
        """Show which configuration is in use.

        Args:
            thresholds: the gate's qualities by the name of their setting; None for one not set.
            at: Unix seconds from which it has been in use.
        """
        self.config.info({"sha256": sha256})
        self.config_reload_at.set(at)
        self.quality_threshold.clear()
        for setting, quality in thresholds.items():
            if quality is not None:
                self.quality_threshold.labels(setting).set(quality)
