"""Watch a camera for a while, with the daemon's own parts, and note what it shows.

Nothing is forwarded and no picture is kept except the first, which is returned.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from structlog.testing import capture_logs

from streamgate.config import CameraConfig
from streamgate.daemon.online import trouble_in
from streamgate.daemon.source import build_source
from streamgate.errors import SourceError, StreamgateError
from streamgate.faces.analyse import FaceAnalyser
from streamgate.faces.detect import YuNetDetector
from streamgate.faces.track import FaceTracker
from streamgate.models.registry import installed
from streamgate.pipeline import SystemClock
from streamgate.pipeline.slot import LatestSlot
from streamgate.quality import Scorer
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Analysis, Discontinuity, Image

__all__ = ["SeenTrack", "Watched", "watch"]

_FIRST_PICTURE_S = 20.0
_LOOK_EVERY_S = 0.1
_MOST_TRACKS = 200
_CROPS_OF_TRACK = 8


@dataclass(slots=True)
class SeenTrack:
    """One face that was followed.

    Attributes:
        boxes: x1, y1, x2, y2 as parts of the picture, in order of time.
        at: monotonic seconds of each.
        largest_px: the largest shorter side of its boxes, pixels.
        qualities: of some of its faces, 0-100; empty where none was fit to be scored.
    """

    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    largest_px: float = 0.0
    crops: list[tuple[float, Image]] = field(default_factory=list, repr=False)
    qualities: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Watched:
    """What a camera has shown.

    Attributes:
        picture: the first one, RGB.
        seconds: for how long it was watched.
        pictures: how many were looked at or passed over.
        frames_per_second: pictures that it sent, a second.
        tracks: faces that were followed.
        rejections: how many faces each precheck rejected.
    """

    picture: Image = field(repr=False)
    seconds: float
    pictures: int
    frames_per_second: float
    tracks: Sequence[SeenTrack]
    rejections: dict[str, int]


def watch(
    config: CameraConfig, seconds: float, *, on_picture: Callable[[Image], None] = lambda _: None
) -> Watched:
    """Open the source and look at it for some seconds.

    Args:
        config: of the camera; its prechecks say which faces are scored.
        on_picture: told the first picture as soon as it is there.

    Raises:
        SourceError: no picture came; the message says why, without a secret.
        StreamgateError: a model is missing.
    """
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with capture_logs() as logged:
            watching = _Watching(config, logged, on_picture)
            found = asyncio.run(watching.run(seconds))
    finally:
        logging.disable(before)
    _score(config, found.tracks)
    return found


class _Watching:
    def __init__(
        self,
        config: CameraConfig,
        logged: Sequence[Mapping[str, Any]],
        on_picture: Callable[[Image], None],
    ) -> None:
        self._config = config
        self._logged = logged
        self._on_picture = on_picture
        self._tracks: dict[int, SeenTrack] = {}
        self._rejections: dict[str, int] = {}
        self._picture: Image | None = None
        self._pictures = 0

    async def run(self, seconds: float) -> Watched:
        clock, metrics, slot = SystemClock(), Metrics(), LatestSlot()
        path = await asyncio.to_thread(installed, self._config.detector.model)
        detector = await asyncio.to_thread(YuNetDetector, self._config.detector, path)
        analyser = FaceAnalyser(self._config, detector, FaceTracker(self._config.tracker), clock)
        source = build_source(self._config.source, metrics, clock)
        reading = asyncio.create_task(source.run(slot))
        looking = asyncio.create_task(self._look(slot, analyser))
        started, began = time.monotonic(), None
        try:
            while not (reading.done() or looking.done()):
                await asyncio.wait({reading, looking}, timeout=_LOOK_EVERY_S,
                                   return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
                now = time.monotonic()
                if self._picture is None:
                    if trouble_in(self._logged) or now - started > _FIRST_PICTURE_S:
                        break
                elif began is None:
                    began = now
                elif now - began >= seconds:
                    break
        finally:
            reading.cancel()
            await asyncio.wait({reading})
            slot.close()
            await asyncio.wait({looking}, timeout=_FIRST_PICTURE_S)
        self._require_picture(reading, looking)
        assert self._picture is not None
        lasted = time.monotonic() - (started if began is None else began)
        received = metrics.registry.get_sample_value("streamgate_frames_received_total") or 0.0
        return Watched(
            self._picture, lasted, self._pictures, received / max(lasted, 1e-3),
            list(self._tracks.values()), self._rejections,
        )  # fmt: skip

    def _require_picture(self, reading: asyncio.Task[None], looking: asyncio.Task[None]) -> None:
        for task in (looking, reading):
            failure = None if task.cancelled() or not task.done() else task.exception()
            if isinstance(failure, StreamgateError) and self._picture is None:
                raise failure
            if failure is not None and not isinstance(failure, StreamgateError):
                raise failure
        if self._picture is None:
            told = trouble_in(self._logged) or f"no picture came within {_FIRST_PICTURE_S:g} s"
            raise SourceError(told)

    async def _look(self, slot: LatestSlot, analyser: FaceAnalyser) -> None:
        async for item in slot.frames():
            if isinstance(item, Discontinuity):
                await asyncio.to_thread(analyser.flush)
                continue
            analysis = await asyncio.to_thread(analyser.analyse, item)
            self._pictures += 1
            if self._picture is None:
                self._picture = item.image
                self._on_picture(item.image)
            self._note(analysis, item.pixels.size)

    def _note(self, analysis: Analysis, size: tuple[int, int]) -> None:
        width, height = size
        for seen in analysis.faces:
            track_id = seen.tracked.track_id
            if track_id not in self._tracks and len(self._tracks) >= _MOST_TRACKS:
                continue
            track = self._tracks.setdefault(track_id, SeenTrack())
            x1, y1, x2, y2 = (float(side) for side in seen.tracked.face.box)
            track.boxes.append((x1 / width, y1 / height, x2 / width, y2 / height))
            track.at.append(analysis.captured_at)
            side = min(x2 - x1, y2 - y1)
            track.largest_px = max(track.largest_px, side)
            if seen.rejection is not None:
                self._rejections[seen.rejection] = self._rejections.get(seen.rejection, 0) + 1
            elif seen.candidate is not None:
                track.crops.append((side, seen.candidate.crop.image))
                # Large ones are mostly the good ones; a few of them tell how good a track becomes.
                track.crops.sort(key=lambda crop: -crop[0])
                del track.crops[_CROPS_OF_TRACK:]


def _score(config: CameraConfig, tracks: Sequence[SeenTrack]) -> None:
    """Score the kept crops, and let them go."""
    if not any(track.crops for track in tracks):
        return
    scorer = Scorer.load(config.quality.weights, group=config.quality.group, device="cpu")
    for track in tracks:
        if track.crops:
            crops = np.stack([crop for _, crop in track.crops])
            track.qualities = [float(quality) for quality in scorer.score(crops).quality]
            track.crops = []
