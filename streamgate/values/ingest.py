"""The answer to a publisher."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "PublishAnswer",
]


@dataclass(frozen=True, slots=True)
class PublishAnswer:
    """The answer to a publisher whose offer was accepted.

    Attributes:
        session_id: identifies the session in its URL; cannot be guessed.
        entity_tag: identifies its ICE session, without quotes.
        sdp: the SDP answer.
    """

    session_id: str
    entity_tag: str
    sdp: str
