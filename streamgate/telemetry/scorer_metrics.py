"""Every metric of a scorer service, on one object with a registry of its own."""

from __future__ import annotations

from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from streamgate.telemetry.exposition import Families
from streamgate.telemetry.metrics import BATCH_BUCKETS, LATENCY_BUCKETS_S
from streamgate.values.reasons import ServiceRefusal, ServiceStage
from streamgate.version import __version__

__all__ = ["ScorerMetrics"]

_OTHER = "other"


class ScorerMetrics:
    """The metrics of one scorer service.

    Args:
        named_cameras: so many cameras have a series of their own; further ones are `other`. The
            names come from clients, so they must be bounded.

    Attributes:
        exposition: what is scraped.
    """

    def __init__(self, named_cameras: int = 100) -> None:
        families = Families()
        self.families = families.all
        self.exposition = families.registry
        ProcessCollector(registry=self.exposition)
        PlatformCollector(registry=self.exposition)
        self._named_cameras = named_cameras
        self._cameras: set[str] = set()
        self.build = families.info("scorer_service_build", "Version of the program.", "version")
        self.build.info({"version": __version__})
        self.model = families.info(
            "scorer_service_model", "SHA-256 of the weights, and the group.", "sha256", "group"
        )
        self.serving = families.gauge(
            "scorer_service_serving", "1 while requests are taken, else 0."
        )
        self.waiting = families.gauge(
            "scorer_service_waiting_faces", "Faces that wait for the device."
        )
        self.requests = families.gauge(
            "scorer_service_open_requests", "Requests that are not answered yet."
        )
        self.batch = families.histogram(
            "scorer_service_batch_faces", "Faces in one pass through the network.", BATCH_BUCKETS
        )
        self.seconds = families.histogram(
            "scorer_service_seconds",
            "Time of a batch in the engine, and of a request in the queue and in all.",
            LATENCY_BUCKETS_S,
            stage=tuple(ServiceStage),
        )
        self.busy = families.counter(
            "scorer_service_busy_seconds",
            "Time during which the device had work; its rate is the utilisation, 0-1.",
        )
        self._faces = families.counter(
            "scorer_service_faces",
            f"Faces that were scored, by camera; cameras beyond the limit are `{_OTHER}`.",
            camera=(),
        )
        self.refused = families.counter(
            "scorer_service_requests_refused",
            "Requests that were not answered with scores, by reason.",
            reason=tuple(ServiceRefusal),
        )

    def scored(self, camera: str, faces: int) -> None:
        """Count faces of a camera."""
        if camera not in self._cameras:
            if len(self._cameras) >= self._named_cameras:
                camera = _OTHER
            else:
                self._cameras.add(camera)
        self._faces.labels(camera).inc(faces)
