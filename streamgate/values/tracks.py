"""What is decided about tracks and their faces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from streamgate.values.faces import Candidate, ScoredFace

__all__ = [
    "JoinReason",
    "Release",
    "ReleaseReason",
    "ReleaseTarget",
    "SkipReason",
    "Skipped",
    "TrackDecision",
    "TrackJoin",
    "TrackOutcome",
    "TracksJoined",
]


class SkipReason(StrEnum):
    """Why a face that passed the prechecks was not scored, or its score not used."""

    MORE_PROMISING_FACE = "more_promising_face"
    """The scorer is too slow, and a face with a larger expected improvement took its place."""
    CANNOT_WIN = "cannot_win"
    """It could hardly be better than the best of its track, or came after the track's release."""
    OVER_BUDGET = "over_budget"
    """The budget of its track was spent on others."""
    OUTSIDE_ZONES = "outside_zones"
    """There are watch zones, and its track had not been in one yet."""
    NOT_A_FACE = "not_a_face"
    """Its embedding is that of a picture without a face; its score is not used."""
    SCORER_FAILED = "scorer_failed"
    SCORER_AWAY = "scorer_away"
    """No scorer service answered in time."""
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True, eq=False)
class Skipped:
    """A candidate that will not be scored."""

    candidate: Candidate
    reason: SkipReason


@dataclass(frozen=True, slots=True)
class ReleaseTarget:
    """What a face of a track must beat to change what is released, and until when.

    Attributes:
        to_beat: the quality above which a face would change what is released; infinite if no
            face can any more.
        deadline: when the best face so far is released, monotonic seconds; infinite if only the
            end of the track decides.
    """

    to_beat: float
    deadline: float


class ReleaseReason(StrEnum):
    """Why the gate released a face at that moment."""

    TRACK_ENDED = "track_ended"
    QUALITY_REACHED = "quality_reached"
    MAX_WAIT = "max_wait"
    IMPROVED = "improved"
    STREAM_LOST = "stream_lost"
    STREAM_ENDED = "stream_ended"
    SHUTDOWN = "shutdown"


class TrackOutcome(StrEnum):
    """The outcome of a track; every track has exactly one."""

    FORWARDED = "forwarded"
    SAME_VISIT = "same_visit"
    """The same person was forwarded a moment before, in another track of the visit."""
    STATIC = "static"
    """A picture or a statue, which was forwarded in an earlier track."""
    TOO_YOUNG = "too_young"
    BELOW_MIN_QUALITY = "below_min_quality"
    OUTSIDE_ZONES = "outside_zones"
    """Its face was never in a watch zone."""
    ALL_REJECTED = "all_rejected"
    NOTHING_SCORED = "nothing_scored"


class JoinReason(StrEnum):
    """Why two tracks are taken for one person."""

    CONTINUED = "continued"
    """One begins where and when the other was lost, and they look alike."""
    ALIKE = "alike"
    """They look so much alike that it does not matter where they were seen."""


@dataclass(frozen=True, slots=True)
class TrackJoin:
    """A track that is the same person as an earlier one.

    Attributes:
        track_id: the track that was joined.
        similarity: how alike the two are, see `selection.identity`.
    """

    track_id: int
    similarity: float
    reason: JoinReason


@dataclass(frozen=True, slots=True)
class TracksJoined:
    """Two live tracks have become one: the younger one's number is used no more.

    Attributes:
        track_id: the track that goes on.
        join: the younger one, and why.
    """

    track_id: int
    join: TrackJoin


@dataclass(frozen=True, slots=True, eq=False)
class Release:
    """A face that the gate releases; a `BestShot` is made from it.

    Attributes:
        visit: number of the visit that the track belongs to: that of its first track.
        revision: 1 for the first face of the track that was released, then 2, 3, ...
        rank: 1 for the best of those released together, then 2, 3, ...
        at: monotonic seconds of the decision.
        template: quality-weighted mean embedding of the track's scored faces, of length 1,
            float32 [E]; None where it has none.
    """

    track_id: int
    revision: int
    rank: int
    reason: ReleaseReason
    face: ScoredFace
    at: float
    visit: int
    template: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TrackDecision:
    """The final decision on a track, forwarded or not.

    Attributes:
        outcome: what became of it.
        reason: what ended it.
        first_seen_at, last_seen_at, decided_at: monotonic seconds.
        first_seen_wall, last_seen_wall: Unix seconds.
        faces: detected faces of the track.
        scored: how many of them were scored.
        skipped: how many were not scored because they could not win or time was short.
        rejected: rejected faces by reason.
        best_quality, best_raw: of the best scored face; None where none was scored.
        forwarded: revisions that were forwarded.
        visit: number of the visit that the track belongs to: that of its first track.
        joins: tracks that became part of this one, and the track of the visit that it follows.
        zones: names of the watch zones that it was in, in the order in which it entered them.
    """

    track_id: int
    outcome: TrackOutcome
    reason: ReleaseReason
    first_seen_at: float
    last_seen_at: float
    first_seen_wall: float
    last_seen_wall: float
    decided_at: float
    faces: int
    scored: int
    skipped: int
    best_quality: float | None
    best_raw: float | None
    forwarded: int
    visit: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    joins: tuple[TrackJoin, ...] = ()
    zones: tuple[str, ...] = ()
