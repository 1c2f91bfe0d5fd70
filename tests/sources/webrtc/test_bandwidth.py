"""What a sender is told that it may send, and what our answers ask it to begin with."""

from __future__ import annotations

from streamgate.sources.webrtc.answer import with_start_bitrate
from streamgate.sources.webrtc.bandwidth import (
    UNLIMITED_BITS_PER_SECOND,
    BandwidthEstimator,
    BandwidthLimit,
)

PACKET = 1200


def test_there_is_no_limit_before_a_queue() -> None:
    """A quiet scene holds nothing down."""
    limit = BandwidthLimit()
    for second in range(100):
        told = limit.update(queueing=False, arriving=50_000, now=float(second))
        assert told == UNLIMITED_BITS_PER_SECOND


def test_a_queue_steps_back_and_is_grown_out_of() -> None:
    """After a queue a little less than what came through; 8 % more a second from there."""
    limit = BandwidthLimit()
    assert limit.update(queueing=True, arriving=2_000_000, now=0.0) == 1_700_000
    assert limit.update(queueing=True, arriving=1_700_000, now=0.1) == 1_700_000
    assert limit.update(queueing=False, arriving=1_700_000, now=1.1) == 1_836_000
    for second in range(2, 60):
        told = limit.update(queueing=False, arriving=1_700_000, now=second + 0.1)
    assert told == UNLIMITED_BITS_PER_SECOND


def test_a_limit_leaves_enough_for_a_face() -> None:
    """A busy machine looks like a queue; it does not make the pictures useless."""
    assert BandwidthLimit().update(queueing=True, arriving=1_000, now=0.0) == 500_000


def announced(link: float, rate: float, seconds: float) -> list[int]:
    """Send at `rate` bits a second over a link of `link`; return what is announced."""
    estimator, told = BandwidthEstimator(), []
    sent_at = free_at = 0.0
    while sent_at < seconds:
        free_at = max(free_at, sent_at) + 8 * PACKET / link
        clock = int(sent_at * (1 << 18)) & 0xFFFFFF
        limit = estimator.add(sent=clock, arrived_at=free_at, size=PACKET)
        if limit is not None:
            told.append(limit)
        sent_at += 8 * PACKET / rate
    return told


def test_a_link_with_room_is_left_alone() -> None:
    """What fits is not limited."""
    assert set(announced(link=8e6, rate=1e6, seconds=10)) == {UNLIMITED_BITS_PER_SECOND}


def test_a_link_that_is_too_narrow_is_found() -> None:
    """Twice as much as fits is brought below what fits within seconds."""
    told = announced(link=1e6, rate=2e6, seconds=5)
    assert min(told) <= 1_000_000


def test_the_start_bitrate_is_asked_for_in_every_video_codec() -> None:
    """It is added to a format that is there, or as a format of its own, and to nothing else."""
    sdp = "\r\n".join([
        "v=0",
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98",
        "a=rtpmap:96 VP8/90000",
        "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 apt=96",
        "a=rtpmap:98 H264/90000",
        "a=fmtp:98 packetization-mode=1",
        "",
    ])  # fmt: skip
    lines = with_start_bitrate(sdp, 2_500_000).split("\r\n")
    assert "a=fmtp:96 x-google-start-bitrate=2500" in lines
    assert "a=fmtp:98 packetization-mode=1;x-google-start-bitrate=2500" in lines
    assert "a=fmtp:97 apt=96" in lines
    assert len(lines) == 9
