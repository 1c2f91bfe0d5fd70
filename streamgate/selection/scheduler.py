"""Which of the faces that wait for the scorer are worth its time.

The scorer is the slowest stage. New faces do not queue for it, they compete. A face is not scored
if it can hardly win (see `expected_improvement`), or if the budget of its track is spent. Each face
of a track that passes the prechecks adds a part of a score, `share`, to the budget. What is saved
in a poor moment is spent in a good one; and because faces wait for a while, the moments around a
good face can still be scored afterwards. So a slow scorer or a small budget reduces the choice, but
never adds delay or memory.

Scored first are faces of tracks whose person is unknown; then faces of tracks that are about to be
decided, in the order of their deadlines; then the face, of all tracks, with the largest expected
improvement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from streamgate.selection.expected_improvement import ExpectedImprovement, prior_score
from streamgate.values import Candidate, ReleaseTarget, ScoredFace, Skipped, SkipReason

__all__ = ["Scheduler"]

_PER_TRACK = 20
"""Most faces of one track that wait. With 6, regret is 0.7 points larger; 40 gain nothing more."""
_FIRST_SCORES = 1.0
_MOST_SCORES = 4.0
"""Scores in a track's budget at its start, and the most that it can save."""
_PRICE_POINTS = 0.3
"""Least expected improvement, points, of a face on which the last score in the budget would be
spent. The more scores are saved, the less is needed."""
_LEAST_GAIN = 0.02
_SOON_S = 0.3
"""A track whose decision is due within this time spends all its savings, seconds."""


def _nothing_is_urgent(_track_id: int) -> bool:
    return False


def _anything_wins(_track_id: int) -> ReleaseTarget:
    return ReleaseTarget(to_beat=-math.inf, deadline=math.inf)


@dataclass(slots=True)
class _Waiting:
    """One track: its waiting faces, in the order of capture, and what its scores predict."""

    faces: list[Candidate] = field(default_factory=list)
    priors: list[float] = field(default_factory=list)
    scored: ExpectedImprovement = field(default_factory=ExpectedImprovement)
    scores: float = _FIRST_SCORES
    ending: bool = False
    # Expected improvement of each face; valid until a score arrives or `_to_beat` changes.
    _gains: list[float] = field(default_factory=list)
    _to_beat: float = math.nan

    def add(self, face: Candidate) -> None:
        self.faces.append(face)
        self.priors.append(prior_score(face.measures))

    def pop(self, place: int) -> Candidate:
        for column in (self.priors, self._gains):
            if place < len(column):
                del column[place]
        return self.faces.pop(place)

    def clear(self) -> list[Candidate]:
        faces = self.faces.copy()
        for column in (self.faces, self.priors, self._gains):
            column.clear()
        return faces

    def learn(self, face: ScoredFace) -> None:
        candidate = face.candidate
        prior = prior_score(candidate.measures)
        self.scored.learn(candidate.captured_at, face.quality, prior)
        self._gains.clear()

    def gains(self, to_beat: float) -> list[float]:
        """Return the expected improvement of each face, points; only new ones are computed."""
        if to_beat != self._to_beat:
            self._gains.clear()
            self._to_beat = to_beat
        known = len(self._gains)
        self._gains += [
            self.scored.expected_gain(face.captured_at, prior, to_beat)
            for face, prior in zip(self.faces[known:], self.priors[known:], strict=True)
        ]
        return self._gains


@dataclass(frozen=True, slots=True)
class _Offer:
    """The face of a track that should be scored next; offers compare by `rank`, lowest first."""

    rank: tuple[int, float, int]
    track_id: int
    place: int


