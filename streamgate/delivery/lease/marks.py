"""What a message says of the lease: the epoch in it, and how it is sent under a later one.

A best shot's epoch is a part of its key and never changes. It is sent as it is while its own tenure
lasts. One that an outbox has kept beyond it (the process was restarted, or its machine died) is
sent by whoever has the outbox now, marked as *drained*: it is old, but it is nobody's double, and
its key tells a repetition. Receivers refuse lower epochs except those that are marked.
"""

from __future__ import annotations

import json
from dataclasses import replace

from streamgate.values import EncodedShot

__all__ = ["DRAINED", "EPOCH", "FENCED", "as_drained", "as_sent", "epoch_of", "headers_of"]

EPOCH = "Streamgate-Epoch"
DRAINED = "Streamgate-Drained"
"""Headers of a message: one or the other, or neither where the camera needs no lease."""
FENCED = "Streamgate-Fenced"
"""Header of an HTTP answer 409: the message is of an earlier tenure than others before it."""


def epoch_of(shot: EncodedShot) -> int | None:
    """The epoch under which a best shot was accepted; None where the camera needed no lease."""
    try:
        epoch = json.loads(shot.metadata).get("epoch")
    except (ValueError, AttributeError):
        return None
    return epoch if isinstance(epoch, int) else None


def headers_of(shot: EncodedShot) -> dict[str, str]:
    """The header that a message carries beside its key.

    A drained one has not got the first, so that whoever compares that alone lets it pass.
    """
    if shot.epoch is None:
        return {}
    return {DRAINED if shot.drained else EPOCH: str(shot.epoch)}


def as_sent(shot: EncodedShot, epoch: int) -> EncodedShot:
    """The message that is sent for a stored best shot under the tenure of this epoch.

    One from before the camera had a lease is sent as it is: no receiver compares it.
    """
    own = epoch_of(shot)
    if own is None:
        return shot
    return replace(shot, epoch=own) if own == epoch else as_drained(shot)


def as_drained(shot: EncodedShot) -> EncodedShot:
    """The message for a best shot that an outbox has kept beyond its tenure."""
    own = epoch_of(shot)
    if own is None:
        return shot
    said = json.loads(shot.metadata) | {"drained": True}
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
    return replace(shot, metadata=text, epoch=own, drained=True)
