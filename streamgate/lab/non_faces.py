"""Learn what pictures without a face look like to a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamgate.lab.crops import CropSet
from streamgate.lab.distill.nonfaces import non_face
from streamgate.quality.scorer import Scorer

__all__ = ["learn_non_faces"]

_PICTURES = 400
_SEED = 0


def learn_non_faces(scorer: Scorer, crops: CropSet) -> tuple[NDArray[np.float64], int]:
    """Return the mean embedding of pictures made without a face, of length 1, and their number.

    Args:
        scorer: gives the embeddings.
        crops: faces; some pictures are made of their shuffled or enlarged pieces, the others are
            plain colours, textures and stripes.
    """
    chance = np.random.default_rng(_SEED)
    chosen = chance.permutation(len(crops))[:_PICTURES]
    pictures = np.stack([non_face(crops.images[number], chance) for number in chosen])
    mean = scorer.score(pictures).embedding.astype(np.float64).mean(axis=0)
    return mean / np.linalg.norm(mean), len(pictures)
