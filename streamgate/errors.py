"""Failures as types, so that callers catch what they can name.

Every message names the place and the remedy, and never holds a password or a token.
"""

from __future__ import annotations

from enum import StrEnum

from streamgate.values.redaction import redact

__all__ = [
    "ConfigError",
    "DataError",
    "DeliveryError",
    "DetectorError",
    "IngestError",
    "IngestFault",
    "ModelError",
    "OutboxError",
    "ScoreError",
    "SourceError",
    "StreamgateError",
]


class StreamgateError(Exception):
    """Anything that streamgate raises on purpose; of a URL its message shows the host alone."""

    def __init__(self, message: str = "") -> None:
        super().__init__(redact(message))


class ConfigError(StreamgateError):
    """A configuration cannot be used; the message lists every fault with file and line."""

    def __init__(self, message: str = "") -> None:
        # It shows what an address should look like, and has struck out what was found itself.
        Exception.__init__(self, message)


class DataError(StreamgateError):
    """Pictures or tables that a command was given cannot be used."""


class SourceError(StreamgateError):
    """A source cannot be opened or read."""


class DetectorError(StreamgateError):
    """The face detector cannot be loaded or run."""


class ModelError(StreamgateError):
    """A model's file is missing, damaged, of another architecture or of another hash."""


class ScoreError(StreamgateError):
    """Crops cannot be scored."""


class IngestFault(StrEnum):
    """What is wrong with a publisher's request."""

    MALFORMED = "malformed"
    UNSUPPORTED = "unsupported"
    BUSY = "busy"
    UNKNOWN_SESSION = "unknown_session"
    NO_CONDITION = "no_condition"
    STALE = "stale"
    NOT_RUNNING = "not_running"


class IngestError(StreamgateError):
    """A publisher's request is refused; the message may be shown to the publisher.

    Attributes:
        fault: what is wrong with it.
    """

    def __init__(self, fault: IngestFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


class OutboxError(StreamgateError):
    """The outbox cannot be used as it is configured: another key, another camera, no access."""


class DeliveryError(StreamgateError):
    """A sink did not take a best shot.

    Attributes:
        permanent: whether the sink has refused it for good, so that a retry is useless.
        retry_after_s: how long the sink asked to wait before the next attempt, if it did.
    """

    def __init__(
        self, message: str, *, permanent: bool = False, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after_s = retry_after_s
