"""Recognises faces that never move: posters, screens that stand still, statues.

A face is static when it has been seen for `after_s` seconds, its landmarks have stayed where they
were except for the detector's tremble, and all its scored faces look alike. It is remembered by
place and embedding, without a picture, so that it is known again at its first score, also after a
reconnection. Minutes are asked for, because somebody who sits still for some seconds would
otherwise be taken for a picture the next time.

Measured: the landmarks of 48 still pictures (faces of 50 and 90 pixels, noise of 2 and 4 grey
levels, JPEG, flickering light) stray by 0.006 of the face's size (median) and 0.022 (most), and no
two of their faces are less alike than 0.77. Those of a person who sits and signs stray by 0.040 and
more within three seconds, and two of the faces are no more alike than 0.70; that is one person, so
take the borders as provisional.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["StaticFaces", "StaticRules"]

_MOST_REMEMBERED = 32


@dataclass(frozen=True, slots=True)
class StaticRules:
    """When a face counts as static.

    Attributes:
        after_s: how long it must have been seen, seconds.
        sightings: how many sightings and, of these, a fifth scored.
        stray: root mean square distance of the landmarks from their means, in sizes of the face.
        alike: least cosine of each scored face to their mean.
        place: distance in sizes of the face within which a face is in the place of a known one.
        again: least cosine of a face in that place to the known one.
    """

    after_s: float = 300.0
    sightings: int = 10
    stray: float = 0.025
    alike: float = 0.75
    place: float = 0.15
    again: float = 0.6


@dataclass(slots=True, eq=False)
class _Watched:
    """Running sums over the sightings of a track; of constant size."""

    first_at: float
    last_at: float
    count: int
    landmarks: NDArray[np.float64]
    squares: float
    size: float
    embedding: NDArray[np.float64] | None = None
    scored: int = 0
    odd: bool = False

    def stray(self) -> float:
        mean = self.landmarks / self.count
        spread = self.squares / self.count - float((mean**2).sum())
        return math.sqrt(max(0.0, spread) / len(mean)) / (self.size / self.count)


@dataclass(slots=True, eq=False)
class _Known:
    place: NDArray[np.float64]
    size: float
    embedding: NDArray[np.float64]
    forwarded: bool = False


@dataclass(slots=True, eq=False)
class StaticFaces:
    """The static faces of one camera; bounded by its live tracks and 32 remembered faces."""

    rules: StaticRules = field(default_factory=StaticRules)
    _watched: dict[int, _Watched] = field(default_factory=dict)
    _known: list[_Known] = field(default_factory=list)
    _static: dict[int, _Known] = field(default_factory=dict)
    _again: set[int] = field(default_factory=set)

    def __len__(self) -> int:
        """How many live tracks are static."""
        return len(self._static)

    def seen(self, track_id: int, landmarks: NDArray[np.float64], size: float, at: float) -> None:
        """Note a sighting.

        Args:
            landmarks: float64 [5, 2], pixels.
            size: root of the box's area, pixels.
            at: monotonic seconds.
        """
        watched = self._watched.get(track_id)
        if watched is None:
            zero = np.zeros_like(landmarks, dtype=np.float64)
            watched = self._watched[track_id] = _Watched(at, at, 0, zero, 0.0, 0.0)
        watched.last_at = at
        watched.count += 1
        watched.landmarks = watched.landmarks + landmarks
        watched.squares += float((landmarks**2).sum())
        watched.size += size

    def scored(self, track_id: int, embedding: NDArray[np.floating]) -> bool:
        """Take the embedding of a face of a track, and return whether the track is static."""
        watched = self._watched.get(track_id)
        if watched is None:
            return False
        face = np.asarray(embedding, np.float64)
        if watched.embedding is not None and _cosine(face, watched.embedding) < self.rules.alike:
            watched.odd = True
        watched.embedding = face if watched.embedding is None else watched.embedding + face
        watched.scored += 1
        if track_id not in self._static:
            known = self._find(watched, face)
            if known is not None:
                self._static[track_id] = known
                if known.forwarded:
                    self._again.add(track_id)
            elif self._rests(watched):
                self._static[track_id] = self._remember(watched)
        return track_id in self._static

    def is_static(self, track_id: int) -> bool:
        """Whether a track is known to be static."""
        return track_id in self._static

    def was_forwarded(self, track_id: int) -> bool:
        """Whether a track is a static face that was forwarded in an earlier track."""
        return track_id in self._again

    def ended(self, track_id: int, *, forwarded: bool = False) -> None:
        """Forget a track; a static face is remembered, and whether it was forwarded."""
        self._watched.pop(track_id, None)
        self._again.discard(track_id)
        known = self._static.pop(track_id, None)
        if known is not None:
            known.forwarded = known.forwarded or forwarded

    def _rests(self, watched: _Watched) -> bool:
        return (
            not watched.odd
            and watched.last_at - watched.first_at >= self.rules.after_s
            and watched.count >= self.rules.sightings
            and watched.scored >= self.rules.sightings // 5
            and watched.stray() <= self.rules.stray
        )

    def _find(self, watched: _Watched, face: NDArray[np.float64]) -> _Known | None:
        place = (watched.landmarks / watched.count).mean(axis=0)
        size = watched.size / watched.count
        for known in self._known:
            if (
                float(np.hypot(*(place - known.place))) <= self.rules.place * known.size
                and abs(math.log(size / known.size)) <= self.rules.place
                and _cosine(face, known.embedding) >= self.rules.again
            ):
                return known
        return None

    def _remember(self, watched: _Watched) -> _Known:
        assert watched.embedding is not None
        place = (watched.landmarks / watched.count).mean(axis=0)
        size = watched.size / watched.count
        # The same face anew takes the place of what was known of it.
        self._known = [
            known
            for known in self._known
            if float(np.hypot(*(place - known.place))) > self.rules.place * known.size
        ]
        self._known.append(_Known(place, size, watched.embedding))
        del self._known[:-_MOST_REMEMBERED]
        return self._known[-1]


def _cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / length if length > 0 else 0.0
