"""Where best shots go: the outbox and how deliveries are retried."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from streamgate.config.secrets import key_bytes
from streamgate.config.section import Fraction, Name, Seconds, Section
from streamgate.config.sinks import SinkSection

__all__ = [
    "DecisionLogSection",
    "DeliverySection",
    "MemoryOutboxSection",
    "OutboxKey",
    "OutboxSection",
    "RetrySection",
    "SqliteOutboxSection",
]

_WEEKS_S = 90 * 86_400
_TTL = Field(
    default=259_200,
    gt=0,
    le=_WEEKS_S,
    description="What is older is given up, seconds: three days outlast a weekend.",
)


class MemoryOutboxSection(Section):
    """Waiting best shots are kept in memory and are lost with the process."""

    kind: Literal["memory"] = "memory"
    max_shots: int = Field(
        default=256,
        ge=1,
        le=100_000,
        description="Most best shots that wait; beyond it those of lowest quality go first, of "
        "equals the oldest.",
    )
    max_bytes: int = Field(
        default=67_108_864, ge=65_536, description="Most bytes that wait; the same rule."
    )
    ttl_s: float = _TTL


class OutboxKey(Section):
    """A key that encrypts what waits on disk."""

    id: Name = Field(description="Its name, which is stored beside what it encrypts.")
    key: SecretStr = Field(
        description="32 random bytes in base64 or as 64 hexadecimal digits; better as key_file or "
        "${ENV}. `openssl rand -base64 32` makes one."
    )

    @field_validator("key")
    @classmethod
    def _is_key(cls, key: SecretStr) -> SecretStr:
        key_bytes(key)
        return key


class SqliteOutboxSection(Section):
    """Waiting best shots are kept in an encrypted file and outlive the process."""

    kind: Literal["sqlite"]
    path: Path = Field(description="The file, one for each camera; its folder is made.")
    keys: tuple[OutboxKey, ...] = Field(
        default=(),
        max_length=16,
        description="The last one encrypts, all of them decrypt: to change the key, add one; the "
        "old one can go when nothing waits that it has encrypted.",
    )
    store_pictures_unencrypted: bool = Field(
        default=False,
        description="Without a key nothing is stored, unless this is true: faces then lie on disk "
        "for everyone who can read the file.",
    )
    max_shots: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Most best shots that wait, dead letters among them; beyond it dead letters go "
        "first, then those of lowest quality, of equals the oldest.",
    )
    max_bytes: int = Field(
        default=1_073_741_824,
        ge=1_048_576,
        description="Most bytes that the file holds, in whole pages; the same rule.",
    )
    ttl_s: float = _TTL
    held_shots: int = Field(
        default=256,
        ge=0,
        le=10_000,
        description="While the file cannot be written (a full disk), most best shots that are kept "
        "in memory instead.",
    )

    @model_validator(mode="after")
    def _secured(self) -> SqliteOutboxSection:
        if not self.keys and not self.store_pictures_unencrypted:
            raise ValueError(
                "wanted keys: (a list of id and key_file), because the outbox stores pictures of "
                "faces; or, to store them for every reader, store_pictures_unencrypted: true"
            )
        if self.keys and self.store_pictures_unencrypted:
            raise ValueError("wanted either keys or store_pictures_unencrypted: true, not both")
        ids = [key.id for key in self.keys]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"two keys have the id {twice[0]}; give each an id of its own")
        return self


def _from_word(value: Any) -> Any:
    """Let `outbox: memory` stand for its section."""
    return {"kind": value} if isinstance(value, str) else value


OutboxSection = Annotated[
    Annotated[MemoryOutboxSection | SqliteOutboxSection, Field(discriminator="kind")],
    BeforeValidator(_from_word),
]


class RetrySection(Section):
    """How a delivery that failed is tried again."""

    initial_s: Seconds = Field(default=0.5, description="First pause, seconds; it doubles.")
    max_s: Seconds = Field(default=60.0, description="Longest pause, seconds.")
    jitter: Fraction = Field(default=0.3, description="Random share taken off each pause.")
    max_refusals: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="A best shot that a sink has answered so often that it does not take it (HTTP "
        "4xx, too large), while it took others, is a dead letter. Where a sink takes none, nothing "
        "is given up.",
    )
    max_faults: int = Field(
        default=12,
        ge=1,
        le=1000,
        description="The same for a best shot on which a sink has failed (HTTP 5xx, a connection "
        "that breaks, no answer in time), while it took others; with the usual pauses these are "
        "some six minutes.",
    )


class DecisionLogSection(Section):
    """One JSON line for each track that has ended, without pictures."""

    path: Path = Field(description="The file; its folder is made.")
    max_bytes: int = Field(
        default=16_777_216,
        ge=4096,
        description="The file is put aside as PATH.1 when it would grow beyond this.",
    )
    keep: int = Field(
        default=4, ge=0, le=1000, description="How many files are kept that were put aside."
    )


class DeliverySection(Section):
    """Where best shots go."""

    sinks: tuple[SinkSection, ...] = Field(
        default=(), max_length=16, description="Every best shot goes to each of them."
    )
    outbox: OutboxSection = Field(
        default_factory=MemoryOutboxSection,
        description="Where best shots wait; `memory` for short.",
    )
    retry: RetrySection = Field(default_factory=RetrySection)
    decision_log: DecisionLogSection | None = Field(
        default=None, description="Where the decision on each track is written; default: nowhere."
    )
    context: bool = Field(default=False, description="Send a wider crop around the face as well.")
    context_margin: float = Field(
        default=1.0, ge=0.1, le=5, description="Margin of the context crop, in box sizes."
    )
    crop_format: Literal["jpeg", "png"] = Field(default="jpeg", description="png is lossless.")
    jpeg_quality: int = Field(default=95, ge=10, le=100, description="JPEG quality of pictures.")
    drain_s: Seconds = Field(
        default=3.0, description="At stop, time allowed for what still waits, seconds."
    )

    @model_validator(mode="after")
    def _names_differ(self) -> DeliverySection:
        names = [sink.name for sink in self.sinks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sinks are named {twice[0]}; give each a name of its own")
        return self
