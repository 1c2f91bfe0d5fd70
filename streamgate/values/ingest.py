"""What a publisher is answered."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "PublishAnswer",
]


@dataclass(frozen=True, slots=True)
class PublishAnswer:
    """What a publisher is told when its offer was taken.

    Attributes:
        session_id: names the session in its URL; cannot be guessed.
        entity_tag: names its ICE session, without quotes.
        sdp: the answer.
    """

    session_id: str
    entity_tag: str
    sdp: str
