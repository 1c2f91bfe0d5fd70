"""Encryption keys as people write them: base64 or hexadecimal."""

from __future__ import annotations

import base64
import binascii
import re

from pydantic import SecretStr

__all__ = ["KEY_BYTES", "key_bytes", "long_enough"]

KEY_BYTES = 32
_SHORTEST_SECRET = 16
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]{64}")


def key_bytes(key: SecretStr) -> bytes:
    """Return the 32 bytes of a key that is written in base64 or in hexadecimal digits.

    Raises:
        ValueError: it is neither; the message does not show the key.
    """
    text = key.get_secret_value().strip()
    if _HEXADECIMAL.fullmatch(text):
        return bytes.fromhex(text)
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != KEY_BYTES:
        raise ValueError("wanted 32 bytes in base64, or 64 hexadecimal digits")
    return found


def long_enough(secret: SecretStr | None) -> SecretStr | None:
    """Return a secret that signs, which must be too long to be guessed.

    Raises:
        ValueError: it is short.
    """
    if secret is not None and len(secret.get_secret_value()) < _SHORTEST_SECRET:
        raise ValueError(f"wanted {_SHORTEST_SECRET} characters or more: openssl rand -base64 32")
    return secret
