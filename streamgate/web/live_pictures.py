"""The pictures of the live page: made on request, off the event loop, one at a time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import cv2

from streamgate.errors import ScoreError
from streamgate.values import Image
from streamgate.web.live import LiveView

__all__ = ["LivePictures", "PicturesBusyError"]

_LONGEST_SIDE_PX = 960
_FRAME_QUALITY = 72
_CROP_QUALITY = 90
_KEPT = 32
_MOST_WAITING = 24

_Key: TypeAlias = tuple[str, str]


class PicturesBusyError(Exception):
    """Too many pictures are requested at the same time."""


class LivePictures:
    """Encodes frames and crops and draws heat maps; what was made last is kept for others."""

    def __init__(self, view: LiveView) -> None:
        self._view = view
        self._made: OrderedDict[_Key, bytes] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()
        self._one_explained = asyncio.Lock()
        self._waiting = 0
        self._forgotten = 0
        view.on_forbidden = self.forget

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._made)

    async def frame(self) -> tuple[int, bytes] | None:
        """The newest frame that was announced: its index, and the frame as JPEG."""
        newest = self._view.frame
        if newest is None:
            return None
        index, image = newest
        picture = await self._once(("frame", str(index)), lambda: _encode_frame(image))
        return None if picture is None else (index, picture)

    async def track(self, track_id: int) -> bytes | None:
        """The best face so far of a live track, as JPEG."""
        track = self._view.tracks.get(track_id)
        if track is None or track.crop is None:
            return None
        crop = track.crop
        return await self._once(
            ("track", f"{track_id}/{track.crop_index}"), lambda: _encode(crop, _CROP_QUALITY)
        )

    async def shot(self, key: str) -> bytes | None:
        """A best shot's crop, as JPEG."""
        crop = self._crop_of(key)
        if crop is None:
            return None
        return await self._once(("shot", key), lambda: _encode(crop, _CROP_QUALITY))

    async def heat(self, key: str) -> bytes | None:
        """A best shot's crop under its heat map, as JPEG; None where it cannot be drawn."""
        crop = self._crop_of(key)
        if crop is None:
            return None
        # The scorer's thread draws it, between two batches; more than one would delay scores.
        try:
            return await self._made_once(
                ("heat", key), self._one_explained, lambda: self._explain(crop)
            )
        except ScoreError:
            return None

    def forget(self) -> None:
        """Drop all pictures, because no page is open or pictures are forbidden."""
        self._made.clear()
        self._forgotten += 1

    def _crop_of(self, key: str) -> Image | None:
        shot = self._view.shots.get(key)
        return None if shot is None else shot.crop

    async def _explain(self, crop: Image) -> bytes:
        overlay = await self._view.sources.explain(crop)
        return await asyncio.to_thread(_encode, overlay, _CROP_QUALITY)

    async def _once(self, key: _Key, make: Callable[[], bytes]) -> bytes | None:
        return await self._made_once(key, self._one_at_a_time, lambda: asyncio.to_thread(make))

    async def _made_once(
        self, key: _Key, turn: asyncio.Lock, make: Callable[[], Awaitable[bytes]]
    ) -> bytes | None:
        if key not in self._made and self._waiting >= _MOST_WAITING:
            raise PicturesBusyError
        self._waiting += 1
        try:
            async with turn:
                picture = self._made.get(key)
                if picture is None:
                    forgotten = self._forgotten
                    picture = await make()
                    if self._forgotten == forgotten:
                        self._keep(key, picture)
                # They may have been forbidden meanwhile.
                return picture if self._view.pictures else None
        finally:
            self._waiting -= 1

    def _keep(self, key: _Key, picture: bytes) -> None:
        self._made[key] = picture
        while len(self._made) > _KEPT:
            self._made.popitem(last=False)


def _encode_frame(image: Image) -> bytes:
    height, width = image.shape[:2]
    shrink = min(1.0, _LONGEST_SIDE_PX / max(height, width))
    if shrink < 1:
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        return _encode(cv2.resize(image, size, interpolation=cv2.INTER_AREA), _FRAME_QUALITY)
    return _encode(image, _FRAME_QUALITY)


def _encode(image: cv2.typing.MatLike, quality: int) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data)
