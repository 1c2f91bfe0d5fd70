"""What an offer, an answer or a trickled fragment says, checked before anything is opened for it.

aiortc's parser answers malformed text with whatever Python raises on the way (assertions, missing
keys, exhausted iterators), so it is called in one place, and what it accepts is checked here.
"""

from __future__ import annotations

from dataclasses import dataclass

from aiortc import RTCIceCandidate
from aiortc.codecs import CODECS, is_rtx
from aiortc.rtcpeerconnection import find_common_codecs
from aiortc.sdp import MediaDescription, SessionDescription, candidate_from_sdp

from streamgate.errors import IngestError, IngestFault

__all__ = ["Fragment", "Offer", "read_answer", "read_fragment", "read_offer"]

_MOST_SECTIONS = 8
_MOST_CANDIDATES = 64
_PARSER_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, StopIteration,
    TypeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Offer:
    """A publisher's offer that can be answered.

    Attributes:
        sdp: its text.
        kinds: kind of each media section, in order.
        video: index of the section whose video is received.
        user_fragment: ICE user name of the offerer.
    """

    sdp: str
    kinds: tuple[str, ...]
    video: int
    user_fragment: str


@dataclass(frozen=True, slots=True)
class Fragment:
    """A trickled SDP fragment (RFC 8840).

    Attributes:
        user_fragment: ICE user name of the offerer, where it is given.
        candidates: the new candidates.
        complete: whether there will be no more.
    """

    user_fragment: str | None
    candidates: tuple[RTCIceCandidate, ...]
    complete: bool


def read_offer(sdp: str) -> Offer:
    """Return what an offer says.

    Raises:
        IngestError: it is malformed, or asks for what is not supported.
    """
    try:
        return _read_offer(sdp)
    except _PARSER_ERRORS:
        # The parser lets lines through on which what compares codecs fails.
        raise _malformed("the body is not a session description (RFC 8866)") from None


def _read_offer(sdp: str) -> Offer:
    sections = SessionDescription.parse(sdp).media
    if not sdp.startswith("v=0") or not sections:
        raise _malformed("the body is not an offer: wanted v=0 and at least one media section")
    if len(sections) > _MOST_SECTIONS:
        raise _unsupported(f"at most {_MOST_SECTIONS} media sections are taken")
    for section in sections:
        _check_section(section)
    mids = [section.rtp.muxId for section in sections]
    if len(set(mids)) != len(mids) or (len(mids) > 1 and not all(mids)):
        raise _malformed("each media section needs an a=mid of its own")
    video = _video(sections)
    ice = sections[video].ice
    assert ice is not None, "checked with its section"
    return Offer(
        sdp=sdp,
        kinds=tuple(section.kind for section in sections),
        video=video,
        user_fragment=str(ice.usernameFragment),
    )


def read_answer(sdp: str) -> bool:
    """Tell whether an answer sends a video that can be decoded, and can be given to aiortc."""
    try:
        sections = SessionDescription.parse(sdp).media
        if len(sections) != 1:
            # Only one was offered.
            return False
        _check_section(sections[0])
        return _video(sections) == 0
    except (IngestError, *_PARSER_ERRORS):
        return False


def _check_section(section: MediaDescription) -> None:
    if section.kind not in {"audio", "video"}:
        raise _unsupported(f"only audio and video are taken, not {section.kind[:32]!r}")
    ice, dtls = section.ice, section.dtls
    if ice is None or not ice.usernameFragment or not ice.password:
        raise _malformed("a=ice-ufrag or a=ice-pwd is missing")
    if dtls is None or not dtls.fingerprints:
        raise _malformed("a=setup or a=fingerprint is missing")
    if not section.rtcp_mux:
        raise _malformed("a=rtcp-mux is missing")
    if len(section.ice_candidates) > _MOST_CANDIDATES:
        raise _unsupported(f"at most {_MOST_CANDIDATES} candidates are taken")
    if not find_common_codecs(CODECS[section.kind], section.rtp.codecs):
        wanted = "VP8 or H.264 (packetization-mode 1)" if section.kind == "video" else "Opus"
        raise _unsupported(f"no {section.kind} codec in common: offer {wanted}")


def _video(sections: list[MediaDescription]) -> int:
    for index, section in enumerate(sections):
        sends = section.direction in {None, "sendonly", "sendrecv"}
        codecs = find_common_codecs(CODECS["video"], section.rtp.codecs)
        if section.kind == "video" and sends and not all(is_rtx(codec) for codec in codecs):
            return index
    raise _unsupported("the offer sends no video; add a video track")


def read_fragment(text: str) -> Fragment:
    """Return what a trickled fragment says.

    Raises:
        IngestError: it is malformed.
    """
    user_fragment, complete = None, False
    candidates: list[RTCIceCandidate] = []
    for line in text.splitlines():
        name, _, value = line.strip().partition(":")
        if name == "a=ice-ufrag":
            user_fragment = value
        elif name == "a=end-of-candidates":
            complete = True
        elif name == "a=candidate":
            candidates.append(_candidate(value))
    if user_fragment is None and not candidates and not complete:
        raise _malformed("the body is not an SDP fragment (RFC 8840): no candidate in it")
    return Fragment(user_fragment, tuple(candidates), complete)


def _candidate(value: str) -> RTCIceCandidate:
    try:
        candidate = candidate_from_sdp(value)
    except _PARSER_ERRORS:
        raise _malformed("an a=candidate line cannot be read") from None
    # Everything is bundled, so that every candidate belongs to the first section's transport.
    candidate.sdpMLineIndex = 0
    return candidate


def _malformed(detail: str) -> IngestError:
    return IngestError(IngestFault.MALFORMED, detail)


def _unsupported(detail: str) -> IngestError:
    return IngestError(IngestFault.UNSUPPORTED, detail)
