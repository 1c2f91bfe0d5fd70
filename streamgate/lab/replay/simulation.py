"""The gate of the daemon, run over a table instead of a scorer.

The `Selector` is the daemon's own, shown the same faces in the same order as `CameraPipeline` shows
them when no frame may be dropped; only waiting is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamgate.config import CameraConfig
from streamgate.lab.replay.recording import Moment, Recording
from streamgate.selection.selector import Selector, SelectorEvent
from streamgate.values import Analysis, Release, ReleaseReason, SeenFace, TrackDecision

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
        self._selector = Selector(
            config.gate,
            max_pending=config.quality.max_pending,
            share=config.quality.score_share if share is None else share,
        )
        self._table = {
            (moment.index, seen.track_id): seen.face
            for moment in recording.moments
            for seen in moment.seen
            if seen.face is not None
        }
        self._scored: set[tuple[int, int]] = set()
        self._events: list[SelectorEvent] = []

    def run(self) -> Run:
        at = 0.0
        for moment in self._recording.moments:
            at = moment.at
            self._events += self._selector.seen(_analysis(moment), at)
            self._score(at)
            self._events += self._selector.tick(at)
        self._events += self._selector.end(ReleaseReason.STREAM_ENDED, at)
        self._score(at)
        return Run(
            releases=tuple(e for e in self._events if isinstance(e, Release)),
            decisions=tuple(e for e in self._events if isinstance(e, TrackDecision)),
            scored=frozenset(self._scored),
        )

    def _score(self, at: float) -> None:
        while batch := self._selector.next_batch(self._batch_size, at):
            keys = [(candidate.frame_index, candidate.track_id) for candidate in batch]
            self._scored.update(keys)
            self._events += self._selector.scored([self._table[key] for key in keys], at)


def _analysis(moment: Moment) -> Analysis:
    faces = tuple(
        SeenFace(seen.tracked, None if seen.face is None else seen.face.candidate, seen.rejection)
        for seen in moment.seen
    )
    # The video's own time is wall-clock time too: when it was filmed is not known.
    return Analysis(moment.index, moment.at, moment.at, faces, moment.ended)
