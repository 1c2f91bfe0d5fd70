"""Every metric of a camera, on one object with a registry of its own.

Labels take their values from the program or the config, never from the outside world, so that the
number of series is bounded. Times are seconds; buckets span 1 ms to 10 s.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.process_collector import ProcessCollector

from streamgate.version import __version__

__all__ = ["LATENCY_BUCKETS_S", "QUALITY_BUCKETS", "Metrics"]

LATENCY_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
WAIT_BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
QUALITY_BUCKETS = tuple(float(q) for q in range(10, 101, 10))
RAW_BUCKETS = tuple(10.0**exponent for exponent in range(-6, 4))


class Metrics:
    """The metrics of one camera process.

    Args:
        camera: the camera's name, a constant label of every series.
    """

    def __init__(self, camera: str = "camera") -> None:
        self.registry = CollectorRegistry()
        self._camera = camera
        ProcessCollector(registry=self.registry)
        self.build = Info("streamgate_build", "Version of the program.", registry=self.registry)
        self.build.info({"version": __version__})
        self._source()
        self._faces()
        self._gate()
        self._delivery()
        self._webrtc()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"streamgate_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"streamgate_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            f"streamgate_{name}", text, labels, buckets=buckets, registry=self.registry
        )

    def _source(self) -> None:
        self.source_up = self._gauge("source_up", "1 while frames arrive, else 0.")
        self.source_connects = self._counter("source_connects", "Times the source was opened.")
        self.source_faults = self._counter(
            "source_faults", "Failed openings and lost streams, by reason.", "reason"
        )
        self.source_frozen = self._gauge(
            "source_frozen", "1 while frames arrive that all show the very same picture, else 0."
        )
        self.frames_received = self._counter("frames_received", "Frames decoded.")
        self.frames_dropped = self._counter(
            "frames_dropped", "Frames that were not looked at, by reason.", "reason"
        )
        self.frame_age = self._histogram(
            "frame_age_seconds",
            "Age of a frame, from its capture, when detection begins.",
            LATENCY_BUCKETS_S,
        )
        self.last_frame_wall = self._gauge(
            "last_frame_timestamp_seconds", "Unix time at which the last frame was captured."
        )

    def _faces(self) -> None:
        self.stage_seconds = self._histogram(
            "stage_seconds", "Time spent in a stage, for each frame or batch.",
            LATENCY_BUCKETS_S, "stage",
        )  # fmt: skip
        self.faces_detected = self._counter("faces_detected", "Faces found in frames.")
        self.faces_rejected = self._counter(
            "faces_rejected", "Faces that failed a precheck, by reason.", "reason"
        )
        self.faces_scored = self._counter("faces_scored", "Faces that were scored.")
        self.faces_skipped = self._counter(
            "faces_skipped", "Faces that were fit to be scored but were not, by reason.", "reason"
        )
        self.face_quality = self._histogram(
            "face_quality", "Quality of scored faces, 0-100.", QUALITY_BUCKETS
        )
        self.face_raw_score = self._histogram(
            "face_raw_score", "Raw GraFIQs score of scored faces, lower is better.", RAW_BUCKETS
        )
        self.pending_faces = self._gauge("pending_faces", "Faces that wait for the scorer.")

    def _gate(self) -> None:
        self.live_tracks = self._gauge("live_tracks", "Tracks that are followed now.")
        self.tracks_decided = self._counter(
            "tracks_decided", "Tracks that have ended, by outcome.", "outcome"
        )
        self.shots_released = self._counter(
            "shots_released", "Best shots that the gate let go, by reason.", "reason"
        )
        self.capture_to_decision = self._histogram(
            "capture_to_decision_seconds",
            "From the capture of a best shot to its release, with the wait for a better one.",
            WAIT_BUCKETS_S,
        )
        self.capture_to_score = self._histogram(
            "capture_to_score_seconds", "From the capture of a face to its score.",
            LATENCY_BUCKETS_S,
        )  # fmt: skip
        self.forwarded_ratio = self._gauge(
            "forwarded_per_seen_ratio", "Best shots released for each face detected, since start."
        )

    def _delivery(self) -> None:
        self.deliveries = self._counter(
            "deliveries", "Attempts to deliver, by sink and outcome.", "sink", "outcome"
        )
        self.delivery_seconds = self._histogram(
            "delivery_seconds", "Time of one attempt to deliver.", LATENCY_BUCKETS_S, "sink"
        )
        self.decision_to_ack = self._histogram(
            "decision_to_ack_seconds", "From the release of a best shot to its acknowledgement.",
            WAIT_BUCKETS_S, "sink",
        )  # fmt: skip
        self.capture_to_ack = self._histogram(
            "capture_to_ack_seconds", "From the capture of a best shot to its acknowledgement.",
            WAIT_BUCKETS_S, "sink",
        )  # fmt: skip
        self.outbox_shots = self._gauge(
            "outbox_shots", "Best shots that wait for a sink's acknowledgement.", "sink"
        )
        self.outbox_dropped = self._counter(
            "outbox_dropped", "Best shots that were given up, by sink and reason.", "sink", "reason"
        )
        self.outbox_held = self._gauge(
            "outbox_held_shots",
            "Best shots that are in memory only because the outbox's file cannot be written.",
        )
        self.outbox_dead_letters = self._gauge(
            "outbox_dead_letters", "Best shots that are kept although a sink has refused them.",
            "sink",
        )  # fmt: skip
        self.outbox_bytes = self._gauge(
            "outbox_bytes", "Bytes that the best shots in the outbox occupy."
        )
        self.outbox_faults = self._counter(
            "outbox_faults", "Times the outbox's file could not be used, by reason.", "reason"
        )

    def _webrtc(self) -> None:
        self.webrtc_state = self._gauge(
            "webrtc_state", "1 for the state that the WebRTC source is in, else 0.", "state"
        )
        self.webrtc_packets_received = self._counter(
            "webrtc_packets_received", "RTP packets received."
        )
        self.webrtc_packets_lost = self._counter(
            "webrtc_packets_lost", "RTP packets that did not come at first; some came when asked."
        )
        self.webrtc_jitter = self._gauge(
            "webrtc_jitter_seconds", "Variation of the packets' transit times (RFC 3550)."
        )
        self.webrtc_bitrate = self._gauge(
            "webrtc_bitrate_bits_per_second", "Video received over the last second."
        )
        self.webrtc_keyframes_asked = self._counter(
            "webrtc_plis_sent", "Times that the sender was asked for a keyframe."
        )
        self.webrtc_nacks_sent = self._counter(
            "webrtc_nacks_sent", "Packets that the sender was asked to send again."
        )
        self.webrtc_decode_errors = self._counter(
            "webrtc_decode_errors", "Frames that could not be decoded whole, by codec.", "codec"
        )
        self.whip_requests = self._counter(
            "whip_requests", "WHIP requests, by method and status.", "method", "status"
        )

    def watch(self, gauge: Gauge, read: Callable[[], float]) -> None:
        """Let a gauge read its value when it is scraped."""
        gauge.set_function(read)
