"""Which decoded pictures may be looked at: after damage, none until the next keyframe.

A damaged picture does not end with itself. Those after it are drawn as changes to it, and the
decoder calls them sound. Streams that are refreshed bit by bit have no keyframes; there a decoder
that has been emptied withholds its pictures until it has recovered, and the first that it hands
out may pass.
"""

from __future__ import annotations

from streamgate.values.reasons import FrameDrop

__all__ = ["KeyframeGate"]


class KeyframeGate:
    """Lets pictures through from a sound keyframe until the next damage."""

    def __init__(self) -> None:
        self._waiting_since: float | None = None
        self._open = False

    @property
    def is_open(self) -> bool:
        """Whether pictures pass."""
        return self._open

    def damaged(self, now: float) -> None:
        """Learn that packets were lost or left out, or could not be decoded; or that all begins."""
        self._open = False
        if self._waiting_since is None:
            self._waiting_since = now

    def verdict(
        self, *, is_keyframe: bool, is_corrupt: bool, now: float, has_recovered: bool = False
    ) -> FrameDrop | None:
        """Return why a decoded picture must be dropped, or None.

        Args:
            is_keyframe: whether it refers to no other.
            is_corrupt: whether the decoder found damage in it.
            now: monotonic seconds.
            has_recovered: whether the decoder had been emptied, and has met a recovery point since.
        """
        if is_corrupt:
            self.damaged(now)
            return FrameDrop.CORRUPT
        if is_keyframe or has_recovered:
            self._open, self._waiting_since = True, None
        if self._open:
            return None
        self.damaged(now)
        return FrameDrop.WAITING_FOR_KEYFRAME

    def waited_s(self, now: float) -> float:
        """Return for how long a keyframe has been missing."""
        return 0.0 if self._waiting_since is None else now - self._waiting_since
