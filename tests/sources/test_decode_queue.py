"""A decoder that cannot keep up: what it leaves out, and how late it gets; time is virtual."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import av
import pytest

from streamgate.sources.decode_queue import CodedPacket, DecodeQueue
from streamgate.sources.nal import CodedPicture

STEP_S = 0.04


@dataclass
class Run:
    """What a decoder of a given speed made of a stream."""

    skipped: int = 0
    ages_s: list[float] = field(default_factory=list)
    decoded: list[int] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)


def run(
    seconds: float, decode_s: float, *, group: int = 50, unreferenced: int = 0, hiccup_s: float = 0
) -> Run:
    """Decode a stream; of each three pictures `unreferenced` are referred to by no other."""
    now, result = 0.0, Run()

    def count(packets: int) -> None:
        result.skipped += packets

    queue = DecodeQueue(lambda: now, count)
    coming = deque(range(int(seconds / STEP_S)))
    while True:
        while coming and coming[0] * STEP_S <= now:
            number = coming.popleft()
            place = number % group
            coded = CodedPicture(
                b"", is_keyframe=place == 0, is_reference=not 0 < place % 3 <= unreferenced
            )
            packet = av.Packet(8)
            packet.pts = number
            queue.put(CodedPacket(packet, coded, number * STEP_S))
        taken = queue.poll()
        if taken is None:
            if not coming:
                break
            now = coming[0] * STEP_S
            continue
        item, follows = taken
        assert item.packet.pts is not None
        result.decoded.append(item.packet.pts)
        if not follows:
            result.breaks.append(item.packet.pts)
        now += decode_s + (hiccup_s if item.packet.pts == 100 else 0.0)
        result.ages_s.append(now - item.arrived_at)
    return result


def test_a_decoder_that_keeps_up_skips_nothing() -> None:
    """Every picture is decoded in order."""
    result = run(60, 0.03)
    assert (result.skipped, result.breaks) == (0, [])
    assert result.decoded == list(range(1500))
    assert max(result.ages_s) < 0.05


@pytest.mark.parametrize("slow", [1.1, 1.5, 3.0, 10.0])
@pytest.mark.parametrize("group", [25, 250, 1])
def test_a_decoder_that_is_too_slow_is_never_late_for_long(slow: float, group: int) -> None:
    """Ten minutes at any speed: what is decoded is at most a second or so old, or was skipped."""
    result = run(600, slow * STEP_S, group=group)
    assert max(result.ages_s) < 1.0 + 2 * slow * STEP_S
    assert result.skipped == 15_000 - len(result.decoded)
    assert result.skipped > 0


def test_pictures_that_no_other_refers_to_go_first() -> None:
    """Where leaving them out is enough, nothing else is lost and no keyframe is awaited."""
    result = run(600, 1.5 * STEP_S, unreferenced=2)
    assert result.breaks == []
    assert max(result.ages_s) < 0.5
    assert {number for number in range(15_000) if number % 50 % 3 == 0} <= set(result.decoded)


def test_after_a_gap_decoding_goes_on_where_it_can_begin() -> None:
    """Each break is at a keyframe, or says that the pictures before it are missing."""
    result = run(600, 1.3 * STEP_S, group=50)
    begun = [number for number in result.breaks if number % 50 == 0]
    assert len(begun) > 10


def test_a_hiccup_is_caught_up_with() -> None:
    """After a pause of a second and a half all is decoded again."""
    result = run(60, 0.01, hiccup_s=1.5, group=25)
    assert result.decoded[-200:] == list(range(1300, 1500))
    assert result.skipped < 50


def test_memory_is_bounded_where_nothing_is_taken() -> None:
    """A decoder that hangs costs so many packets and bytes, and no more."""
    skipped: list[int] = []
    queue = DecodeQueue(lambda: 0.0, skipped.append)
    for _ in range(3000):
        queue.put(CodedPacket(av.Packet(100_000), CodedPicture(b""), 0.0))
        assert queue.waiting_bytes <= 64 << 20
    assert sum(skipped) > 2000
