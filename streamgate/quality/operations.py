"""What the maths of the score asks of whatever computes it.

The definition (`folded`, `measured`, `grafiqs`) is written once, over values of some type T: torch
runs it at once, on tensors; for a CPU it is run once over the edges of a graph, and what is left
behind is the graph. Layers are made first, from float64 parameters, and called afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Affine", "Array", "Convolution", "Layer", "Operations", "Prelu", "Statistics"]

T = TypeVar("T")
Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Statistics(Generic[T]):
    """What a picture's channels look like, each for itself.

    Attributes:
        mean: μ, [N, C, 1, 1].
        variance: v, biased, [N, C, 1, 1].
        centred: x - μ, [N, C, H, W].
        original: x, where it is kept.
    """

    mean: T
    variance: T
    centred: T
    original: T | None


class Layer(Protocol[T]):
    """A function of one value."""

    def __call__(self, x: T, /) -> T:
        """Return the layer's output."""
        ...


class Convolution(Protocol[T]):
    """A square convolution with as much padding as keeps the size at stride 1."""

    def __call__(self, x: T, /, *, add: T | None = None) -> T:
        """Return the convolution of `x` [N, in, H, W], plus `add` of the output's shape."""
        ...

    def input_gradient(self, gradient: T, /) -> T:
        """Return ∂L/∂x [N, in, H, W] for ∂L/∂out; made with `differentiable` only."""
        ...


class Affine(Protocol[T]):
    """A scale and a shift for each channel."""

    def __call__(self, x: T, /) -> T:
        """Return scale · x + shift for x [N, C, H, W]."""
        ...

    def of(self, statistics: Statistics[T], /) -> T:
        """Return the same for the value that was read."""
        ...

    def add_scaled(self, base: T, gradient: T, /) -> T:
        """Return base + scale · gradient; `base` is not used again and may be overwritten."""
        ...


class Prelu(Protocol[T]):
    """A rectifier with a slope of its own for each channel."""

    def __call__(self, x: T, /) -> T:
        """Return x right of zero and slope · x elsewhere."""
        ...

    def gradient(self, gradient: T, x: T, /) -> T:
        """Return the gradient right of zero and slope · gradient elsewhere, zero included."""
        ...


class Operations(Protocol[T]):
    """Everything that the definition is made of."""

    def convolution(
        self, weight: Array, bias: Array | None, *, stride: int, size: int, differentiable: bool
    ) -> Convolution[T]:
        """Make a convolution: weight [out, in, k, k], stride 1 or 2, of pictures size × size."""
        ...

    def affine(self, scale: Array, shift: Array) -> Affine[T]:
        """Make a scale and a shift [C]."""
        ...

    def prelu(self, slope: Array, *, differentiable: bool) -> Prelu[T]:
        """Make a rectifier, slope [C]; with `differentiable`, `gradient` will be wanted."""
        ...

    def linear(self, weight: Array, bias: Array) -> Layer[T]:
        """Make a matrix product of the flattened [N, C, H, W]; weight [E, C, H·W], bias [E]."""
        ...

    def constant(self, values: Array) -> T:
        """Make a value [1, C, 1, 1] of [C]."""
        ...

    def statistics(self, x: T) -> Statistics[T]:
        """Read x [N, C, H, W]; centred first, E[x²] - μ² loses a flat channel to rounding."""
        ...

    def scaled_difference(self, x: T, y: T, factor: float) -> T:
        """Return factor · (x - y)."""
        ...

    def multiply_add(self, base: T, x: T, y: T) -> T:
        """Return base + x · y."""
        ...

    def add(self, x: T, y: T) -> T:
        """Return x + y; `x` is not used again and may be overwritten."""
        ...

    def magnitude(self, x: T) -> T:
        """Return Σ |x| of each picture, [N]."""
        ...

    def saliency(self, x: T) -> T:
        """Return Σ |x| over the channels, [N, H, W]."""
        ...

    def unit_length(self, x: T) -> T:
        """Return the rows of x [N, E] divided by their Euclidean lengths."""
        ...
