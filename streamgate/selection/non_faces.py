"""Tell faces from what the detector takes for one, by their embeddings.

Pictures without a face all look alike to a recognition network: their embeddings lie close
together, far from those of people (the observation behind ERS, arXiv:2106.04112). So the direction
of their mean says of any embedding how much it is one of theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["NonFaces"]


@dataclass(frozen=True, slots=True, eq=False)
class NonFaces:
    """Where the embeddings of pictures without a face lie, and how near to it is too near.

    Attributes:
        centre: their mean, of length 1, float64 [E].
        limit: largest cosine of a face's embedding with it.
    """

    centre: NDArray[np.float64]
    limit: float

    def __contains__(self, embedding: NDArray[np.float32]) -> bool:
        """Whether an embedding of length 1, [E], is that of no face."""
        return float(self.centre @ embedding) > self.limit
