"""Decides which tracks are one person, from the embeddings of their scored faces.

The tracker breaks a person into tracklets when it is unsure (see `faces.track`). The embedding that
comes with each score tells which tracklets belong together. Tracks of one person within `visit_s`
are one *visit*, and the gate forwards faces per visit.

Pure: time is an argument, and the same observations give the same visits. In doubt, two tracks are
two visits: one visit too many costs a needless best shot, one too few loses a person.

The similarity of two tracks is the mean of two cosines: that of their mean embeddings, each face
weighted by the square of its quality, and that of their two most similar faces. The mean embedding
of the camera is subtracted first: all faces of a camera share its light and noise, which say
nothing about identity. It is learnt as the mean over visits, each counting once. Two people who are
seen in the same frame are never one person.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product

import numpy as np
from numpy.typing import NDArray

from streamgate.values import IdentityThresholds

__all__ = [
    "Identities",
    "IdentityEvent",
    "IdentityRules",
    "Joined",
    "Split",
    "Verdict",
    "VisitEnded",
]

_FACES_KEPT = 12
"""Scored faces of one track that are kept, to find splits and the most similar pair."""
_FACES_COMPARED = 12
_FIT_QUALITY = 30.0
_CENTRE_PRIOR = 6.0
"""So many visits weigh as much as knowing nothing."""
_KNOWN = 0.6
"""Who is more like the centre than this is in it already: a family that comes and goes all day is
not what all faces have in common. With six strangers in it nobody is by chance."""
_MOST_DIFFERENT = 0.10
"""Faces of one person that are damaged in two ways are less alike than photographs of a set."""
_LEAST_WEIGHT = 1.0
_LEAST_MEMORY_S = 10.0
"""What may be continued is remembered for so long, however short a visit may be."""


@dataclass(frozen=True, slots=True, eq=False)
class IdentityRules:
    """Thresholds of similarity and quality for joining and splitting tracks.

    `of` takes the similarities from a calibration. The defaults are for weights that have none:
    so high that a network which tells people apart at all joins hardly any two people, and a few
    needless best shots are the price.

    Measured with the default weights on nineteen scenes of people that they have not seen, at 25,
    12.5 and 5 pictures a second. Where both tracks had a face of quality 30, of 51,679 pairs of two
    people 1 in 700 was as alike as 0.32, 1 in 3,000 as 0.38, 1 in 12,000 as 0.42 and none as 0.45;
    0.97, 0.94, 0.93 and 0.91 of the pairs of one person, seen from one photograph, were. Of 1,742
    pairs of which one might continue the other but was somebody else, 1 in 250 was as alike as
    0.32; of one person's, 0.96 were. Of the calibration set's 1.1 million centred pairs of two
    people, 1 in 10,000 reaches 0.474 and 1 in 200 reaches 0.318; with sets of two and of three
    faces, 0.478 and 0.482, and 0.340 and 0.356.

    Attributes:
        visit_s: tracks of one person that follow each other within this time are one visit; 0 joins
            only tracks that the tracker says may continue each other.
        same: similarity from which two tracks anywhere are one person.
        continued: similarity from which a track is one that it may continue, by its place and time.
        different: similarity below which two tracks are two people, if both are good enough.
        margin: how much more alike the two must be than either is to somebody else.
        same_quality: quality that the best face of either must have for `same`.
        continued_quality: quality that the best face of either must have for `continued`.
        good_quality: quality from which a face of one and one of the other may be called different.
        split: similarity of the two parts of a track below which they are two people.
    """

    visit_s: float = 60.0
    same: float = 0.60
    continued: float = 0.45
    different: float = 0.05
    margin: float = 0.05
    same_quality: float = 30.0
    continued_quality: float = 20.0
    good_quality: float = 40.0
    split: float = 0.0

    @classmethod
    def of(cls, visit_s: float, thresholds: IdentityThresholds | None) -> IdentityRules:
        """Return the rules of weights with these thresholds, the defaults where there are none."""
        if thresholds is None:
            return cls(visit_s=visit_s)
        return cls(
            visit_s=visit_s,
            same=thresholds.same,
            continued=thresholds.continued,
            different=min(thresholds.different, _MOST_DIFFERENT),
        )


class Verdict(StrEnum):
    """Whether two tracks are one person."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Joined:
    """Two visits are one person.

    Attributes:
        visit: the visit that continues, the older one.
        joined: the visit that becomes a part of it.
        tracks: its tracks.
        similarity: how alike they are.
        continued: whether the tracker had said that one may continue the other.
    """

    visit: int
    joined: int
    tracks: tuple[int, ...]
    similarity: float
    continued: bool


