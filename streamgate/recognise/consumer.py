"""Takes best shots, drops repetitions, and names the faces."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import PIL.Image
import structlog
from numpy.typing import NDArray

from streamgate.errors import DataError
from streamgate.recognise.fence import EpochFence
from streamgate.recognise.gallery import Gallery, Match
from streamgate.recognise.message import Message
from streamgate.values import Image

__all__ = ["Consumer", "Visitor"]

log = structlog.get_logger(__name__)

_KEYS = 100_000
_CROP_SIDE = 112

Embed = Callable[[Image], NDArray[np.float32]]
"""Embeds one RGB uint8 crop [112, 112, 3] by the gallery's network: float32 [E], of length 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Visitor:
    """Somebody came."""

    message: Message
    match: Match


class Consumer:
    """Handles messages, whichever transport they come from.

    Deliveries are at least once, so each key is remembered: the last hundred thousand, in memory.
    A recogniser that acts on what it sees should keep the keys where it keeps its actions.

    Args:
        embed: used where a best shot's embedding is by another network than the gallery's.
        thread: runs `embed`, one at a time.
        tell: called once for each visitor.
    """

    def __init__(
        self, gallery: Gallery, embed: Embed, thread: Executor, *, tell: Callable[[Visitor], None]
    ) -> None:
        self._gallery = gallery
        self._embed = embed
        self._thread = thread
        self._tell = tell
        self._keys: OrderedDict[str, None] = OrderedDict()
        self._strange: set[str] = set()
        self.repetitions = 0
        self.left_out = 0
        self.fenced = 0
        self._fence = EpochFence()

    async def take(self, message: Message) -> Visitor | None:
        """Name a message; return None for a repetition.

        Raises:
            FencedError: it comes from a copy of the camera that must not deliver any more.
            DataError: it cannot be compared with the gallery.
        """
        if message.key in self._keys:
            self._keys.move_to_end(message.key)
            self.repetitions += 1
            return None
        self._fence.check(message)
        # Noted before the first pause: a repetition may come while this one is looked at.
        self._keys[message.key] = None
        try:
            visitor = Visitor(message, self._gallery.match(await self._embedding(message)))
        except BaseException:
            del self._keys[message.key]
            raise
        if len(self._keys) > _KEYS:
            self._keys.popitem(last=False)
        self._tell(visitor)
        return visitor

    async def _embedding(self, message: Message) -> NDArray[np.float32]:
        if message.model_hash == self._gallery.model_hash:
            return message.embedding
        if message.model_hash not in self._strange and len(self._strange) < 16:
            self._strange.add(message.model_hash)
            log.warning(
                "embeddings are by another network than the gallery's; crops are embedded here",
                camera=message.camera, theirs=message.model_hash[:12],
                ours=self._gallery.model_hash[:12],
            )  # fmt: skip
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._embedded, message.crop
        )

    def _embedded(self, picture: bytes) -> NDArray[np.float32]:
        if not picture:
            raise DataError("the embedding is by another network, and no crop was sent")
        return self._embed(_decoded(picture))


def _decoded(picture: bytes) -> Image:
    wrong_size: tuple[int, int] | None = None
    try:
        with PIL.Image.open(io.BytesIO(picture)) as opened:
            # The size is looked at before the pixels are unpacked: a small file may hold billions.
            if opened.size == (_CROP_SIDE, _CROP_SIDE):
                return np.asarray(opened.convert("RGB"), np.uint8)
            wrong_size = opened.size
    except Exception:  # decoders of pictures raise anything
        raise DataError("the crop cannot be decoded") from None
    raise DataError(f"the crop has {wrong_size[0]}×{wrong_size[1]} pixels")
