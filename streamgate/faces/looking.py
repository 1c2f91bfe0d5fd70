"""Decides in which frames faces are detected: all, or only where it is worth it.

Pure: the time and what is known are arguments. Detection runs
- at least every `look_every_s`, even if nothing moves;
- while something moves, and for a moment after, `looks_per_s` times a second, to find newcomers;
- while a track is live, equally often, to find its next faces.
"""

from __future__ import annotations

import math

from streamgate.config import DetectorSection
from streamgate.values import LookReason, PassReason

__all__ = ["LookPolicy"]

_HOLD_S = 1.5
"""How long after the last motion newcomers are looked for: they may have arrived and stood
still."""
_EARLY_S = 0.004
"""A frame that is early by this much is still used, because the intervals of cameras jitter."""


class LookPolicy:
    """Decides for one stream, in the order of its pictures."""

    def __init__(self, settings: DetectorSection) -> None:
        self.settings = settings
        self._looked_at = -math.inf
        self._moved_at = -math.inf

    def decide(self, at: float, *, moves: bool, tracks: int) -> LookReason | PassReason:
        """Return why faces are detected in this frame, or why they are not.

        Args:
            at: capture time, seconds.
            moves: whether something moves in it.
            tracks: number of live tracks.
        """
        if moves:
            self._moved_at = at
        since = at - self._looked_at + _EARLY_S
        if self.settings.look == "every_frame":
            reason: LookReason | PassReason = LookReason.EVERY_FRAME
        elif not 0.0 <= since < self.settings.look_every_s:
            # A step back in time is a new beginning too.
            reason = LookReason.DUE
        elif not tracks and at - self._moved_at > _HOLD_S:
            return PassReason.NOTHING_MOVES
        elif since < 1.0 / self.settings.looks_per_s:
            return PassReason.BETWEEN_LOOKS
        else:
            reason = LookReason.TRACKS if tracks else LookReason.MOTION
        self._looked_at = at
        return reason

    def reset(self) -> None:
        """Start again after the stream was lost."""
        self._looked_at = self._moved_at = -math.inf