class Scheduler:
    """Holds the faces that wait: at most 20 per track and `max_pending` in all.

    Args:
        max_pending: the most faces that wait.
        share: share of a track's faces that may be scored, 0-1; at 1 every face is scored that
            is not displaced by others.
        target_of: returns what a face of a track must beat, and until when.
        urgent: returns whether a face of a track should be scored before all others, whatever the
            budget.
    """

    def __init__(
        self,
        max_pending: int,
        *,
        share: float = 1.0,
        target_of: Callable[[int], ReleaseTarget] = _anything_wins,
        urgent: Callable[[int], bool] = _nothing_is_urgent,
    ) -> None:
        self.max_pending = max_pending
        self.share = share
        self._target_of = target_of
        self._urgent = urgent
        self._tracks: dict[int, _Waiting] = {}

    def __len__(self) -> int:
        return sum(len(track.faces) for track in self._tracks.values())

    def waits(self, track_id: int, at: float) -> bool:
        """Return whether a waiting face of the track should be scored now."""
        track = self._tracks.get(track_id)
        return track is not None and self._best(track_id, track, at) is not None

    def offer(self, candidate: Candidate) -> list[Skipped]:
        """Add a face; return those that will not be scored, which may include itself."""
        track = self._tracks.setdefault(candidate.track_id, _Waiting())
        track.scores = min(_MOST_SCORES, track.scores + self.share)
        if self._target_of(candidate.track_id).to_beat == math.inf:
            left = (*track.clear(), candidate)
            return [Skipped(face, SkipReason.CANNOT_WIN) for face in left]
        track.add(candidate)
        lost: list[Skipped] = []
        if len(track.faces) > _PER_TRACK:
            lost.append(self._drop(candidate.track_id))
        while len(self) > self.max_pending:
            most = max(len(track.faces) for track in self._tracks.values())
            fullest = [i for i, track in self._tracks.items() if len(track.faces) == most]
            lost.append(self._drop(min(fullest, key=self._least_gain)))
        return lost

    def take(self, count: int, at: float) -> list[Candidate]:
        """Remove and return up to `count` faces to be scored at `at` seconds, best first.

        With a budget, a track gives one face at a time: its score decides which one is next.
        """
        taken: list[Candidate] = []
        while len(taken) < count:
            room = count - len(taken)
            offers = sorted(self._offers(at), key=lambda offer: offer.rank)[:room]
            for offer in offers:
                track = self._tracks[offer.track_id]
                track.scores -= 1.0
                taken.append(track.pop(offer.place))
            if not offers or self.share < 1.0:
                break
        return taken

    def learn(self, face: ScoredFace) -> None:
        """Learn from the score of a face that was taken."""
        track = self._tracks.get(face.candidate.track_id)
        if track is not None:
            track.learn(face)

    def end(self, track_id: int) -> None:
        """Let a track spend all its savings, because it has ended."""
        if track_id in self._tracks:
            self._tracks[track_id].ending = True

    def forget(self, track_id: int) -> list[Skipped]:
        """Remove a track and return its faces that were not scored."""
        track = self._tracks.pop(track_id, None)
        if track is None:
            return []
        reason = SkipReason.CANNOT_WIN if track.scores >= 1.0 else SkipReason.OVER_BUDGET
        return [Skipped(face, reason) for face in track.faces]

    def clear(self) -> list[Candidate]:
        """Remove and return all faces that wait."""
        left = [face for track in self._tracks.values() for face in track.faces]
        self._tracks.clear()
        return left

    def _offers(self, at: float) -> Iterator[_Offer]:
        for track_id, track in self._tracks.items():
            offer = self._best(track_id, track, at)
            if offer is not None:
                yield offer

    def _best(self, track_id: int, track: _Waiting, at: float) -> _Offer | None:
        """Return the face of a track to be scored next, if one is worth it now."""
        if not track.faces:
            return None
        urgent = self._urgent(track_id)
        bounded = self.share < 1.0 and not urgent
        if bounded and track.scores < 1.0:
            return None
        target = self._target_of(track_id)
        gains = track.gains(target.to_beat)
        place = max(range(len(gains)), key=gains.__getitem__)
        deadline = at if track.ending else target.deadline
        soon = deadline - at <= _SOON_S
        least = _LEAST_GAIN if soon else _price(track.scores)
        if target.to_beat == math.inf or (bounded and gains[place] < least):
            return None
        rank = (1, deadline, track_id) if soon else (2, -gains[place], track_id)
        if urgent:
            rank = (0, -gains[place], track_id)
        return _Offer(rank, track_id, place)

    def _least_gain(self, track_id: int) -> float:
        return min(self._tracks[track_id].gains(self._target_of(track_id).to_beat))

    def _drop(self, track_id: int) -> Skipped:
        """Drop the face of a track with the least expected improvement."""
        track = self._tracks[track_id]
        gains = track.gains(self._target_of(track_id).to_beat)
        # Among equals the oldest is dropped: the newest shows the present.
        place = min(range(len(gains)), key=gains.__getitem__)
        gain = gains[place]
        if self.share < 1.0 and gain < _LEAST_GAIN:
            reason = SkipReason.CANNOT_WIN
        elif self.share < 1.0 and (track.scores < 1.0 or gain < _price(track.scores)):
            reason = SkipReason.OVER_BUDGET
        else:
            # It would have been scored by now, had the scorer been free.
            reason = SkipReason.MORE_PROMISING_FACE
        return Skipped(track.pop(place), reason)


def _price(scores: float) -> float:
    """Return the least expected improvement that is worth a score, by the scores that are saved.

    With a full budget it is zero: faces that seem hopeless are scored now and then, because a
    prediction that is never tested stays wrong. Without this, regret is a point larger.
    """
    return _PRICE_POINTS * max(0.0, 1.0 - scores / _MOST_SCORES)
