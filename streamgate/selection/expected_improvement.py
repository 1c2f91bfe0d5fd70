"""How much an unscored face is expected to improve on the best of its track.

A track's quality is a curve over time: faces a moment apart score alike, and cheap measures explain
part of what changes between them. So the quality of an unscored face is predicted from those of its
scored neighbours, with less certainty the further away in time they are. `expected_gain` is how
much the face would add, on average, to the best of its track (the *expected improvement* of
Bayesian optimisation).

The curve is modelled as a process whose correlation falls exponentially with time (the
Ornstein-Uhlenbeck kernel), plus noise from frame to frame. Given its two scored neighbours, a face
then depends on no others. The constants are in seconds and in points of calibrated quality,
never in raw scores, and were chosen on 24 recordings (signing, a stage, and people who walk through
a room, come near, turn soft, dark or half hidden; 41 tracks, 6,300 faces).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

from streamgate.values import FaceMeasures

__all__ = ["ExpectedImprovement", "prior_score"]

_CORRELATION_S = 0.35
"""Time in which the correlation falls to 1/e; measured, it is 0.57 after 0.2 s."""
_CHANCE = 0.1
"""Variance of the noise from frame to frame, as a part of the track's own variance."""
_PRIOR_POINTS = 0.7
"""Points of quality for one unit of prior score, as a part of the track's standard deviation."""
_DEVIATION = 8.0
_DEVIATION_FACES = 4.0
"""The standard deviation that is assumed before a track has scores, points of quality, and how many
pairs of faces that assumption weighs."""
_FORGETTING = 0.99
_MOST_SCORED = 128
_UNKNOWN = 1e3


def prior_score(measures: FaceMeasures) -> float:
    """Predict a face's score from its cheap measures, in standard deviations of its track.

    Only differences within a track mean anything. The weights are those of a least-squares fit
    with no weight below zero, within the tracks of the recordings named above, rounded; it
    explains a third of the variance of people who walk, and little of people who stand. Head turn
    was too rare there to be fitted; its weight is an estimate.
    """
    return (
        5.0 * measures.detector_score
        + 0.5 * math.log(min(60.0, max(8.0, measures.eye_distance_px)))
        - 0.4 * min(90.0, abs(measures.yaw_deg)) / 30.0
        - 0.4 * min(90.0, abs(measures.pitch_deg)) / 30.0
        + 0.5 * math.log(min(40.0, max(0.5, measures.sharpness)))
        + 1.2 * min(110.0, measures.brightness) / 50.0
        - 2.0 * max(0.0, measures.brightness - 150.0) / 50.0
        + 0.5 * math.log(min(60.0, max(4.0, measures.contrast)))
    )


class ExpectedImprovement:
    """Predicts the quality of a track's unscored faces from its scored ones; bounded."""

    def __init__(self) -> None:
        # In the order of capture: time, quality, prior score.
        self._at: list[float] = []
        self._quality: list[float] = []
        self._prior: list[float] = []
        # Summed once per score, not once per prediction: predictions are thirty times as many.
        self._quality_sum = 0.0
        self._prior_sum = 0.0
        self._squares = _DEVIATION_FACES * _DEVIATION**2
        self._pairs = _DEVIATION_FACES

    def learn(self, at: float, quality: float, prior: float) -> None:
        """Add a scored face, captured at `at` seconds."""
        place = bisect_left(self._at, at)
        for neighbour in range(max(0, place - 1), min(place + 1, len(self._at))):
            correlation = _correlation(self._at[neighbour] - at)
            apart = (self._quality[neighbour] - quality) ** 2
            self._squares = _FORGETTING * self._squares + apart / (2 * (1 - correlation + _CHANCE))
            self._pairs = _FORGETTING * self._pairs + 1
        self._at.insert(place, at)
        self._quality.insert(place, quality)
        self._prior.insert(place, prior)
        if len(self._at) > _MOST_SCORED:
            for column in (self._at, self._quality, self._prior):
                del column[0]
        # Summed again rather than updated, so that rounding errors do not add up over a long track.
        self._quality_sum, self._prior_sum = sum(self._quality), sum(self._prior)

    def expected_gain(self, at: float, prior: float, to_beat: float) -> float:
        """Return the expected improvement of a face over `to_beat`, points: E[max(0, q - to_beat)].

        While a track has no scores, its faces come before those of all other tracks.
        """
        if to_beat == math.inf:
            return 0.0
        if not self._at:
            return _UNKNOWN + prior
        expected, deviation = self._expect(at, prior)
        u = (expected - to_beat) / deviation
        below = 0.5 * (1.0 + math.erf(u / math.sqrt(2.0)))
        density = math.exp(-0.5 * u * u) / math.sqrt(2.0 * math.pi)
        # Far below, the two terms cancel, except for rounding.
        return max(0.0, deviation * (u * below + density))

    def _expect(self, at: float, prior: float) -> tuple[float, float]:
        """Return the mean and standard deviation of the predicted quality of a face."""
        deviation = math.sqrt(self._squares / self._pairs)
        slope = _PRIOR_POINTS * deviation
        # What the prior score leaves unexplained of each scored face, and the mean of that.
        mean = (self._quality_sum - slope * self._prior_sum) / len(self._at)
        place = bisect_left(self._at, at)
        neighbours = range(max(0, place - 1), min(place + 1, len(self._at)))
        weights, variance = _interpolate(at, [self._at[i] for i in neighbours])
        known = sum(
            weight * (self._quality[i] - slope * self._prior[i] - mean)
            for weight, i in zip(weights, neighbours, strict=True)
        )
        return mean + known + slope * prior, deviation * math.sqrt(variance)


def _interpolate(at: float, known: Sequence[float]) -> tuple[list[float], float]:
    """Return weights for one or two neighbours at times `known`, and the remaining variance."""
    whole = 1.0 + _CHANCE
    near = [_correlation(at - time) for time in known]
    if len(near) == 1:
        weights = [near[0] / whole]
    else:
        between = _correlation(known[1] - known[0])
        determinant = whole**2 - between**2
        weights = [
            (whole * near[0] - between * near[1]) / determinant,
            (whole * near[1] - between * near[0]) / determinant,
        ]
    explained = sum(w * k for w, k in zip(weights, near, strict=True))
    return weights, whole - explained


def _correlation(seconds: float) -> float:
    return math.exp(-abs(seconds) / _CORRELATION_S)
