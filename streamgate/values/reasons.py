"""Why things happened, as bounded words: the labels of metrics, and what logs and pages repeat."""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "DeliveryOutcome",
    "DetailOutcome",
    "DropReason",
    "FaultReason",
    "FrameDrop",
    "LeaseLoss",
    "LineOutcome",
    "OutboxFault",
    "ProfileReason",
    "Rejection",
    "ReloadOutcome",
    "ServiceFault",
    "ServiceRefusal",
    "ServiceStage",
    "SourceState",
    "Stage",
]


class Stage(StrEnum):
    """A stage of a frame's way whose time is measured."""

    DECODE = "decode"
    CONVERT = "convert"
    DETECT = "detect"
    TRACK = "track"
    ALIGN = "align"
    SCORE = "score"


class FaultReason(StrEnum):
    """Why a source could not be opened or was lost."""

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
    OTHER = "other"
    NEVER_CONNECTED = "never_connected"
    SILENT = "silent"
    FAILED = "failed"
    CLOCK = "clock"
    PACKET_LOSS = "packet_loss"
    TOO_LARGE = "too_large"


class FrameDrop(StrEnum):
    """Why a picture was not looked at."""

    REPLACED = "replaced"
    """A newer one came before it was taken."""
    CORRUPT = "corrupt"
    WAITING_FOR_KEYFRAME = "waiting_for_keyframe"
    STALE = "stale"
    DECODER_BEHIND = "decoder_behind"
    DETECTOR_FAILED = "detector_failed"


class Rejection(StrEnum):
    """Why a face is not fit to be scored."""

    TOO_SMALL = "too_small"
    AT_EDGE = "at_edge"
    LOW_DETECTOR_SCORE = "low_detector_score"
    EYES_TOO_CLOSE = "eyes_too_close"
    TURNED_AWAY = "turned_away"
    NODDING = "nodding"
    TILTED = "tilted"
    NOT_ALIGNABLE = "not_alignable"
    IMPLAUSIBLE = "implausible"
    """Eyes, nose and mouth lie to each other as in no face."""
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    FLAT = "flat"
    BLURRED = "blurred"
    TOO_MANY = "too_many"
    """There were better ones, as many as `detector.max_faces` allows."""
    IN_IGNORE_ZONE = "in_ignore_zone"
    """It was left alone: such faces are not counted as detected."""


class DeliveryOutcome(StrEnum):
    """What came of an attempt to deliver a best shot."""

    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"
    REFUSED = "refused"


class DropReason(StrEnum):
    """Why the outbox dropped a best shot."""

    FULL = "full"
    UNWRITABLE = "unwritable"
    EXPIRED = "expired"
    REFUSED = "refused"
    DAMAGED = "damaged"
    PURGED = "purged"
    SINK_REMOVED = "sink_removed"
    NO_LEASE = "no_lease"
    """Another process has taken the camera's lease, and sees the same people."""


class LeaseLoss(StrEnum):
    """Why a camera's lease was lost."""

    EXPIRED = "expired"
    """It was not renewed in time: the server was away, or the process was stopped."""
    TAKEN = "taken"
    """Another process has it."""
    FENCED = "fenced"
    """A receiver has heard from a later tenure."""


class OutboxFault(StrEnum):
    """Why the outbox's file could not be used."""

    FULL = "full"
    IO = "io"
    BUSY = "busy"
    OPEN = "open"
    READONLY = "readonly"
    CORRUPT = "corrupt"
    CONFIG = "config"
    STUCK = "stuck"
    MOVED = "moved"
    OTHER = "other"


class LineOutcome(StrEnum):
    """What came of a line of the decision log."""

    WRITTEN = "written"
    LOST = "lost"


class SourceState(StrEnum):
    """The state of a WebRTC source."""

    WAITING = "waiting"
    NEGOTIATING = "negotiating"
    CONNECTING = "connecting"
    LIVE = "live"


class DetailOutcome(StrEnum):
    """Which of two streams a face was cut out of, and why."""

    MAIN = "main"
    """The main stream."""
    LATE = "late"
    """The substream, because the main stream had no picture of that moment yet."""
    AWAY = "away"
    """The substream, because the main stream is away."""
    NOT_FOUND = "not_found"
    """The substream, because the face was not found again in the main stream's picture."""


class ProfileReason(StrEnum):
    """Why a profile is in use."""

    FILE = "file"
    """There is no schedule, and nobody has asked for another."""
    SCHEDULE = "schedule"
    CALL = "call"


class ReloadOutcome(StrEnum):
    """What came of reading the configuration again."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


class ServiceFault(StrEnum):
    """Why a scorer service gave a camera no scores."""

    UNREACHABLE = "unreachable"
    """No connection, or it broke off."""
    TIMEOUT = "timeout"
    BUSY = "busy"
    """It has too much waiting, of this camera or of all."""
    NOT_ADMITTED = "not_admitted"
    """The token or the client certificate is not accepted."""
    OTHER_MODEL = "other_model"
    """It has other weights, another group, or no model of the name."""
    FAILED = "failed"
    """Its engine has failed, or its answer is none."""


class ServiceRefusal(StrEnum):
    """Why a scorer service did not answer a request with scores."""

    UNAUTHENTICATED = "unauthenticated"
    MALFORMED = "malformed"
    """It is no message of the protocol, or its shape, type or name is wrong."""
    UNKNOWN_MODEL = "unknown_model"
    OTHER_MODEL = "other_model"
    """It asks for other weights than these."""
    CAMERA_FULL = "camera_full"
    FULL = "full"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    """The client went away or gave up."""
    ENGINE_FAILED = "engine_failed"
    ENGINE_DEAD = "engine_dead"
    DRAINING = "draining"


class ServiceStage(StrEnum):
    """A stage of a request's way through a scorer service."""

    QUEUE = "queue"
    SCORE = "score"
    TOTAL = "total"
