"""From RTP packets to encoded frames: in order, complete, and never late because of a lost packet.

A missing packet is requested again and awaited for a short time. If it does not arrive, the frames
that need it are abandoned. The next frame then says that it does not follow its predecessor, so
that the decoder waits for a keyframe instead of drawing on a picture that it lacks. Nothing here
does I/O or reads a clock: `now` is monotonic seconds, passed in by the caller.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["EncodedFrame", "FrameAssembler", "MediaPacket"]

# About 1.2 MB: a jump further than this is another stream, not a loss that could be repaired.
_CAPACITY = 1024
# A little above the round trip of a good Wi-Fi network; asking sooner only doubles the answers.
_ASK_AGAIN_S = 0.06


@dataclass(frozen=True, slots=True)
class MediaPacket:
    """An RTP packet without its headers.

    Attributes:
        sequence: RTP sequence number, 16 bits.
        timestamp: RTP timestamp, 32 bits.
        marker: whether it is the last of its frame.
        data: what it adds to the frame; empty for padding.
    """

    sequence: int
    timestamp: int
    marker: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """A whole encoded picture.

    Attributes:
        data: the bitstream of the picture.
        timestamp: RTP timestamp, 32 bits.
        contiguous: whether it directly follows the frame that was handed out before.
        arrived_at: monotonic seconds at which its first packet came.
    """

    data: bytes
    timestamp: int
    contiguous: bool
    arrived_at: float


@dataclass(slots=True)
class _Missing:
    noticed_at: float
    asked_at: float | None = None


class FrameAssembler:
    """Puts the packets of one stream together.

    Args:
        wait_s: how long a missing packet is awaited.
    """

    def __init__(self, *, wait_s: float) -> None:
        self._wait_s = wait_s
        self.restart()

    def restart(self) -> None:
        """Forget everything; the next packet begins another stream."""
        self._held: dict[int, tuple[MediaPacket, float]] = {}
        self._missing: dict[int, _Missing] = {}
        self._next: int | None = None
        self._cursor = 0
        self._highest = 0
        self._contiguous = False
        self._seeking = False

    @property
    def seeking(self) -> bool:
        """Whether frames were abandoned and the start of a later one is not known yet."""
        return self._seeking

    def add(self, packet: MediaPacket, now: float) -> list[EncodedFrame]:
        """Take a packet and return the frames that it completes, oldest first."""
        number = self._unwrap(packet.sequence)
        # A jump this far means that the sender has started again: none of the old packets will
        # come.
        if self._next is None or abs(number - self._next) >= _CAPACITY:
            self.restart()
            self._next = self._cursor = number
            self._highest = number - 1
        # Too late, because its frame was returned or abandoned; or a duplicate, as answers to
        # repeated requests are.
        if number < self._next or number in self._held:
            return []
        self._missing.pop(number, None)
        # At most _CAPACITY numbers: a larger jump has restarted everything above.
        for absent in range(self._highest + 1, number):
            self._missing[absent] = _Missing(noticed_at=now)
        self._highest = max(self._highest, number)
        self._held[number] = packet, now
        frames = list(self._complete())
        if self._give_up_late(now):
            frames += self._complete()
        return frames

    def packets_to_ask_for(self, now: float) -> list[int]:
        """Return the sequence numbers of missing packets that are due to be asked for (again)."""
        due = []
        for number, missing in self._missing.items():
            if missing.asked_at is None or now - missing.asked_at >= _ASK_AGAIN_S:
                missing.asked_at = now
                due.append(number & 0xFFFF)
        return due

    def _unwrap(self, sequence: int) -> int:
        if self._next is None:
            return sequence
        # The 16-bit numbers wrap around: of the two distances to the newest, the shorter is meant.
        step = (sequence - self._highest) & 0xFFFF
        return self._highest + (step - 0x10000 if step & 0x8000 else step)

    def _complete(self) -> Iterator[EncodedFrame]:
        while not self._seeking and (frame := self._take()) is not None:
            yield frame

    def _take(self) -> EncodedFrame | None:
        assert self._next is not None
        while (held := self._held.get(self._cursor)) is not None:
            packet, _ = held
            if self._cursor == self._next and not packet.data:
                # Padding between frames: it has a number but no part in a picture.
                del self._held[self._cursor]
                self._next = self._cursor = self._cursor + 1
                continue
            # Not every sender marks the last packet of a frame; a new timestamp ends the frame too.
            if packet.timestamp != self._held[self._next][0].timestamp:
                return self._cut(self._cursor)
            self._cursor += 1
            if packet.marker:
                return self._cut(self._cursor)
        return None

    def _cut(self, end: int) -> EncodedFrame:
        assert self._next is not None
        parts = [self._held.pop(number) for number in range(self._next, end)]
        frame = EncodedFrame(
            data=b"".join(packet.data for packet, _ in parts),
            timestamp=parts[0][0].timestamp,
            contiguous=self._contiguous,
            arrived_at=min(at for _, at in parts),
        )
        self._next = self._cursor = end
        self._contiguous = True
        return frame

    def _give_up_late(self, now: float) -> bool:
        """Skip to the first frame after what was awaited too long; tell whether one was found."""
        late = [n for n, m in self._missing.items() if now - m.noticed_at > self._wait_s]
        for number in late:
            del self._missing[number]
        self._seeking = self._seeking or bool(late)
        if not self._seeking:
            return False
        start = self._next_start()
        if start is None:
            return False
        self._held = {n: held for n, held in self._held.items() if n >= start}
        # Earlier packets could not complete a frame any more, so they are not requested again.
        self._missing = {n: m for n, m in self._missing.items() if n >= start}
        self._next = self._cursor = start
        self._contiguous = self._seeking = False
        return True

    def _next_start(self) -> int | None:
        """Return the first number that is known to begin a frame after packets that are lost.

        That is the number after a packet which ends its frame; the packet after a gap may belong
        to the middle of a picture.
        """
        assert self._next is not None
        # What was lost lies between the frame that was being put together and these.
        gap_passed = False
        for number in range(self._next, self._highest + 1):
            held = self._held.get(number)
            if held is None:
                gap_passed = gap_passed or number not in self._missing
                continue
            after = self._held.get(number + 1)
            ends = held[0].marker or (after is not None and after[0].timestamp != held[0].timestamp)
            if gap_passed and ends:
                return number + 1
        return None