@dataclass(frozen=True, slots=True)
class Split:
    """A track changed from one person to another.

    Attributes:
        track_id: the track.
        at: monotonic seconds of the first face of the second person.
        visit: number of a new visit, of the faces from then on.
        similarity: how alike the two parts are.
    """

    track_id: int
    at: float
    visit: int
    similarity: float


@dataclass(frozen=True, slots=True)
class VisitEnded:
    """A visit that no track can join any more."""

    visit: int


IdentityEvent = Joined | Split | VisitEnded


@dataclass(frozen=True, slots=True, eq=False)
class _Face:
    at: float
    quality: float
    embedding: NDArray[np.float64]

    @property
    def weight(self) -> float:
        return max(_LEAST_WEIGHT, self.quality**2)


@dataclass(slots=True, eq=False)
class _Track:
    """A track: when it was seen, and its best scored faces, in the order of time."""

    first_at: float
    last_at: float
    may_continue: frozenset[int]
    visit: int
    faces: list[_Face] = field(default_factory=list)
    scored: int = 0
    live: bool = True

    def add(self, face: _Face) -> None:
        self.faces.append(face)
        self.faces.sort(key=lambda one: one.at)
        self.scored += 1
        if len(self.faces) > _FACES_KEPT:
            self.faces.remove(min(self.faces, key=lambda one: one.quality))


@dataclass(slots=True, eq=False)
class _Visit:
    tracks: set[int]
    template: NDArray[np.float64] | None = None
    best_quality: float = 0.0
    faces: list[_Face] = field(default_factory=list)


