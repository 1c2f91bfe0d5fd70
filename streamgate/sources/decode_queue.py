"""Packets that wait for the decoder, and which of them are dropped when it is late.

Reading never waits for decoding, so that the camera is not held up and arrival times are right. A
decoder that cannot keep up skips pictures that no other refers to; if that is not enough,
everything up to the next picture at which decoding can start. A stream that skips is worth more
than one that lags behind.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from av.packet import Packet

from streamgate.sources.nal import CodedPicture

__all__ = ["CodedPacket", "DecodeQueue"]

LEAVE_OUT_S = 0.3
"""Pictures that have waited for longer are left out where no other refers to them."""
KEPT_UP_S = 0.1
"""Once the next one has waited for less, nothing is left out any more."""
GIVE_UP_S = 1.0
"""What has waited for longer is dropped, up to the last picture at which decoding can start."""
_MOST_PACKETS = 1000
_MOST_BYTES = 64 << 20
"""Eight seconds at 64 Mbit/s."""


@dataclass(frozen=True, slots=True)
class CodedPacket:
    """A coded picture on its way to the decoder.

    Attributes:
        packet: as read; its `opaque` comes back with its picture.
        coded: what it says about itself.
        arrived_at: monotonic seconds.
        follows: whether it follows the one before, as far as the network can tell.
        codec: by FFmpeg's name, where it may change in a stream.
    """

    packet: Packet[Any]
    coded: CodedPicture
    arrived_at: float
    follows: bool = True
    codec: str = ""

    @property
    def can_begin(self) -> bool:
        """Whether decoding can begin with it."""
        return self.coded.is_keyframe or self.coded.recovers


class DecodeQueue:
    """Hands packets from the thread that reads to the one that decodes; neither waits for long.

    Args:
        now: the clock.
        on_skipped: called, on the reading or the decoding thread, with how many were dropped.
    """

    def __init__(self, now: Callable[[], float], on_skipped: Callable[[int], None]) -> None:
        self._now = now
        self._on_skipped = on_skipped
        self._news = threading.Condition()
        self._waiting: deque[CodedPacket] = deque()
        self._bytes = 0
        self._is_late = False
        self._lost = False
        self._closed = False
        self._aborted = False

    @property
    def waiting_bytes(self) -> int:
        """How much waits."""
        return self._bytes

    def put(self, packet: CodedPacket) -> None:
        """Leave a packet; if nothing is taken for long, everything that waits is dropped."""
        with self._news:
            if self._closed:
                return
            self._waiting.append(packet)
            self._bytes += packet.packet.size
            given_up = 0
            if len(self._waiting) > _MOST_PACKETS or self._bytes > _MOST_BYTES:
                given_up = self._give_up(len(self._waiting))
            self._news.notify()
        self._count(given_up)

    def take(self) -> tuple[CodedPacket, bool] | None:
        """Return the next packet and whether it follows the last; None once all has ended."""
        while (taken := self.poll()) is None:
            with self._news:
                if self._has_ended():
                    return None
                if not self._waiting:
                    self._news.wait()
        return taken

    def poll(self) -> tuple[CodedPacket, bool] | None:
        """Return what `take` would, or None where it would have to wait."""
        with self._news:
            skipped = self._skip()
            taken = None
            if self._waiting and not self._aborted:
                packet = self._pop()
                taken = packet, packet.follows and not self._lost
                self._lost = False
        self._count(skipped)
        return taken

    def _has_ended(self) -> bool:
        return self._aborted or (self._closed and not self._waiting)

    def close(self, *, abort: bool = False) -> None:
        """Take no more; what waits is still handed out, unless it is aborted."""
        with self._news:
            self._closed = True
            self._aborted = self._aborted or abort
            self._news.notify_all()

    def _skip(self) -> int:
        """Give up what is too late to be worth decoding; return how many."""
        skipped = 0
        while self._waiting and not self._closed:
            waited_s = self._now() - self._waiting[0].arrived_at
            if waited_s > GIVE_UP_S:
                skipped += self._give_up(self._beginning())
                self._is_late = True
                break
            self._is_late = waited_s > (KEPT_UP_S if self._is_late else LEAVE_OUT_S)
            if not self._is_late or self._waiting[0].coded.is_reference:
                break
            left_out = self._pop()
            # What was lost before it is lost before the next one.
            self._lost = self._lost or not left_out.follows
            skipped += 1
        return skipped

    def _beginning(self) -> int:
        """Return how many to drop: those before the last at which decoding can start, or all.

        One that has itself waited for too long is no beginning: a fresh one will come.
        """
        now = self._now()
        begins = [
            number
            for number, waiting in enumerate(self._waiting)
            if waiting.can_begin and now - waiting.arrived_at <= GIVE_UP_S
        ]
        return begins[-1] if begins else len(self._waiting)

    def _give_up(self, count: int) -> int:
        for _ in range(count):
            self._pop()
        self._lost = self._lost or count > 0
        return count

    def _pop(self) -> CodedPacket:
        packet = self._waiting.popleft()
        self._bytes -= packet.packet.size
        return packet

    def _count(self, skipped: int) -> None:
        if skipped:
            self._on_skipped(skipped)
