"""Best shots: what the gate forwards, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from streamgate.values.faces import ScoredFace
from streamgate.values.pictures import Picture
from streamgate.values.tracks import ReleaseReason

__all__ = [
    "Acceptance",
    "BestShot",
    "EncodedShot",
]


@dataclass(frozen=True, slots=True, eq=False)
class BestShot:
    """A face that the gate forwards.

    Attributes:
        camera: name of the camera.
        boot_id: identifies this run of the process.
        revision: 1 for the first face of the track that was forwarded, then 2, 3, ...
        rank: 1 for the best of those released together, then 2, 3, ...
        reason: why it was released now.
        face: the scored face.
        decided_at: monotonic seconds.
        decided_wall: Unix seconds.
        model_hash: sha256 of the weights that scored it.
        config_hash: sha256 of the configuration.
        visit: number of the visit that the track belongs to: that of its first track.
        template: mean embedding of the track, see `Release`.
        epoch: that of the lease under which it was released; None where the camera needs no lease.
    """

    camera: str
    boot_id: str
    revision: int
    rank: int
    reason: ReleaseReason
    face: ScoredFace
    decided_at: float
    decided_wall: float
    model_hash: str
    config_hash: str
    visit: int
    template: NDArray[np.float32] | None = None
    epoch: int | None = None

    @property
    def track_id(self) -> int:
        """The track that the face belongs to."""
        return self.face.candidate.track_id

    @property
    def key(self) -> str:
        """Idempotency key: the same for every attempt to deliver this face."""
        tenure = "" if self.epoch is None else f"e{self.epoch}-"
        return f"{self.camera}-{tenure}{self.boot_id}-{self.track_id}-{self.revision}"


@dataclass(frozen=True, slots=True)
class EncodedShot:
    """A best shot as it is stored and delivered: bytes that no later step changes.

    Attributes:
        key: idempotency key, see `BestShot.key`.
        camera, boot_id, track_id, revision, quality: see `BestShot`.
        captured_wall, decided_wall: Unix seconds.
        metadata: JSON, UTF-8, as the published schema describes it.
        crop: the aligned face.
        context: the wider picture around the face, if the configuration asks for one.
        epoch: what a sender under a lease says of it; not stored, see `delivery.lease`.
        drained: whether it comes from an outbox of an earlier tenure; the same.
    """

    key: str
    camera: str
    boot_id: str
    track_id: int
    revision: int
    quality: float
    captured_wall: float
    decided_wall: float
    metadata: bytes
    crop: Picture
    context: Picture | None
    epoch: int | None = None
    drained: bool = False

    @property
    def track(self) -> tuple[str, int]:
        """Boot and track: best shots that share them are delivered in order."""
        return self.boot_id, self.track_id

    @property
    def size(self) -> int:
        """Bytes of metadata and pictures."""
        return (
            len(self.metadata)
            + len(self.crop.data)
            + len(self.context.data if self.context else b"")
        )


class Acceptance(StrEnum):
    """What became of a best shot when it was handed to delivery."""

    ACCEPTED = "accepted"
    """It is in the outbox, on disk if the outbox is a file."""
    HELD = "held"
    """The outbox file could not be written: it is kept in memory and lost with the process."""
    DROPPED = "dropped"
    """The outbox is full of best shots that are at least as good."""
