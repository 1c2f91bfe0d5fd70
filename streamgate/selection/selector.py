"""The whole way of a face between analysis and delivery, as one object without I/O.

The live pipeline and the replay of recordings drive the same `Selector`: they show it what was
seen, ask it what to score next, and give it the scores. It answers with events. Time is an
argument, so that equal calls give equal events.

A track that has ended is decided only when those of its faces have been scored that can still win
and when nothing of it is under way; until then it is *ending*.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from streamgate.config import GateSection
from streamgate.selection.gate import QualityGate
from streamgate.selection.scheduler import Scheduler
from streamgate.values import (
    Analysis,
    Candidate,
    Release,
    ReleaseReason,
    ScoredFace,
    Skipped,
    SkipReason,
    TrackDecision,
)

__all__ = ["Selector", "SelectorEvent"]

SelectorEvent = Release | TrackDecision | Skipped
"""A face that goes out, the terminal decision on a track, or a face that will not be scored."""


class Selector:
    """Chooses the faces to score and the faces to forward, for all tracks of one camera.

    Every candidate that it is shown is scored or comes back as `Skipped`, and every track that it
    is shown has exactly one `TrackDecision`.

    Args:
        gate: the rules of release.
        max_pending: the most faces that wait for the scorer.
        share: of a track's fit faces that may be scored, 0-1.
    """

    def __init__(self, gate: GateSection, *, max_pending: int, share: float = 1.0) -> None:
        self._gate = QualityGate(gate)
        self._scheduler = Scheduler(max_pending, share=share, target_of=self._gate.release_target)
        self._in_flight: Counter[int] = Counter()
        # Why and when each ending track has ended.
        self._ending: dict[int, tuple[ReleaseReason, float]] = {}

    @property
    def settings(self) -> GateSection:
        """The rules of release that are in use."""
        return self._gate.settings

    @property
    def live_tracks(self) -> tuple[int, ...]:
        """Tracks that have been seen and not decided, oldest first."""
        return self._gate.live_tracks

    @property
    def waiting(self) -> int:
        """How many faces wait for the scorer."""
        return len(self._scheduler)

    def adopt(self, gate: GateSection, *, max_pending: int, share: float) -> None:
        """Go on with other settings; live tracks keep what they have."""
        self._gate.adopt(gate)
        self._scheduler.max_pending, self._scheduler.share = max_pending, share

    def seen(self, analysis: Analysis, now: float) -> list[SelectorEvent]:
        """Take what was seen in a frame: first the tracks that had ended before it, then faces."""
        events: list[SelectorEvent] = []
        for track_id in analysis.ended:
            events += self._end(track_id, ReleaseReason.TRACK_ENDED, now)
        for face in analysis.faces:
            track_id = face.tracked.track_id
            self._gate.seen(track_id, at=analysis.captured_at, wall=analysis.captured_wall)
            if face.candidate is not None:
                events += self._skip(self._scheduler.offer(face.candidate))
            elif face.rejection is not None:
                self._gate.rejected(track_id, face.rejection)
        return events + self._settle(now)

    def next_batch(self, count: int, now: float) -> list[Candidate]:
        """Return up to `count` faces to be scored now, best first.

        Each must come back by `scored` or `failed`. Without such a face the list is empty; which
        faces are worth a score changes with what is seen, with scores and with time.
        """
        batch = self._scheduler.take(count, now)
        self._in_flight.update(candidate.track_id for candidate in batch)
        return batch

    def scored(self, faces: Sequence[ScoredFace], now: float) -> list[SelectorEvent]:
        """Take the scores of a batch."""
        events: list[SelectorEvent] = []
        for face in faces:
            self._scheduler.learn(face)
            events += self._gate.scored(face, at=now)
        self._landed([face.candidate for face in faces])
        return events + self._settle(now)

    def failed(
        self, batch: Sequence[Candidate], reason: SkipReason, now: float
    ) -> list[SelectorEvent]:
        """Take back a batch that could not be scored."""
        events = self._skip([Skipped(candidate, reason) for candidate in batch])
        self._landed(batch)
        return events + self._settle(now)

    def tick(self, now: float) -> list[SelectorEvent]:
        """Return what has become due by the passing of time."""
        return [*self._gate.tick(now), *self._settle(now)]

    def end(self, reason: ReleaseReason, now: float) -> list[SelectorEvent]:
        """End every live track, oldest first."""
        events: list[SelectorEvent] = []
        for track_id in self._gate.live_tracks:
            if track_id not in self._ending:
                events += self._end(track_id, reason, now)
        return events

    def close(self, reason: ReleaseReason, now: float) -> list[SelectorEvent]:
        """End every live track with the scores that there are; faces that wait are skipped."""
        self._in_flight.clear()
        left = self._scheduler.clear()
        events = self._skip([Skipped(candidate, SkipReason.SHUTDOWN) for candidate in left])
        return events + self._settle(now) + self.end(reason, now)

    def _end(self, track_id: int, reason: ReleaseReason, now: float) -> list[SelectorEvent]:
        self._scheduler.end(track_id)
        self._ending[track_id] = reason, now
        return self._settle(now)

    def _settle(self, now: float) -> list[SelectorEvent]:
        """Decide the ending tracks of which no face is under way or worth a score any more."""
        events: list[SelectorEvent] = []
        for track_id, (reason, ended_at) in tuple(self._ending.items()):
            if self._in_flight[track_id] or self._scheduler.waits(track_id, now):
                continue
            del self._ending[track_id]
            events += self._skip(self._scheduler.forget(track_id))
            events += self._gate.end(track_id, reason, at=ended_at)
        return events

    def _skip(self, skipped: Sequence[Skipped]) -> list[SelectorEvent]:
        for face in skipped:
            self._gate.skipped(face.candidate.track_id)
        return list(skipped)

    def _landed(self, batch: Sequence[Candidate]) -> None:
        self._in_flight -= Counter(candidate.track_id for candidate in batch)
