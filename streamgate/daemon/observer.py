"""Callbacks for a program around the daemon, such as the demo's table."""

from __future__ import annotations

from typing import Protocol

from streamgate.telemetry.metrics import Metrics
from streamgate.values import BestShot, ScoredFace, TrackDecision

__all__ = ["Observer"]


class Observer(Protocol):
    """Told on the event loop; none of it may block."""

    def started(self, metrics: Metrics) -> None:
        """The camera runs; its metrics may be read at any time."""
        ...

    def scored(self, face: ScoredFace) -> None:
        """A face was scored."""
        ...

    def released(self, shot: BestShot) -> None:
        """A best shot is in the outbox."""
        ...

    def decided(self, decision: TrackDecision) -> None:
        """A track has ended."""
        ...
