"""Whether recent faces are still like those of the calibration's reference.

A calibration makes quality the percentage of its reference that scores worse, so the reference's
own qualities are spread evenly over 0-100. Recent tracks are compared with that: a lens out of
focus, a lamp that has failed or a camera that was turned moves them down. A camera whose faces are
good but unlike the default reference is calibrated on its own traffic, and compared with that.

One face stands for each track, drawn at random from those that were scored: somebody who waits in
the picture for an hour counts once, and the best face of a track is no fair sample of faces. A
track whose faces were all too blurred or too badly lit to be scored counts as quality 0; otherwise
a camera that goes out of focus altogether would leave nothing to compare.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict, deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgate.config import DriftSection
from streamgate.values import TrackDecision, TrackOutcome

__all__ = ["UNSCORABLE", "Drift", "QualityDrift", "decline_of", "psi_of"]

_BINS = 5
"""Of n tracks that are like the reference the index is (bins - 1) / n on average: more bins would
need more tracks than a door sees in an hour."""
_HALF = 0.5
_DAY_S = 86_400.0
_MOST_LIVE = 1024
UNSCORABLE = frozenset({"blurred", "too_dark", "too_bright", "flat"})
"""Reasons of rejection that are due to the picture, not to the position of the person."""


@dataclass(frozen=True, slots=True)
class Drift:
    """Recent tracks against the reference.

    Attributes:
        tracks: how many are compared.
        decline: how far they fall below the reference, 0-1, see `decline_of`; NaN where they are
            too few or quality is not calibrated.
        psi: how much they differ in any way, see `psi_of`; NaN likewise.
    """

    tracks: int
    decline: float
    psi: float


def decline_of(quality: NDArray[np.float64]) -> float:
    """Return the one-sided Kolmogorov-Smirnov distance to the even spread over 0-100, 0-1.

    It is the largest surplus of faces below any quality q over the q % that the reference has
    there. Of n faces that are like the reference it exceeds d with a probability of about
    exp(-2 n d²).

    Args:
        quality: 0-100 [N], N ≥ 1.
    """
    below = np.arange(1, len(quality) + 1) / len(quality)
    return max(0.0, float(np.max(below - np.sort(quality) / 100.0)))


def psi_of(quality: NDArray[np.float64]) -> float:
    """Return the population stability index against the even spread over 0-100.

    Σ (p - r) ln(p / r) over five bins, with r = 1/5; half a face more in each bin keeps it finite.

    Args:
        quality: 0-100 [N], N ≥ 1.
    """
    counts, _ = np.histogram(quality, bins=_BINS, range=(0.0, 100.0))
    shares = (counts + _HALF) / (len(quality) + _HALF * _BINS)
    return float(np.sum((shares - 1 / _BINS) * np.log(shares * _BINS)))


class QualityDrift:
    """Keeps one quality for each recent track; bounded, and without a clock of its own.

    Compared are the tracks of the last `window_s`, the newest `most_tracks` of them; where the
    window has fewer than `least_tracks`, older ones of up to a day fill it up, so that a quiet
    door is watched as well.

    Args:
        calibrated: whether quality means the same for every network; if not, nothing is compared.
        seed: of the draw of each track's face.
    """

    def __init__(self, settings: DriftSection, *, calibrated: bool, seed: int | None = None):
        self._settings = settings
        self._calibrated = calibrated
        self._random = random.Random(seed)  # noqa: S311 - draws samples, guards nothing
        self._live: OrderedDict[int, tuple[int, float]] = OrderedDict()
        self._recent: deque[tuple[float, float]] = deque(maxlen=settings.most_tracks)

    def scored(self, track_id: int, quality: float) -> None:
        """Add a scored face of a live track."""
        seen, drawn = self._live.get(track_id, (0, quality))
        # Each of the n faces so far stands for the track with a probability of 1/n.
        if self._random.random() * (seen + 1) < 1:
            drawn = quality
        self._live[track_id] = seen + 1, drawn
        if len(self._live) > _MOST_LIVE:
            self._live.popitem(last=False)

    def decided(self, decision: TrackDecision) -> None:
        """Add a track that has ended."""
        _, quality = self._live.pop(decision.track_id, (0, None))
        if quality is None and _was_unscorable(decision):
            quality = 0.0
        if quality is not None:
            self._recent.append((decision.decided_at, quality))

    def now(self, at: float) -> Drift:
        """Compare the tracks that are recent at a time, monotonic seconds."""
        if not self._calibrated:
            return Drift(0, math.nan, math.nan)
        quality = np.array(self._window(at), dtype=np.float64)
        if len(quality) < self._settings.least_tracks:
            return Drift(len(quality), math.nan, math.nan)
        return Drift(len(quality), decline_of(quality), psi_of(quality))

    def _window(self, at: float) -> list[float]:
        window: list[float] = []
        for decided_at, quality in reversed(self._recent):
            age_s = at - decided_at
            wanted = age_s <= self._settings.window_s or len(window) < self._settings.least_tracks
            if not wanted or age_s > _DAY_S:
                break
            window.append(quality)
        return window


def _was_unscorable(decision: TrackDecision) -> bool:
    """Whether most faces of a track were too blurred or too badly lit to be scored."""
    if decision.outcome is not TrackOutcome.ALL_REJECTED:
        return False
    unscorable = sum(n for reason, n in decision.rejected.items() if reason in UNSCORABLE)
    return 2 * unscorable > sum(decision.rejected.values())