class Identities:
    """The visits of one camera.

    Bounded by what is seen within `visit_s`: a visit is forgotten when its tracks have ended and it
    can be joined no more.
    """

    def __init__(self, rules: IdentityRules) -> None:
        self.rules = rules
        self._tracks: dict[int, _Track] = {}
        self._visits: dict[int, _Visit] = {}
        self._next_part = -1
        self._latest_at = -math.inf
        self._votes: NDArray[np.float64] = np.zeros(1)
        self._voters = 0
        self._known_center: NDArray[np.float64] | None = None

    def began(self, track_id: int, may_continue: Iterable[int], at: float) -> None:
        """Note a track's first sighting, and which lost tracks it may continue.

        Of a lost track whose faces are too poor to say whose it is, it may also be whoever that
        one may be.
        """
        lost = {one for one in may_continue if one in self._tracks}
        for one in tuple(lost):
            if self.is_unknown(one):
                lost |= self._tracks[one].may_continue & self._tracks.keys()
        self._tracks[track_id] = _Track(at, at, frozenset(lost), track_id)
        self._visits[track_id] = _Visit({track_id})
        self._latest_at = max(self._latest_at, at)

    def seen(self, track_id: int, at: float) -> None:
        """Note another sighting of a track."""
        self._tracks[track_id].last_at = at
        self._latest_at = max(self._latest_at, at)

    def ended(self, track_id: int) -> None:
        """Note that a track will not be seen any more."""
        if track_id in self._tracks:
            self._tracks[track_id].live = False

    def dismissed(self, track_id: int) -> None:
        """Forget a track that was a false detection."""
        track = self._tracks.pop(track_id, None)
        if track is not None:
            self._leave(track_id, track.visit)

    def visit_of(self, track_id: int) -> int:
        """Return the visit that a track belongs to: the number of its first track."""
        return self._tracks[track_id].visit

    def tracks_of(self, visit: int) -> tuple[int, ...]:
        """Return the tracks of a visit, oldest first."""
        return tuple(sorted(self._visits[visit].tracks))

    def __contains__(self, track_id: int) -> bool:
        """Whether a track is remembered."""
        return track_id in self._tracks

    def is_unknown(self, track_id: int) -> bool:
        """Return whether nothing can be said yet of whose a track is: its faces are too poor."""
        visit = self._visits[self._tracks[track_id].visit]
        return visit.tracks == {track_id} and visit.best_quality < self.rules.continued_quality

    def wants_score(self, track_id: int, most: int = 3) -> bool:
        """Return whether a face of the track should be scored soon, because its person is unknown.

        Args:
            most: number of scored faces after which a track is not urgent any more.
        """
        track = self._tracks[track_id]
        alone = self._visits[track.visit].tracks == {track_id}
        return track.scored == 0 or (alone and bool(track.may_continue) and track.scored < most)

    def same(self, one: int, other: int) -> Verdict:
        """Compare the visits of two tracks by what is known so far."""
        first, second = self._tracks[one].visit, self._tracks[other].visit
        if first == second:
            return Verdict.SAME
        if self._together(first, second):
            return Verdict.DIFFERENT
        similarity = self._similarity(first, second)
        if similarity is None:
            return Verdict.UNKNOWN
        if similarity >= self._wanted(first, second):
            return Verdict.SAME
        return Verdict.DIFFERENT if self._differ(first, second, similarity) else Verdict.UNKNOWN

    def scored(
        self, track_id: int, embedding: NDArray[np.floating], quality: float, at: float
    ) -> list[IdentityEvent]:
        """Take a scored face of a track, captured at `at`, and return what it changes.

        Args:
            embedding: normalised to length 1, float [E].
        """
        track = self._tracks[track_id]
        track.add(_Face(at, quality, np.asarray(embedding, np.float64)))
        events: list[IdentityEvent] = []
        split = self._split(track_id, track)
        if split is not None:
            events.append(split)
        self._refresh(track.visit)
        for visit in {track.visit} | ({split.visit} if split else set()):
            events += self._join(visit)
        return events

    def tick(self, at: float) -> list[IdentityEvent]:
        """Return the visits that have ended, and forget them."""
        memory_s = max(self.rules.visit_s, _LEAST_MEMORY_S)
        over = [
            visit
            for visit, known in self._visits.items()
            if all(
                not self._tracks[one].live and at - self._tracks[one].last_at > memory_s
                for one in known.tracks
            )
        ]
        for visit in over:
            self._vote(visit)
            for track_id in self._visits.pop(visit).tracks:
                del self._tracks[track_id]
        return [VisitEnded(visit) for visit in over]

    def _join(self, visit: int) -> list[IdentityEvent]:
        """Join a visit with others, the most similar first, until none is similar enough."""
        events: list[IdentityEvent] = []
        while (found := self._most_similar(visit)) is not None:
            other, similarity = found
            older, younger = sorted((visit, other), key=self._first_at)
            events.append(
                Joined(
                    visit=older,
                    joined=younger,
                    tracks=self.tracks_of(younger),
                    similarity=similarity,
                    continued=self._continues(older, younger),
                )
            )
            for track_id in self._visits.pop(younger).tracks:
                self._tracks[track_id].visit = older
                self._visits[older].tracks.add(track_id)
            self._refresh(older)
            visit = older
        return events

    def _most_similar(self, visit: int) -> tuple[int, float] | None:
        similarities = {
            other: similarity
            for other in self._visits
            if other != visit
            and not self._together(visit, other)
            and self._near(visit, other)
            and (similarity := self._similarity(visit, other)) is not None
        }
        sure = {
            other: similarity - self._wanted(visit, other)
            for other, similarity in similarities.items()
            if similarity >= self._wanted(visit, other)
        }
        if not sure:
            return None
        best = max(sure, key=lambda other: sure[other])
        rival = max(
            (
                similarity
                for other, similarity in similarities.items()
                if other != best and self._apart(best, other)
            ),
            default=-math.inf,
        )
        if similarities[best] - rival < self.rules.margin:
            return None
        return best, similarities[best]

    def _apart(self, one: int, other: int) -> bool:
        """Return whether two visits are known to be different people."""
        if self._together(one, other):
            return True
        similarity = self._similarity(one, other)
        return similarity is not None and self._differ(one, other, similarity)

    def _differ(self, one: int, other: int, similarity: float) -> bool:
        worse = min(self._visits[one].best_quality, self._visits[other].best_quality)
        return worse >= self.rules.good_quality and similarity < self.rules.different

    def _together(self, one: int, other: int) -> bool:
        """Return whether tracks of both visits were seen at the same time.

        One shared frame, the last of one and the first of the other, does not count: there the
        tracker may have given the first one a stranger's face when it lost its own.
        """
        return any(
            _overlap(first, second) and not self._touch(first, second)
            for first, second in self._pairs(one, other)
        )

    def _touching(self, one: int, other: int) -> bool:
        """Return whether tracks of both visits share a frame.

        If the tracker was right in that frame, they are two people.
        """
        return any(_overlap(first, second) for first, second in self._pairs(one, other))

    def _touch(self, one: _Track, other: _Track) -> bool:
        """Return whether the later one begins in the frame in which the earlier one ends.

        Whether it ends there is known when it was not seen in a later frame.
        """
        if one.first_at > other.first_at:
            one, other = other, one
        return one.first_at < other.first_at == one.last_at < self._latest_at

    def _pairs(self, one: int, other: int) -> Iterator[tuple[_Track, _Track]]:
        others = [self._tracks[track] for track in self._visits[other].tracks]
        return product((self._tracks[track] for track in self._visits[one].tracks), others)

    def _near(self, one: int, other: int) -> bool:
        if self._continues(one, other):
            return True
        gap = max(self._first_at(one), self._first_at(other)) - min(
            self._last_at(one), self._last_at(other)
        )
        return gap <= self.rules.visit_s

    def _continues(self, one: int, other: int) -> bool:
        first, second = self._visits[one].tracks, self._visits[other].tracks
        return any(self._tracks[track].may_continue & second for track in first) or any(
            self._tracks[track].may_continue & first for track in second
        )

    def _wanted(self, one: int, other: int) -> float:
        if self._continues(one, other) and not self._touching(one, other):
            return self.rules.continued
        return self.rules.same

    def _similarity(self, one: int, other: int) -> float | None:
        """Return the similarity of two visits; None if too little is known about one of them."""
        first, second = self._visits[one], self._visits[other]
        if first.template is None or second.template is None:
            return None
        least = self.rules.same_quality
        if self._continues(one, other):
            least = self.rules.continued_quality
        if min(first.best_quality, second.best_quality) < least:
            return None
        center = self._center(len(first.template))
        means = _cosine(first.template - center, second.template - center)
        return (means + _most_similar_pair(first.faces, second.faces, center)) / 2

    def _center(self, size: int) -> NDArray[np.float64]:
        """What all faces of this camera have in common; float64 [E], near zero at first."""
        if self._known_center is None:
            total, voters = self._votes, self._voters
            for known in self._visits.values():
                if known.template is not None and _is_news(known.template, total):
                    total, voters = total + known.template, voters + 1
            self._known_center = np.zeros(size) + total / (_CENTRE_PRIOR + voters)
        return self._known_center

    def _vote(self, visit: int) -> None:
        template = self._visits[visit].template
        if template is not None and _is_news(template, self._votes):
            self._votes, self._voters = self._votes + template, self._voters + 1
        self._known_center = None

    def _refresh(self, visit: int) -> None:
        """Compute the mean embedding of a visit from the faces of its tracks."""
        known = self._visits[visit]
        self._known_center = None
        faces = [face for track in known.tracks for face in self._tracks[track].faces]
        if faces:
            known.template = _mean(faces)
            known.faces = sorted(faces, key=lambda face: -face.quality)[:_FACES_COMPARED]
            known.best_quality = known.faces[0].quality

    def _split(self, track_id: int, track: _Track) -> Split | None:
        """Find the point in a track at which its person changes.

        Both parts must contain two good faces, because a single face may be half hidden.
        """
        faces = [face for face in track.faces if face.quality >= self.rules.good_quality]
        if len(faces) < 4:
            return None
        center = self._center(len(faces[0].embedding))
        cuts = {
            cut: _cosine(_mean(faces[:cut]) - center, _mean(faces[cut:]) - center)
            for cut in range(2, len(faces) - 1)
        }
        cut = min(cuts, key=lambda one: cuts[one])
        if cuts[cut] >= self.rules.split:
            return None
        at = faces[cut].at
        part = self._next_part
        self._next_part -= 1
        # The faces before the split keep the visit, under a new number; the track continues.
        before = [face for face in track.faces if face.at < at]
        last = before[-1].at
        self._tracks[part] = _Track(
            track.first_at, last, track.may_continue, track.visit, before, track.scored, live=False
        )
        old = self._visits[track.visit]
        old.tracks.remove(track_id)
        old.tracks.add(part)
        self._refresh(track.visit)
        track.faces = [face for face in track.faces if face.at >= at]
        track.first_at, track.may_continue = at, frozenset()
        # A visit has the number of its first track, which may already be in use here.
        name = track_id if track_id not in self._visits else part
        self._visits[name] = _Visit({track_id})
        track.visit = name
        self._refresh(name)
        return Split(track_id, at, name, cuts[cut])

    def _leave(self, track_id: int, visit: int) -> None:
        known = self._visits[visit]
        known.tracks.discard(track_id)
        if not known.tracks:
            del self._visits[visit]
        else:
            self._refresh(visit)

    def _first_at(self, visit: int) -> float:
        return min(self._tracks[track].first_at for track in self._visits[visit].tracks)

    def _last_at(self, visit: int) -> float:
        return max(self._tracks[track].last_at for track in self._visits[visit].tracks)


