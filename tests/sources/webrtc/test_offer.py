"""Descriptions from outside: whatever they say, they are taken or refused, and nothing else."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamgate.errors import IngestError, IngestFault
from streamgate.sources.webrtc.offer import read_answer, read_fragment, read_offer
from tests.sources.webrtc.ingest import offer_of


@pytest.fixture(scope="module")
def offer() -> str:
    """A real offer of audio and video."""
    return asyncio.run(offer_of("audio", "video"))


def test_the_section_that_sends_video_is_found(offer: str) -> None:
    """Audio beside it is no fault; it is only not wanted."""
    found = read_offer(offer)
    assert (found.kinds, found.video) == (("audio", "video"), 1)
    assert found.user_fragment


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_any_damage_is_taken_or_refused(offer: str, seed: int) -> None:
    """Lines that are lost, doubled, swapped or cut raise nothing but a refusal."""
    chance = random.Random(seed)
    lines = offer.split("\r\n")
    for _ in range(chance.randint(1, 6)):
        place, other = chance.randrange(len(lines)), chance.randrange(len(lines))
        match chance.randrange(5):
            case 0:
                del lines[place]
            case 1:
                lines.insert(place, lines[other % len(lines)])
            case 2:
                lines[place], lines[other] = lines[other], lines[place]
            case 3:
                lines[place] = lines[place][: chance.randrange(len(lines[place]) + 1)]
            case _:
                lines[place] = lines[place].replace(chance.choice("0123456789:= /"), "", 1)
    text = "\r\n".join(lines)
    with suppress(IngestError):
        assert read_offer(text).video < 8
    read_answer(text)


ODD = (
    "a=fmtp:{} packetization-mode",
    "a=fmtp:{} packetization-mode=",
    "a=fmtp:{} packetization-mode=x;profile-level-id=42e01f",
    "a=fmtp:{} profile-level-id",
    "a=fmtp:{} profile-level-id=zz;packetization-mode=1",
    "a=fmtp:{} profile-level-id=;level-asymmetry-allowed;packetization-mode=1",
    "a=fmtp:{} apt",
    "a=fmtp:{} apt=x",
    "a=fmtp:{}",
    "a=fmtp:x packetization-mode=1",
    "a=rtpmap:{} H264/90000/x",
    "a=rtpmap:{} H264",
    "a=rtpmap:{} /",
    "a=rtcp-fb:{}",
    "a=ssrc:x cname:y",
    "a=ssrc:1",
    "a=ssrc-group:FID x",
    "a=extmap:x y",
    "a=candidate:",
    "a=fingerprint:",
    "a=setup:x",
    "a=sctp-port:x",
    "a=mid:",
    "a=msid:",
    "a=group:BUNDLE",
    "m=video",
    "m=video x UDP/TLS/RTP/SAVPF 96",
    "c=IN",
    "o=- x",
    "t=",
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_odd_lines_are_taken_or_refused(offer: str, data: st.DataObject) -> None:
    """Attributes without their values, with wrong ones, and about payloads that are not there."""
    lines = offer.split("\r\n")
    payloads = [line.split(":")[1].split()[0] for line in lines if line.startswith("a=rtpmap:")]
    for line in data.draw(st.lists(st.sampled_from(ODD), min_size=1, max_size=4)):
        written = line.format(data.draw(st.sampled_from([*payloads, "0", "256"])))
        place = data.draw(st.integers(0, len(lines)))
        kind = written.partition(" ")[0]
        if data.draw(st.booleans()):
            lines = [there for there in lines if not there.startswith(kind)]
        lines.insert(min(place, len(lines)), written)
    text = "\r\n".join(lines)
    with suppress(IngestError):
        assert read_offer(text).video < 8
    read_answer(text)


def test_a_codec_parameter_without_a_value_is_no_crash(offer: str) -> None:
    """The offer is refused as malformed, or taken for its other codecs."""
    lines = [
        "a=fmtp:" + line.partition(":")[2].split()[0] + " packetization-mode"
        if line.startswith("a=fmtp:") and "packetization-mode" in line
        else line
        for line in offer.split("\r\n")
    ]
    assert lines != offer.split("\r\n")
    with pytest.raises(IngestError) as refused:
        read_offer("\r\n".join(lines))
    assert refused.value.fault is IngestFault.MALFORMED


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=300))
def test_any_text_is_no_offer_and_no_answer(text: str) -> None:
    """Garbage is refused, in every form that it is looked at."""
    with pytest.raises(IngestError):
        read_offer(text)
    assert not read_answer(text)


@pytest.mark.parametrize(
    "text",
    ["", "a=candidate:nonsense", "a=candidate:1 1 udp x 1.2.3.4 1 typ host", "hello"],
)
def test_a_fragment_without_sense_is_refused(text: str) -> None:
    """A candidate that cannot be read, or none, is a malformed fragment."""
    with pytest.raises(IngestError) as refused:
        read_fragment(text)
    assert refused.value.fault is IngestFault.MALFORMED


def test_an_answer_must_send_what_can_be_decoded() -> None:
    """Only one section, which sends VP8 or H.264, is an answer to ours."""
    video = asyncio.run(offer_of("video"))
    assert read_answer(video)
    assert not read_answer(video.replace("a=sendonly", "a=inactive"))
    assert not read_answer(video.replace(" VP8/", " VP9/").replace(" H264/", " AV1/"))
    assert not read_answer(asyncio.run(offer_of("audio", "video")))
