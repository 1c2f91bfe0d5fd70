"""The listeners to what happens to a face: live page, traces, drift, score sketch, a caller.

They are called on the event loop, in this order; none of them may block.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamgate.daemon.observer import Observer
from streamgate.daemon.sketch import SketchKeeper
from streamgate.telemetry.drift import QualityDrift
from streamgate.telemetry.tracing import FrameTracer
from streamgate.values import Analysis, BestShot, Frame, ScoredFace, TrackDecision, TracksJoined
from streamgate.web.live import LiveView

__all__ = ["Listeners"]


@dataclass(frozen=True, slots=True)
class Listeners:
    """Passes on what the pipeline and delivery tell.

    Attributes:
        observer: what a program around the daemon has brought.
    """

    drift: QualityDrift
    sketch: SketchKeeper | None
    live: LiveView | None
    tracer: FrameTracer | None
    observer: Observer | None

    def analysed(self, frame: Frame, analysis: Analysis) -> None:
        """A frame was looked at."""
        for listener in (self.live, self.tracer):
            if listener is not None:
                listener.analysed(frame, analysis)

    def scored(self, face: ScoredFace) -> None:
        """A face was scored."""
        self.drift.scored(face.candidate.track_id, face.quality)
        if self.sketch is not None:
            self.sketch.add(face.raw)
        for listener in (self.live, self.observer, self.tracer):
            if listener is not None:
                listener.scored(face)

    def joined(self, joined: TracksJoined) -> None:
        """Two live tracks have become one."""
        if self.live is not None:
            self.live.joined(joined)

    def released(self, shot: BestShot) -> None:
        """A best shot is in the outbox."""
        for listener in (self.live, self.observer, self.tracer):
            if listener is not None:
                listener.released(shot)

    def decided(self, decision: TrackDecision) -> None:
        """A track has ended."""
        self.drift.decided(decision)
        for listener in (self.live, self.observer):
            if listener is not None:
                listener.decided(decision)

    def delivered(self, key: str, sink: str, state: str) -> None:
        """A best shot was delivered, or not; see `SinkWorker` for the states."""
        for listener in (self.live, self.tracer):
            if listener is not None:
                listener.delivered(key, sink, state)
