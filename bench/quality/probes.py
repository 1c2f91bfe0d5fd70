"""What a gate meets: faces as enrolled, and the same faces as a camera spoils them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgate.lab.crops import CropSet
from streamgate.lab.evaluation.ladder import KINDS, LEVELS, degrade

__all__ = ["DEGRADED_SHARE", "Probes", "make_probes", "with_known_people"]

DEGRADED_SHARE = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """One probe for each gallery picture.

    Attributes:
        images: RGB uint8 [N, 112, 112, 3].
        kinds: what was done to each, empty where nothing was.
    """

    images: NDArray[np.uint8]
    kinds: tuple[str, ...]


def with_known_people(crops: CropSet) -> CropSet:
    """Return the crops of people who have two pictures or more."""
    people, counts = np.unique(crops.identities, return_counts=True)
    known = set(people[(counts > 1) & (people != "")].tolist())
    return crops.take(np.flatnonzero([name in known for name in crops.identities.tolist()]))


def make_probes(crops: CropSet, seed: int) -> Probes:
    """Spoil a share of the crops, each in one kind at one level, all equally often."""
    chance = np.random.default_rng(seed)
    images, kinds = [], []
    for image in crops.images:
        if chance.random() < DEGRADED_SHARE:
            kind = str(chance.choice(KINDS))
            images.append(degrade(image, kind, int(chance.choice(LEVELS)), chance))
            kinds.append(kind)
        else:
            images.append(image)
            kinds.append("")
    return Probes(np.stack(images), tuple(kinds))
