"""Why a source could not be opened or was lost: a fixed set of reasons, each with a remedy.

FFmpeg's messages contain the address with its password, so only the type and the bare text of an
error are used.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import StrEnum

import av

from streamgate.values.redaction import redact

__all__ = ["Fault", "FaultReason", "fault", "fault_of"]


class FaultReason(StrEnum):
    """Label of the metric `source_faults`."""

    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TLS = "tls"
    INVALID_DATA = "invalid_data"
    NO_VIDEO = "no_video"
    NO_KEYFRAME = "no_keyframe"
    CLOSED = "closed"
    FROZEN = "frozen"
    CLOCK = "clock"
    PACKET_LOSS = "packet_loss"
    TOO_LARGE = "too_large"
    OTHER = "other"


_BY_TYPE: tuple[tuple[tuple[type[av.FFmpegError], ...], FaultReason], ...] = (
    ((av.HTTPUnauthorizedError, av.HTTPForbiddenError), FaultReason.UNAUTHORIZED),
    ((av.HTTPNotFoundError, av.FileNotFoundError), FaultReason.NOT_FOUND),
    ((av.ConnectionRefusedError,), FaultReason.REFUSED),
    ((av.ExitError, av.TimeoutError), FaultReason.TIMEOUT),
    ((av.InvalidDataError,), FaultReason.INVALID_DATA),
)
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENODEV, errno.ENXIO}


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong and what to do about it, fit for a log."""

    reason: FaultReason
    text: str


_REMEDIES: dict[FaultReason, str] = {
    FaultReason.UNAUTHORIZED: "the camera refuses these credentials: check source.username and "
    "source.password",
    FaultReason.NOT_FOUND: "there is no such stream: check the path of the address",
    FaultReason.REFUSED: "nothing accepts connections there: check that it is on, and the port",
    FaultReason.UNREACHABLE: "it cannot be reached: check the host's name, the route and the cable",
    FaultReason.TIMEOUT: "it is silent: no answer or no picture within the timeout",
    FaultReason.TLS: "no connection that can be trusted: check the host's name, and that the "
    "camera's certificate names it, is in date and was signed by source.ca_file",
    FaultReason.INVALID_DATA: "what arrives cannot be read as video",
    FaultReason.NO_VIDEO: "it has no video stream",
    FaultReason.NO_KEYFRAME: "no sound keyframe or recovery point comes: shorten the camera's "
    "keyframe interval",
    FaultReason.CLOSED: "the camera ended the stream",
    FaultReason.CLOCK: "the timestamps cannot be believed; pictures are timed by their arrival: "
    "check the camera's clock, and that its frame rate is the one it is set to",
    FaultReason.PACKET_LOSS: "packets are lost on the way, and pictures with them: set "
    "source.transport: tcp, or repair the network",
    FaultReason.TOO_LARGE: "its pictures are too large",
    FaultReason.OTHER: "it failed",
}


def fault(reason: FaultReason, detail: str = "") -> Fault:
    """Return a fault with its remedy, and FFmpeg's bare words where there are any."""
    text = _REMEDIES[reason]
    return Fault(reason, f"{text} ({redact(detail)})" if detail else text)


def fault_of(error: av.FFmpegError, *, encrypted: bool = False) -> Fault:
    """Return what an error of FFmpeg means.

    Args:
        error: what opening or reading raised.
        encrypted: whether the connection is TLS, whose failures FFmpeg reports as plain I/O errors.
    """
    return fault(_reason_of(error, encrypted), error.strerror or type(error).__name__)


def _reason_of(error: av.FFmpegError, encrypted: bool) -> FaultReason:
    for kinds, reason in _BY_TYPE:
        if isinstance(error, kinds):
            return reason
    if error.errno == errno.EIO:
        return FaultReason.TLS if encrypted else FaultReason.UNREACHABLE
    return FaultReason.UNREACHABLE if error.errno in _UNREACHABLE else FaultReason.OTHER
