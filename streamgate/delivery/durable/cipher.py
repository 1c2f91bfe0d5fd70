"""What the outbox writes to disk: sealed, and bound to the row that it belongs to.

AES-256-GCM with a random nonce for each best shot. The row's own values are authenticated with the
body, so that neither a flipped bit nor a body moved to another row goes unnoticed. Where the config
allows clear pictures, a digest takes the place of the seal: it finds flipped bits, but hides
nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from streamgate.config import OutboxKey
from streamgate.config.secrets import key_bytes
from streamgate.values import Picture

__all__ = ["CLEAR", "Cipher", "DamagedError", "pack", "unpack"]

CLEAR = ""
"""The key id of what is stored in clear."""

_NONCE_BYTES = 12
_DIGEST_BYTES = 32
_PROOF = b"streamgate outbox"
_LENGTHS = struct.Struct("<4sIIII")
_MAGIC = b"SGS1"


class DamagedError(Exception):
    """Stored bytes are not those that were written."""


class Cipher:
    """Seals with the last key, opens with any; without keys it does not hide what it writes."""

    def __init__(self, keys: Sequence[OutboxKey]) -> None:
        self._keys = {key.id: AESGCM(key_bytes(key.key)) for key in keys}
        self.key_id = keys[-1].id if keys else CLEAR

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of the keys that are there."""
        return tuple(self._keys)

    def knows(self, key_id: str) -> bool:
        """Whether what that key has sealed can be opened."""
        return key_id == CLEAR or key_id in self._keys

    def seal(self, plain: bytes, bound: bytes) -> bytes:
        """Seal bytes together with values that are stored beside them."""
        if self.key_id == CLEAR:
            return hashlib.sha256(bound + b"\0" + plain).digest() + plain
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._keys[self.key_id].encrypt(nonce, plain, bound)

    def open(self, key_id: str, sealed: bytes, bound: bytes) -> bytes:
        """Return what was sealed.

        Raises:
            DamagedError: a bit differs, or the key is another.
        """
        if key_id == CLEAR:
            plain = sealed[_DIGEST_BYTES:]
            digest = hashlib.sha256(bound + b"\0" + plain).digest()
            if not hmac.compare_digest(digest, sealed[:_DIGEST_BYTES]):
                raise DamagedError("its digest differs")
            return plain
        key = self._keys.get(key_id)
        if key is None:
            raise DamagedError("its key is not known")
        try:
            return key.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound)
        except (InvalidTag, ValueError):
            raise DamagedError("it does not match its seal") from None

    def proof_of(self, key_id: str) -> bytes:
        """Bytes by which the same key is known again."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._keys[key_id].encrypt(nonce, _PROOF, key_id.encode())

    def proves(self, key_id: str, proof: bytes) -> bool:
        """Whether the key of that id is the one that made the proof."""
        try:
            plain = self._keys[key_id].decrypt(
                proof[:_NONCE_BYTES], proof[_NONCE_BYTES:], key_id.encode()
            )
        except (InvalidTag, ValueError):
            return False
        return plain == _PROOF


def pack(metadata: bytes, crop: Picture, context: Picture | None) -> bytes:
    """Metadata and pictures as one string of bytes."""
    kind = crop.media_type.encode()
    wide = context.data if context is not None else b""
    head = _LENGTHS.pack(_MAGIC, len(metadata), len(kind), len(crop.data), len(wide))
    return b"".join((head, metadata, kind, crop.data, wide))


def unpack(plain: bytes) -> tuple[bytes, Picture, Picture | None]:
    """What `pack` was given; a context is always a JPEG.

    Raises:
        DamagedError: it is something else.
    """
    if len(plain) < _LENGTHS.size:
        raise DamagedError("it is too short")
    magic, *lengths = _LENGTHS.unpack_from(plain)
    if magic != _MAGIC or _LENGTHS.size + sum(lengths) != len(plain):
        raise DamagedError("its lengths do not agree")
    parts: list[bytes] = []
    at = _LENGTHS.size
    for length in lengths:
        parts.append(plain[at : at + length])
        at += length
    metadata, kind, crop, wide = parts
    context = Picture("image/jpeg", wide) if wide else None
    return metadata, Picture(kind.decode(), crop), context
