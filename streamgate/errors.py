"""Failures as types, so that callers catch what they can name.

Every message names the place and the remedy, and never holds a password or a token.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "ConfigError",
    "DataError",
    "DeliveryError",
    "DetectorError",
    "IngestError",
    "IngestFault",
    "LeaseError",
    "ModelError",
    "OutboxError",
    "PictureError",
    "ProbeError",
    "ScoreError",
    "ScorerAwayError",
    "SinkFault",
    "SourceError",
    "StreamgateError",
]


class StreamgateError(Exception):
    """Anything that streamgate raises on purpose; of a URL its message shows the host alone."""

    def __init__(self, message: str = "") -> None:
        # Its package brings numpy, which `--help` and `import streamgate` must not wait for.
        from streamgate.values.redaction import redact  # noqa: PLC0415

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


class PictureError(StreamgateError):
    """A decoded picture cannot be converted."""


class DetectorError(StreamgateError):
    """The face detector cannot be loaded or run."""


class ModelError(StreamgateError):
    """A model's file is missing, damaged, of another architecture or of another hash."""


class ScoreError(StreamgateError):
    """Crops cannot be scored."""


class ScorerAwayError(ScoreError):
    """No scorer service has scored the crops in time; that is no fault of this process."""


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


class LeaseError(StreamgateError):
    """The server that keeps the leases cannot be used now."""


class SinkFault(StrEnum):
    """What a delivery's failure says, of the sink or of the best shot.

    Where another best shot passes right after, it was the best shot, whatever it looked like.
    """

    AWAY = "away"
    """The sink was not reached: every best shot would fare alike."""
    CREDENTIALS = "credentials"
    """The sink does not let us in, until somebody mends its settings."""
    UNCLEAR = "unclear"
    """It broke off, failed or stayed silent: the sink is in trouble, or this one best shot is."""
    REFUSED = "refused"
    """The sink has answered that it does not take this best shot."""
    FENCED = "fenced"
    """The sink has heard from a later tenure of the camera's lease."""


class ProbeError(StreamgateError):
    """A sink that was asked could not take a best shot.

    Attributes:
        remedy: what to do.
    """

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class DeliveryError(StreamgateError):
    """A sink did not take a best shot.

    Attributes:
        fault: what that says of the sink and of the best shot.
        retry_after_s: how long the sink asked to wait before the next attempt, if it did.
        setting: the key of the sink's section that may be wrong, such as `token`.
    """

    def __init__(
        self,
        message: str,
        *,
        fault: SinkFault = SinkFault.UNCLEAR,
        retry_after_s: float | None = None,
        setting: str | None = None,
    ) -> None:
        super().__init__(message)
        self.fault = fault
        self.retry_after_s = retry_after_s
        self.setting = setting

    @property
    def permanent(self) -> bool:
        """Whether the sink has answered that it does not take this best shot."""
        return self.fault is SinkFault.REFUSED