def _overlap(one: _Track, other: _Track) -> bool:
    """Return whether both were seen at some moment."""
    return max(one.first_at, other.first_at) <= min(one.last_at, other.last_at)


def _mean(faces: Sequence[_Face]) -> NDArray[np.float64]:
    """Mean embedding, each face weighted by the square of its quality; float64 [E]."""
    weights = np.array([face.weight for face in faces])
    embeddings = np.stack([face.embedding for face in faces])
    return np.asarray(weights @ embeddings / weights.sum())


def _most_similar_pair(
    faces: Sequence[_Face], others: Sequence[_Face], center: NDArray[np.float64]
) -> float:
    """Cosine of the two faces that are most alike: heads that are turned alike compare best."""
    first, second = (_directions(some, center) for some in (faces, others))
    return float((first @ second.T).max())


def _directions(faces: Sequence[_Face], center: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centred embeddings of the faces that are fit to be compared, of length 1."""
    least = min(_FIT_QUALITY, faces[0].quality)
    rows = np.stack([face.embedding for face in faces if face.quality >= least]) - center
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))


def _is_news(template: NDArray[np.float64], votes: NDArray[np.float64]) -> bool:
    return not votes.any() or _cosine(template, votes) < _KNOWN


def _cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / length if length > 0 else 0.0
