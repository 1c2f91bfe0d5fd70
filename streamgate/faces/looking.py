"""Decides in which frames faces are detected: all, or only where it is worth it.

Pure: the time and what is known are arguments. Detection runs
- at least every `look_every_s`, even if nothing moves;
- while one to three tracks are live, `looks_per_s` times a second, to find their next faces;
- while something moves, and for a moment after, two thirds as often, to find newcomers; likewise
  with more tracks, since each look then costs much more than detection alone;
- in every picture for a moment after somebody was first seen: of those who pass quickly there are
  few pictures, and between distant ones they could not be followed.

At rest, motion itself is looked for in every fourth picture or so. Pictures before the next one of
interest are passed over by whoever has them, so that they wake nobody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from streamgate.config import DetectorSection
from streamgate.values import LookReason, PassReason

__all__ = ["LookPolicy", "Pause"]

_HOLD_S = 1.5
"""How long after the last motion newcomers are looked for: they may have arrived and stood
still."""
_EARLY_S = 0.004
"""A frame that is early by this much is still used, because the intervals of cameras jitter."""

_FEW = 3
"""Live tracks that are looked at as often as is allowed."""
_OTHERWISE = 2 / 3
"""How often looks are, of that, with more tracks or none."""

_CHECK_S = 0.16
"""How often motion is looked for at rest. Of twenty-five pictures a second every fourth is checked,
and who comes is noticed up to three pictures, 0.12 s, later than if every one were."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Pictures that nobody needs to see.

    Attributes:
        after: capture time of the last one that was seen, seconds.
        until: capture time of the first that is needed.
        reason: why those in between are passed over.
    """

    after: float
    until: float
    reason: PassReason

    def covers(self, at: float) -> bool:
        """Whether a picture that was captured at this time may be passed over."""
        return self.after <= at < self.until


class LookPolicy:
    """Decides for one stream, in the order of its pictures."""

    def __init__(self, settings: DetectorSection) -> None:
        self.settings = settings
        self._looked_at = -math.inf
        self._moved_at = -math.inf

    def decide(
        self, at: float, *, moves: bool, tracks: int, newest_at: float = -math.inf
    ) -> LookReason | PassReason:
        """Return why faces are detected in this frame, or why they are not.

        Args:
            at: capture time, seconds.
            moves: whether something moves in it.
            tracks: number of live tracks.
            newest_at: when the newest of them was first seen, seconds.
        """
        if moves:
            self._moved_at = at
        since = at - self._looked_at + _EARLY_S
        if self.settings.look == "every_frame":
            reason: LookReason | PassReason = LookReason.EVERY_FRAME
        elif not 0.0 <= since < self.settings.look_every_s:
            # A step back in time is a new beginning too.
            reason = LookReason.DUE
        elif self._is_new(newest_at, at):
            reason = LookReason.NEWCOMER
        elif not tracks and at - self._moved_at > _HOLD_S:
            return PassReason.NOTHING_MOVES
        elif since < self._interval_s(tracks):
            return PassReason.BETWEEN_LOOKS
        else:
            reason = LookReason.TRACKS if tracks else LookReason.MOTION
        self._looked_at = at
        return reason

    def pause(self, at: float, *, tracks: int, newest_at: float = -math.inf) -> Pause | None:
        """Return which pictures need not be seen after the one that was decided on, if any.

        Args:
            at: its capture time, seconds.
            tracks: number of live tracks, those that began in it included.
            newest_at: when the newest of them was first seen, seconds.
        """
        if self.settings.look == "every_frame" or self._is_new(newest_at, at):
            return None
        due = self._looked_at + self.settings.look_every_s
        if not tracks and at - self._moved_at > _HOLD_S:
            until, reason = at + _CHECK_S, PassReason.NOTHING_MOVES
        else:
            until = self._looked_at + self._interval_s(tracks)
            reason = PassReason.BETWEEN_LOOKS
        return Pause(at, min(until, due) - _EARLY_S, reason)

    def _interval_s(self, tracks: int) -> float:
        share = 1.0 if 1 <= tracks <= _FEW else _OTHERWISE
        return 1.0 / (share * self.settings.looks_per_s)

    def _is_new(self, newest_at: float, at: float) -> bool:
        return at - newest_at < self.settings.newcomer_s

    def reset(self) -> None:
        """Start again after the stream was lost."""
        self._looked_at = self._moved_at = -math.inf
