"""A network's parameters by their published names, in double precision for folding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamgate.quality.layout import EPSILON
from streamgate.quality.operations import Array

__all__ = ["FloatArray", "Parameters"]

FloatArray: TypeAlias = NDArray[np.float32] | NDArray[np.float64]


class Parameters:
    """The tensors of a network or of a part of it, whose name is left out of theirs."""

    def __init__(self, tensors: Mapping[str, FloatArray], prefix: str = "") -> None:
        self._tensors = tensors
        self._prefix = prefix

    def of(self, part: str) -> Parameters:
        """Return the parameters of a part ("layer1.0")."""
        return Parameters(self._tensors, f"{self._prefix}{part}.")

    def __getitem__(self, name: str) -> Array:
        # One layer at a time, so that a network is never held twice as large.
        return self._tensors[self._prefix + name].astype(np.float64)

    def __contains__(self, name: str) -> bool:
        return self._prefix + name in self._tensors

    def affine(self, norm: str) -> tuple[Array, Array]:
        """Return scale and shift, each [C], of a BatchNorm in eval mode."""
        scale = self[f"{norm}.weight"] / np.sqrt(self[f"{norm}.running_var"] + EPSILON)
        return scale, self[f"{norm}.bias"] - scale * self[f"{norm}.running_mean"]
