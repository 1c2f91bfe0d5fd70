"""When the detector is asked: at every picture, or only where that pays.

Pure: what is known and the time are arguments. A picture is looked at
- at least every `look_every_s`, whatever seems to move;
- while something moves, and for a moment after, `looks_per_s` times a second, for newcomers;
- while a track lives, as often, for its next faces.
"""

from __future__ import annotations

import math

from streamgate.config import DetectorSection
from streamgate.values import LookReason, PassReason

__all__ = ["LookPolicy"]

_HOLD_S = 1.5
"""For so long after the last motion people are looked for: who stands still has just arrived."""
_EARLY_S = 0.004
"""A picture that comes this much too early for its turn is taken: cameras' intervals jitter."""


class LookPolicy:
    """Decides for one stream, in the order of its pictures."""

    def __init__(self, settings: DetectorSection) -> None:
        self.settings = settings
        self._looked_at = -math.inf
        self._moved_at = -math.inf

    def decide(self, at: float, *, moves: bool, tracks: int) -> LookReason | PassReason:
        """Return why this picture is looked at, or why it is passed over.

        Args:
            at: capture time, seconds.
            moves: whether something moves in it.
            tracks: how many tracks live.
        """
        if moves:
            self._moved_at = at
        since = at - self._looked_at + _EARLY_S
        if self.settings.look == "every_frame":
            reason: LookReason | PassReason = LookReason.EVERY_FRAME
        elif not 0.0 <= since < self.settings.look_every_s:
            # A step back of the time is a beginning, too.
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
        """Begin anew, after the stream was lost."""
        self._looked_at = self._moved_at = -math.inf
