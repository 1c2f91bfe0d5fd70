"""The gate of the daemon, run on a table of scores instead of a scorer.

The `Selector` is the one of the daemon. It is shown the same faces in the same order as by
`CameraPipeline` when no frame may be dropped; only the waiting is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamgate.config import CameraConfig
from streamgate.lab.replay.recording import Moment, Recording
from streamgate.selection.identity import IdentityRules
from streamgate.selection.selector import Selector, SelectorEvent
from streamgate.values import (
    Analysis,
    Release,
    ReleaseReason,
    SeenFace,
    TrackDecision,
    TrackOutcome,
    TracksJoined,
)

__all__ = ["Run", "simulate"]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What the gate decided on a recording.

    Attributes:
        releases: in the order in which faces were released.
        decisions: one for each track, in the order in which tracks ended.
        scored: frame of each face that was scored, and the tracker's number of it.
        visits: the visit of each sighting, by frame and the tracker's number; see `Recording`.
    """

    releases: tuple[Release, ...]
    decisions: tuple[TrackDecision, ...]
    scored: frozenset[tuple[int, int]]
    visits: Mapping[tuple[int, int], int]


def simulate(recording: Recording, config: CameraConfig, *, share: float | None = None) -> Run:
    """Run the configured gate over a recording.

    Args:
        share: share of the faces that may be scored; default: as configured.
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
            identity=IdentityRules.of(config.gate.visit_s, recording.identity),
            zones=config.zones,
            non_faces=recording.non_faces,
        )
        self._table = {
            (moment.index, seen.track_id): seen.face
            for moment in recording.moments
            for seen in moment.seen
            if seen.face is not None
        }
        self._scored: set[tuple[int, int]] = set()
        self._events: list[SelectorEvent] = []
        # The track of each sighting when it was seen, and what tracks became.
        self._tracks: dict[tuple[int, int], int] = {}

    def run(self) -> Run:
        at = 0.0
        for moment in self._recording.moments:
            at = moment.at
            self._events += self._selector.seen(_analysis(moment), at)
            self._score(at)
            self._events += self._selector.tick(at)
            for seen in moment.seen:
                number = seen.track_id
                # Faces before their track is in a watch zone are nobody's choice.
                if self._selector.may_count(number):
                    self._tracks[moment.index, number] = self._selector.track_of(number)
        self._events += self._selector.end(ReleaseReason.STREAM_ENDED, at)
        self._score(at)
        return Run(
            releases=tuple(e for e in self._events if isinstance(e, Release)),
            decisions=tuple(e for e in self._events if isinstance(e, TrackDecision)),
            scored=frozenset(self._scored),
            visits=self._visits(),
        )

    def _visits(self) -> dict[tuple[int, int], int]:
        became = {e.join.track_id: e.track_id for e in self._events if isinstance(e, TracksJoined)}
        visits = {
            e.track_id: e.visit
            for e in self._events
            if isinstance(e, TrackDecision) and e.outcome is not TrackOutcome.OUTSIDE_ZONES
        }
        found = {}
        for sighting, seen_as in self._tracks.items():
            track = seen_as
            while track in became:
                track = became[track]
            # A false detection has no decision, and what never entered a zone is no visit.
            if track in visits:
                found[sighting] = visits[track]
        return found

    def _score(self, at: float) -> None:
        while batch := self._selector.next_batch(self._batch_size, at):
            keys = [(candidate.frame_index, candidate.track_id) for candidate in batch]
            self._scored.update(keys)
            self._events += self._selector.scored([self._table[key] for key in keys], at)


def _analysis(moment: Moment) -> Analysis:
    faces = tuple(
        SeenFace(
            seen.tracked,
            None if seen.face is None else seen.face.candidate,
            seen.rejection,
            seen.zone,
        )
        for seen in moment.seen
    )
    # The time of the video serves as wall-clock time too, since its date is not known.
    return Analysis(
        moment.index, moment.at, moment.at, faces, moment.ended,
        began=moment.began, confirmed=moment.confirmed, dismissed=moment.dismissed,
    )  # fmt: skip
