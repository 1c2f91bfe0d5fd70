"""Signs webhooks: the receiver can tell who sent a body, that it is whole, and that it is new.

The header `Streamgate-Signature` is `t=SECONDS,v1=HEX`: the Unix time of the attempt, and the
HMAC-SHA256 of `SECONDS`, a dot and the body. While a secret is being replaced there is one `v1` for
each. An attempt is signed when it is made, so that one which comes late is not taken for a replay.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

__all__ = ["SIGNATURE_HEADER", "signature", "signed_at"]

SIGNATURE_HEADER = "Streamgate-Signature"


def signature(body: bytes, at_s: float, secrets: Iterable[bytes]) -> str:
    """Return the header's value for a body at a Unix time; each of the secrets signs."""
    stamp = f"{at_s:.6f}"
    proofs = [f"v1={signed_at(stamp, body, secret)}" for secret in secrets]
    return ",".join([f"t={stamp}", *proofs])


def signed_at(stamp: str, body: bytes, secret: bytes) -> str:
    """Return one secret's proof of a body and of the time as it is written."""
    return hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
