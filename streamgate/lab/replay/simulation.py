"""The gate of the daemon, run over a table instead of a scorer.

Gate, budget and scheduler are the daemon's own objects, shown the same faces in the same order as
`CameraPipeline` shows them when no frame may be dropped; only waiting is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamgate.config import CameraConfig
from streamgate.lab.replay.recording import Moment, Recording, SeenScored
from streamgate.selection.gate import GateEvent, QualityGate
from streamgate.selection.scheduler import Scheduler
from streamgate.values import Candidate, Release, ReleaseReason, ScoredFace, TrackDecision

__all__ = ["Run", "simulate"]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What the gate made of a recording.

    Attributes:
        releases: in the order in which faces were let go.
        decisions: one for each track, in the order in which tracks ended.
        scored: frame and track of each face that was scored.
    """

    releases: tuple[Release, ...]
    decisions: tuple[TrackDecision, ...]
    scored: frozenset[tuple[int, int]]


def simulate(recording: Recording, config: CameraConfig, *, share: float | None = None) -> Run:
    """Run the configured gate over a recording.

    Args:
        share: of the fit faces that may be scored; default as configured.
    """
    return _Simulation(recording, config, share).run()


class _Simulation:
    def __init__(self, recording: Recording, config: CameraConfig, share: float | None) -> None:
        self._recording = recording
        self._batch_size = config.quality.batch_size
        self._gate = QualityGate(config.gate)
        self._scheduler = Scheduler(
            config.quality.max_pending,
            share=config.quality.score_share if share is None else share,
            target_of=self._gate.release_target,
        )
        self._table = {
            (moment.index, seen.track_id): seen.face
            for moment in recording.moments
            for seen in moment.seen
            if seen.face is not None
        }
        self._scored: set[tuple[int, int]] = set()
        self._events: list[GateEvent] = []

    def run(self) -> Run:
        at = 0.0
        for moment in self._recording.moments:
            at = moment.at
            self._watch(moment)
        for track_id in self._gate.live_tracks:
            self._end(track_id, ReleaseReason.STREAM_ENDED, at)
        return Run(
            releases=tuple(e for e in self._events if isinstance(e, Release)),
            decisions=tuple(e for e in self._events if isinstance(e, TrackDecision)),
            scored=frozenset(self._scored),
        )

    def _watch(self, moment: Moment) -> None:
        for track_id in moment.ended:
            self._end(track_id, ReleaseReason.TRACK_ENDED, moment.at)
        for seen in moment.seen:
            # The video's own time is wall-clock time too: when it was filmed is not known.
            self._gate.seen(seen.track_id, at=moment.at, wall=moment.at)
            self._offer(seen)
        self._score(moment.at)
        self._events += self._gate.tick(moment.at)

    def _offer(self, seen: SeenScored) -> None:
        if seen.face is None:
            self._gate.rejected(seen.track_id, str(seen.rejection))
            return
        for lost in self._scheduler.offer(seen.face.candidate):
            self._gate.skipped(lost.candidate.track_id)

    def _score(self, at: float) -> None:
        while batch := self._scheduler.take(self._batch_size, at):
            for face in self._look_up(batch):
                self._scheduler.learn(face)
                self._events += self._gate.scored(face, at=at)

    def _look_up(self, batch: Sequence[Candidate]) -> list[ScoredFace]:
        keys = [(candidate.frame_index, candidate.track_id) for candidate in batch]
        self._scored.update(keys)
        return [self._table[key] for key in keys]

    def _end(self, track_id: int, reason: ReleaseReason, at: float) -> None:
        self._scheduler.end(track_id)
        self._score(at)
        for lost in self._scheduler.forget(track_id):
            self._gate.skipped(lost.candidate.track_id)
        self._events += self._gate.end(track_id, reason, at=at)
