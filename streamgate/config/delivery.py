"""Where best shots go: sinks, the outbox, and how deliveries are retried."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator

from streamgate.config.secrets import key_bytes, long_enough
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
    description="Best shots that have waited longer than this are dropped, seconds. The default, "
    "three days, outlasts a weekend.",
)


class MemoryOutboxSection(Section):
    """Best shots wait in memory. They are lost when the process ends."""

    kind: Literal["memory"] = "memory"
    max_shots: int = Field(
        default=256,
        ge=1,
        le=100_000,
        description="Most best shots that wait. Beyond it, the one of lowest quality is dropped; "
        "among equally good ones, the oldest.",
    )
    max_bytes: int = Field(
        default=67_108_864,
        ge=65_536,
        description="Most bytes that wait, 64 MiB by default. Beyond it, the same rule applies.",
    )
    ttl_s: float = _TTL


class OutboxKey(Section):
    """A key that encrypts best shots on disk."""

    id: Name = Field(
        description="Name of the key, which is stored beside everything that it encrypts."
    )
    key: SecretStr = Field(
        description="32 random bytes, in base64 or as 64 hexadecimal digits; better given as "
        "key_file or ${ENV}. `openssl rand -base64 32` makes one."
    )

    @field_validator("key")
    @classmethod
    def _is_key(cls, key: SecretStr) -> SecretStr:
        key_bytes(key)
        return key


class SqliteOutboxSection(Section):
    """Best shots wait in an encrypted file. They survive the end of the process."""

    kind: Literal["sqlite"]
    path: Path = Field(
        description="The file, one for each camera. Its folder is created if it does not exist."
    )
    keys: tuple[OutboxKey, ...] = Field(
        default=(),
        max_length=16,
        description="Encryption keys. The last one encrypts, all of them decrypt. To change the "
        "key, append one; remove the old one when nothing that it encrypted waits any more.",
    )
    store_pictures_unencrypted: bool = Field(
        default=False,
        description="Allow an outbox without keys. Faces can then be seen by everyone who can read "
        "the file, so it must be asked for.",
    )
    max_shots: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Most best shots that are kept, dead letters included. Beyond it, dead "
        "letters are dropped first, then the best shot of lowest quality; among equally good "
        "ones, the oldest.",
    )
    max_bytes: int = Field(
        default=1_073_741_824,
        ge=1_048_576,
        description="Largest size of the file, bytes, 1 GiB by default. Beyond it, the same rule "
        "applies.",
    )
    ttl_s: float = _TTL
    held_shots: int = Field(
        default=256,
        ge=0,
        le=10_000,
        description="Most best shots that are kept in memory while the file cannot be written, for "
        "example because the disk is full.",
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
    """How a failed delivery is retried."""

    initial_s: Seconds = Field(
        default=0.5, description="First pause, seconds; each failure doubles it."
    )
    max_s: Seconds = Field(
        default=60.0,
        description="Longest pause, seconds: how long a sink may be back before it is noticed.",
    )
    jitter: Fraction = Field(
        default=0.3,
        description="Each pause is shortened by a random share of up to this much, so that many "
        "cameras do not return to a sink in the same instant.",
    )
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
    """A log with one JSON line for each track that has ended. It holds no pictures.

    Each line is bound to the one before it: `streamgate decisions verify` tells whether any was
    changed or removed.
    """

    path: Path = Field(description="The file. Its folder is created if it does not exist.")
    max_bytes: int = Field(
        default=16_777_216,
        ge=4096,
        description="Largest size of the file, bytes, 16 MiB by default. Beyond it, the file is "
        "renamed to PATH.1 and a new one is started.",
    )
    keep: int = Field(
        default=4,
        ge=0,
        le=1000,
        description="How many renamed files are kept; the oldest is deleted.",
    )
    key: SecretStr | None = Field(
        default=None,
        description="Secret with which lines are bound to each other (HMAC-SHA256), so that nobody "
        "without it can forge them; better given as key_file, and readable by others than those "
        "who can write the log. Default: a plain hash, which shows changes that are not made with "
        "care.",
    )

    @field_validator("key")
    @classmethod
    def _is_long(cls, key: SecretStr | None) -> SecretStr | None:
        return long_enough(key)


class DeliverySection(Section):
    """Where best shots go."""

    sinks: tuple[SinkSection, ...] = Field(
        default=(),
        max_length=16,
        description="Receivers of best shots. Every best shot goes to each of them.",
    )
    outbox: OutboxSection = Field(
        default_factory=MemoryOutboxSection,
        description="Where best shots wait until every sink has acknowledged them. `outbox: "
        "memory` is short for `outbox: {kind: memory}`.",
    )
    retry: RetrySection = Field(default_factory=RetrySection)
    decision_log: DecisionLogSection | None = Field(
        default=None,
        description="Log of the decision on each track. Default: none is written.",
    )
    context: bool = Field(
        default=False,
        description="Send a wider picture around the face too, for recognisers that find the face "
        "themselves. Off, because it shows more than the face.",
    )
    context_margin: float = Field(
        default=1.0,
        ge=0.1,
        le=5,
        description="Width of the margin on each side of the face in the wider picture, in sizes "
        "of the face's box.",
    )
    bystanders: Literal["hide", "show"] = Field(
        default="hide",
        description="Other people's faces in the wider picture: `hide` covers each with one "
        "colour, and every place where the detector suspects a face; `show` leaves them, for which "
        "there should be a reason in law.",
    )
    template: bool = Field(
        default=False,
        description="Whether a best shot also carries the template of its track: the mean "
        "embedding of the scored faces, weighted by quality. A recogniser of the same model may "
        "compare it instead of the embedding of one face.",
    )
    crop_format: Literal["jpeg", "png"] = Field(
        default="jpeg",
        description="Format of pictures. png is lossless and several times as large.",
    )
    jpeg_quality: int = Field(
        default=95,
        ge=10,
        le=100,
        description="JPEG quality of pictures. The default is high, because a recogniser reads "
        "them.",
    )
    drain_s: Seconds = Field(
        default=3.0,
        description="At stop, how long to go on delivering what still waits, seconds. The default "
        "lets a camera stop within five.",
    )

    @model_validator(mode="after")
    def _names_differ(self) -> DeliverySection:
        names = [sink.name for sink in self.sinks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sinks are named {twice[0]}; give each a name of its own")
        return self
