"""What every engine gives: one batch as the network scored it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from streamgate.quality.grafiqs import Group

__all__ = ["RING_SIZE", "Pending", "RawScores", "ScoringEngine"]

RING_SIZE = 2
"""Batches that may be under way at once."""


@dataclass(frozen=True, slots=True, eq=False)
class RawScores:
    """One batch as the network scored it.

    Attributes:
        raw: by group from the tap onwards, float64 [N] each.
        embedding: L2-normalised, float32 [N, E].
        saliency: gradient magnitude at the tap summed over its channels, float64 [N, S, S] with S
            112 at the image and 56, 28, 14 and 7 behind the stages.
    """

    raw: Mapping[Group, NDArray[np.float64]]
    embedding: NDArray[np.float32]
    saliency: NDArray[np.float64] | None


class Pending(Protocol):
    """A batch under way; its result is to be fetched once, and in the order of submission."""

    def result(self) -> RawScores:
        """Wait for the batch.

        Raises:
            ScoreError: the device failed.
        """
        ...


class ScoringEngine(Protocol):
    """A network that scores batches; belongs to one thread at a time."""

    @property
    def batch_size(self) -> int:
        """The most crops of one batch."""
        ...

    @property
    def overlaps(self) -> bool:
        """Whether several batches under way are faster than one at a time."""
        ...

    def prepare(self, tap: Group, /) -> None:
        """Build what `tap` needs now rather than with the first batch."""
        ...

    def submit(self, crops: NDArray[np.uint8], tap: Group, /) -> Pending:
        """Start scoring RGB uint8 crops [N, 112, 112, 3], 1 ≤ N ≤ batch_size.

        Raises:
            ScoreError: the device failed.
        """
        ...
