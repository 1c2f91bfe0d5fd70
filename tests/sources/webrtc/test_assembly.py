"""RTP packets to frames: whole, in order, and honest about gaps."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from streamgate.sources.webrtc.assembly import EncodedFrame, FrameAssembler, MediaPacket

WAIT_S = 0.1
STEP_S = 0.01


@dataclass(frozen=True, slots=True)
class Sent:
    """One frame's packets and what they come to."""

    packets: list[MediaPacket]
    data: bytes


def stream(sizes: list[int], *, first: int = 0, timestamp: int = 0) -> list[Sent]:
    """Cut frames into packets; a size of 0 is a packet of padding."""
    sent, sequence = [], first
    for number, size in enumerate(sizes):
        stamp = (timestamp + 3600 * number) & 0xFFFFFFFF
        parts = [f"{number}.{part};".encode() for part in range(size)] or [b""]
        packets = []
        for place, part in enumerate(parts):
            marker = size > 0 and place == size - 1
            packets.append(MediaPacket(sequence & 0xFFFF, stamp, marker, part))
            sequence += 1
        sent.append(Sent(packets, b"".join(parts)))
    return sent


def feed(assembler: FrameAssembler, packets: list[MediaPacket]) -> list[EncodedFrame]:
    frames = []
    for number, packet in enumerate(packets):
        frames += assembler.add(packet, STEP_S * number)
    return frames


def all_packets(sent: list[Sent]) -> list[MediaPacket]:
    return [packet for frame in sent for packet in frame.packets]


def test_frames_come_whole_over_the_wrap_of_the_sequence_numbers() -> None:
    """Numbers and timestamps that start again at 0 are the same stream."""
    sent = stream([3, 1, 4, 2, 5], first=65_530, timestamp=0xFFFFFFFF - 4000)
    frames = feed(FrameAssembler(wait_s=WAIT_S), all_packets(sent))
    assert [frame.data for frame in frames] == [frame.data for frame in sent]
    assert [frame.contiguous for frame in frames] == [False, True, True, True, True]


def test_padding_is_no_frame_and_no_gap() -> None:
    """Packets without a picture have a number, and nothing else."""
    sent = stream([2, 0, 0, 3, 0, 1])
    frames = feed(FrameAssembler(wait_s=WAIT_S), all_packets(sent))
    assert [frame.data for frame in frames] == [f.data for f in sent if f.data]
    assert all(frame.contiguous for frame in frames[1:])


def test_a_missing_packet_is_asked_for_and_awaited() -> None:
    """It is asked for at once and again after a while; when it comes, nothing is lost."""
    assembler = FrameAssembler(wait_s=WAIT_S)
    first, second = stream([3, 2])
    late = first.packets[1]
    feed(assembler, [first.packets[0], first.packets[2]])
    assert assembler.packets_to_ask_for(0.02) == [late.sequence]
    assert assembler.packets_to_ask_for(0.03) == []
    assert assembler.packets_to_ask_for(0.09) == [late.sequence]
    assert [frame.data for frame in assembler.add(late, 0.095)] == [first.data]
    frames = [frame for packet in second.packets for frame in assembler.add(packet, 0.1)]
    assert [frame.contiguous for frame in frames] == [True]


def test_what_stays_away_is_given_up_in_time() -> None:
    """The next whole frame comes with word of the gap; it is not held for the lost one."""
    assembler = FrameAssembler(wait_s=WAIT_S)
    sent = stream([2] * 20)
    packets = all_packets(sent)
    del packets[3]
    frames = feed(assembler, packets)
    assert frames[0].data == sent[0].data
    assert frames[1].contiguous is False
    # Frame 1 lacks its end, and with it whether a later packet begins frame 2 is not known.
    assert frames[1].data == sent[3].data or frames[1].data == sent[2].data
    assert frames[-1].data == sent[-1].data
    assert not assembler.seeking


def test_a_jump_is_another_stream() -> None:
    """A sender that starts again elsewhere is followed at once."""
    assembler = FrameAssembler(wait_s=WAIT_S)
    feed(assembler, all_packets(stream([2, 2])))
    frames = feed(assembler, all_packets(stream([2, 2], first=30_000)))
    assert [frame.contiguous for frame in frames] == [False, True]


def test_memory_is_bounded_while_a_frame_never_ends() -> None:
    """Packets of one endless frame, and gaps without end, are not kept without limit."""
    assembler = FrameAssembler(wait_s=WAIT_S)
    for number in range(0, 20_000, 2):
        assembler.add(MediaPacket(number & 0xFFFF, 0, False, b"x"), STEP_S * number)
        assert len(assembler._held) <= 1024
        assert len(assembler._missing) <= 1024


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 6), min_size=2, max_size=60),
    loss=st.floats(0, 0.4),
    reach=st.integers(0, 6),
    first=st.integers(0, 65_535),
    seed=st.integers(0, 2**32),
)
def test_a_frame_is_what_was_sent_and_contiguous_only_where_it_follows(
    sizes: list[int], loss: float, reach: int, first: int, seed: int
) -> None:
    """Whatever is lost, doubled or late: no frame is torn, out of order or wrongly joined."""
    chance = random.Random(seed)
    sent = stream(sizes, first=first)
    order = [(place + chance.uniform(0, reach), p) for place, p in enumerate(all_packets(sent))]
    packets = [packet for _, packet in sorted(order, key=lambda item: item[0])]
    packets = [p for p in packets if chance.random() >= loss]
    packets = [p for p in packets for _ in range(1 + (chance.random() < 0.1))]
    pictures = [frame for frame in sent if frame.data]
    whole = {frame.data: place for place, frame in enumerate(pictures)}
    before = -1
    for number, frame in enumerate(feed(FrameAssembler(wait_s=WAIT_S), packets)):
        if number == 0 and frame.data not in whole:
            # The first frame may have begun before we came; a decoder takes it for no keyframe.
            assert not frame.contiguous
            before = next(i for i, f in enumerate(pictures) if f.data.endswith(frame.data))
            continue
        place = whole[frame.data]
        assert place > before
        assert not frame.contiguous or place == before + 1
        before = place
