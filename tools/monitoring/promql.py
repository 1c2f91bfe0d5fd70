"""Queries that rules and dashboards share, so that each state is defined once."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["CAMERA", "Queries"]

CAMERA = ("job", "instance", "camera")
"""The labels that identify the process of one camera."""

_BY = "job, instance, camera"


class Queries:
    """Queries over the cameras that a selector matches.

    Args:
        selector: label matchers, without braces.
        window: over which rates are taken, as Prometheus or Grafana writes it.
    """

    def __init__(self, selector: str, window: str) -> None:
        self.selector = selector
        self.window = window

    def metric(self, name: str, more: str = "") -> str:
        """Return a metric's series."""
        matchers = ", ".join(part for part in (self.selector, more) if part)
        return f"{name}{{{matchers}}}"

    def rate(self, name: str, more: str = "", *, by: Sequence[str] = ()) -> str:
        """Return events per second, for each camera and label."""
        labels = ", ".join((*CAMERA, *by))
        return f"sum by ({labels}) (rate({self.metric(name, more)}[{self.window}]))"

    def increase(self, name: str, over: str, more: str = "", *, by: Sequence[str] = ()) -> str:
        """Return events within a time, for each camera and label."""
        labels = ", ".join((*CAMERA, *by))
        return f"sum by ({labels}) (increase({self.metric(name, more)}[{over}]))"

    def quantile(self, share: float, name: str, more: str = "", *, by: Sequence[str] = ()) -> str:
        """Return a histogram's quantile, for each camera and label."""
        buckets = self.rate(f"{name}_bucket", more, by=("le", *by))
        return f"histogram_quantile({share}, {buckets})"

    def utilisation(self) -> str:
        """Return the share of time in which the scorer had work."""
        return self.rate("streamgate_scorer_busy_seconds_total")

    def shed(self) -> str:
        """Return the share of faces that were displaced by more promising ones."""
        shed = self.rate("streamgate_faces_skipped_total", 'reason="more_promising_face"')
        return f"{shed}\n/\n({shed} + {self.rate('streamgate_faces_scored_total')})"

    def frames_age(self) -> str:
        """Return the age, in seconds, that 95 of 100 frames do not exceed."""
        return self.quantile(0.95, "streamgate_frame_age_seconds")

    def score_age(self) -> str:
        """Return the time from capture to score, in seconds, that 95 of 100 faces do not exceed."""
        return self.quantile(0.95, "streamgate_capture_to_score_seconds")

    def waiting(self) -> str:
        """Return how many best shots wait, for each camera."""
        return f"sum by ({_BY}) ({self.metric('streamgate_outbox_shots')})"

    def decided(self, over: str, more: str = "") -> str:
        """Return how many tracks have ended."""
        return self.increase("streamgate_tracks_decided_total", over, more)
