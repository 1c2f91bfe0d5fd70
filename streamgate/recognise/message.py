"""A best shot as a consumer reads it: checked against its own lengths and hashes."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgate.errors import DataError

__all__ = ["Message", "message_from_document", "message_from_parts"]

_SCHEMA, _VERSION = "streamgate.best-shot", 1
_LONGEST_TEXT = 1000
_LONGEST_SHOWN = 80
_HIGHEST_EPOCH = 2**63 - 1


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """What a recogniser needs of a best shot.

    Attributes:
        key: idempotency key: equal keys are the same best shot, delivered again.
        captured_at: UTC date and time, ISO 8601.
        embedding: float32 [E], of length 1.
        model_hash: sha256 of the network that made the embedding; embeddings of different networks
            must not be compared.
        crop: the aligned face as an encoded picture, empty where it was not sent.
        epoch: of the camera's tenure; None where the camera delivers without a lease.
        drained: whether an outbox has kept it beyond its tenure.
    """

    key: str
    camera: str
    track_id: int
    revision: int
    captured_at: str
    quality: float
    embedding: NDArray[np.float32]
    model_hash: str
    crop: bytes
    epoch: int | None = None
    drained: bool = False


def message_from_document(document: bytes) -> Message:
    """Read a message of one part: JSON with the pictures inside, as NATS, MQTT and Kafka carry it.

    Raises:
        DataError: it is no best shot, or it is damaged.
    """
    return _message(_parsed(document), None)


def message_from_parts(metadata: bytes, crop: bytes) -> Message:
    """Read a message of several parts, as HTTP and Redis carry it.

    Raises:
        DataError: it is no best shot, or it is damaged.
    """
    return _message(_parsed(metadata), crop)


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise DataError("the metadata is not JSON") from None
    if isinstance(said, dict) and "specversion" in said:
        # A CloudEvent in structured mode; in binary mode its attributes are headers.
        said = said.get("data")
    if not isinstance(said, dict) or said.get("schema") != _SCHEMA:
        raise DataError(f"the metadata is not that of a {_SCHEMA}")
    if said.get("schema_version") != _VERSION:
        version = _brief(said.get("schema_version"))
        raise DataError(f"schema_version is {version}; this reads {_VERSION}")
    return said


def _message(said: dict[str, Any], crop: bytes | None) -> Message:
    try:
        crop = _crop(said["crop"], crop)
        return Message(
            key=_text(said["key"]),
            camera=_text(said["camera"]),
            track_id=int(said["track_id"]),
            revision=int(said["revision"]),
            captured_at=_text(said["captured_at"]),
            quality=_number(said["quality"]),
            embedding=_embedding(said["embedding"]),
            model_hash=_text(said["embedding"]["model_hash"]),
            crop=crop,
            epoch=_epoch(said.get("epoch")),
            drained=said.get("drained") is True,
        )
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        # `binascii.Error` is a ValueError.
        said_wrong = _brief(error)
        raise DataError(f"the metadata lacks something or has it wrong: {said_wrong}") from None


def _crop(said: object, crop: bytes | None) -> bytes:
    if not isinstance(said, dict):
        raise TypeError("crop is no section")
    if crop is None:
        crop = base64.b64decode(said.get("base64", ""), validate=True)
    if crop and hashlib.sha256(crop).hexdigest() != said["sha256"]:
        raise DataError("the crop is not the one that was sent: its sha256 differs")
    return crop


def _text(value: object) -> str:
    """A short text that a terminal can show: what comes may be anybody's."""
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or not value.isprintable():
        raise TypeError(f"{_brief(value)} is no short line of text")
    value.encode()
    return value


def _epoch(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _HIGHEST_EPOCH:
        raise ValueError(f"{_brief(value)} is no epoch")
    return value


def _number(value: object) -> float:
    number = float(value) if isinstance(value, int | float) else math.nan
    if not math.isfinite(number):
        raise ValueError(f"{_brief(value)} is no number")
    return number


def _brief(value: object) -> str:
    shown = f"a {type(value).__name__}" if isinstance(value, list | dict) else ascii(value)
    return shown if len(shown) <= _LONGEST_SHOWN else shown[:_LONGEST_SHOWN] + "..."


def _embedding(said: dict[str, Any]) -> NDArray[np.float32]:
    if (said["type"], said["byte_order"]) != ("float32", "little"):
        raise DataError("the embedding is not float32, little-endian")
    data = base64.b64decode(said["base64"], validate=True)
    if len(data) != 4 * int(said["length"]):
        raise DataError("the embedding has another length than it says")
    values = np.frombuffer(data, "<f4").astype(np.float32)
    norm = float(np.linalg.norm(values))
    if not np.isfinite(norm) or norm == 0.0:
        raise DataError("the embedding holds no direction")
    return values / np.float32(norm)
