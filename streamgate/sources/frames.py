"""Decoded pictures become frames: numbered, timed, converted and counted."""

from __future__ import annotations

import math
from fractions import Fraction

import av

from streamgate.config.pictures import PictureSection
from streamgate.ports import Clock
from streamgate.sources.convert import RgbConverter, VideoPixels
from streamgate.sources.decoder import Decoded
from streamgate.sources.freeze import GRID_PX, FreezeDetector
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Frame
from streamgate.values.reasons import FaultReason, FrameDrop

__all__ = ["FROZEN_S", "FrameMaker"]

FROZEN_S = 10.0
"""A live camera whose picture does not change at all for this long counts as frozen."""
_COMPARE_EVERY_S = 0.25
"""Half a millisecond each."""


class FrameMaker:
    """Makes the frames of one source; it outlives the source's connections.

    Args:
        settings: of the source's pictures.
        live: whether it is a camera, whose picture may freeze; a recording's may not.

    Attributes:
        connection: how many times the source had been opened before.
    """

    def __init__(
        self, settings: PictureSection, metrics: Metrics, clock: Clock, *, live: bool = True
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._live = live
        self._converter = RgbConverter(settings.max_pixels)
        self._picture = FreezeDetector()
        self._is_frozen = False
        self._compared_at = -math.inf
        self._converted = metrics.stage_seconds.labels("convert").observe
        self._decoded = 0
        self.connection = -1

    def connected(self) -> None:
        """Count an opening."""
        self.connection += 1
        self._converter = RgbConverter(self._settings.max_pixels)
        self._picture = FreezeDetector()
        self._metrics.source_connects.inc()

    def gone(self) -> None:
        """The connection is lost: no picture is not a frozen one."""
        self._set_frozen(False)

    def count(self, decoded: Decoded) -> None:
        """Count what the decoder left out."""
        if decoded.skipped is not None:
            self._metrics.frames_dropped.labels(decoded.skipped.value).inc()
        for drop in decoded.dropped:
            self.drop(drop)

    def skipped(self, packets: int) -> None:
        """Count what was not decoded because the decoder is behind."""
        self._metrics.frames_dropped.labels(FrameDrop.DECODER_BEHIND.value).inc(packets)

    def drop(self, reason: FrameDrop) -> None:
        """Count a decoded picture that nobody will see."""
        self._decoded += 1
        self._metrics.frames_received.inc()
        self._metrics.frames_dropped.labels(reason.value).inc()

    def make(
        self,
        picture: av.VideoFrame,
        *,
        captured_at: float,
        captured_wall: float | None = None,
        pixel_aspect: Fraction | None = None,
    ) -> Frame:
        """Return a frame.

        Args:
            picture: as decoded.
            captured_at: monotonic seconds.
            captured_wall: Unix seconds, where they are not the clock's of that instant.
            pixel_aspect: as the stream tags it; the settings come first.
        """
        now = self._clock.monotonic()
        pixels = VideoPixels(
            picture,
            self._converter,
            self._settings.pixel_aspect or pixel_aspect,
            self._converted,
        )
        if captured_wall is None:
            captured_wall = self._clock.wall() - (now - captured_at)
        index = self._decoded
        self._decoded += 1
        self._metrics.frames_received.inc()
        self._metrics.last_frame_wall.set(captured_wall)
        if self._live and abs(now - self._compared_at) >= _COMPARE_EVERY_S:
            self._compared_at = now
            grid = pixels.sampled(GRID_PX)
            self._set_frozen(self._picture.grid_unchanged_s(grid, now) >= FROZEN_S)
        return Frame(pixels, index, self.connection, captured_at, captured_wall, now)

    def _set_frozen(self, frozen: bool) -> None:
        if frozen and not self._is_frozen:
            self._metrics.source_faults.labels(FaultReason.FROZEN.value).inc()
        self._is_frozen = frozen
        self._metrics.source_frozen.set(frozen)
