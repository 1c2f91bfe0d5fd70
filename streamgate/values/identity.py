"""From which cosines on faces count as those of one person, as a calibration has measured it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["IdentityThresholds"]


@dataclass(frozen=True, slots=True)
class IdentityThresholds:
    """Cosines of centred embeddings: the mean embedding of the people was subtracted.

    Attributes:
        same: 1 pair of two people in 10,000 is more alike (false match rate 1e-4).
        continued: 1 pair of two people in 200 is more alike (5e-3).
        different: 1 pair of one person's faces in 200 is less alike.
        people: how many people were compared.
        pairs: how many pairs of two people.
    """

    same: float
    continued: float
    different: float
    people: int
    pairs: int
