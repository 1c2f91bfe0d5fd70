"""The times of a recording's pictures, without gaps where it is played again."""

from __future__ import annotations

__all__ = ["Timeline"]


class Timeline:
    """Maps a file's timestamps to seconds since the first picture of the first round.

    Attributes:
        picture_s: the time from one picture to the next, where the file does not say it.
    """

    def __init__(self) -> None:
        self.picture_s = 0.04
        self._origin_s: float | None = None
        self._base_s = 0.0
        self._last_s: float | None = None

    def at(self, pts_s: float | None) -> float:
        """Return a picture's time, never before that of the picture before it."""
        following_s = self._base_s if self._last_s is None else self._last_s + self.picture_s
        if pts_s is None:
            seconds = following_s
        else:
            if self._origin_s is None:
                self._origin_s = pts_s - (following_s - self._base_s)
            seconds = self._base_s + (pts_s - self._origin_s)
        self._last_s = seconds if self._last_s is None else max(seconds, self._last_s)
        return self._last_s

    def restart(self) -> float:
        """Return the time of the end, from which the next round goes on."""
        if self._last_s is not None:
            self._base_s, self._last_s = self._last_s + self.picture_s, None
        self._origin_s = None
        return self._base_s
