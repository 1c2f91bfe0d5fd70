"""Drops what a copy of a camera sends that no longer is the camera: its epoch is too low.

A camera that may be started on another machine delivers under a lease, and each tenure has a larger
number than the last, its epoch. Two copies may run for a moment, for example when a machine that
was frozen goes on. Once a message of a later epoch has come, what comes with a lower one is the
copy's. What an outbox has kept beyond its tenure is marked as drained, and passes: it is late, and
its key tells whether it is a repetition.
"""

from __future__ import annotations

from collections import OrderedDict

from streamgate.errors import DataError
from streamgate.recognise.message import Message

__all__ = ["EpochFence", "FencedError"]

_CAMERAS = 100_000


class FencedError(DataError):
    """The message is of an earlier tenure than another that came before it.

    Attributes:
        epoch: the highest that has come from this camera.
    """

    def __init__(self, message: str, epoch: int) -> None:
        super().__init__(message)
        self.epoch = epoch


class EpochFence:
    """Remembers the highest epoch of each camera: of the last hundred thousand, in memory."""

    def __init__(self) -> None:
        self._highest: OrderedDict[str, int] = OrderedDict()

    def check(self, message: Message) -> None:
        """Take note of a message.

        Raises:
            FencedError: it must not be used.
        """
        epoch = message.epoch
        if epoch is None or message.drained:
            return
        highest = self._highest.get(message.camera, 0)
        if epoch < highest:
            raise FencedError(
                f"{message.key}: epoch {epoch} of {message.camera} has ended, {highest} delivers",
                highest,
            )
        self._highest[message.camera] = epoch
        self._highest.move_to_end(message.camera)
        if len(self._highest) > _CAMERAS:
            self._highest.popitem(last=False)
