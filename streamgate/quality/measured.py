"""The part of the network that GraFIQs reads: statistics forwards, the loss' gradient backwards.

For the input x of a BatchNorm2d layer with running mean m and variance s, and the picture's own
mean μ and biased variance v over its N positions, the layer's share of the loss is

    L_l = 1/K · [ mean_c (μ - m)² + mean_c (v - s)² ]

    ∂L_l/∂x = 2/(K·C·N) · [ (μ - m) + 2 (v - s)(x - μ) ]

(GraFIQs, CVPR 2024 workshops). μ and v belong to one picture, never to a batch, so losses add over
a batch and one backward pass gives each picture its own gradient. The weights are frozen, so the
backward pass is the transposed convolutions and these shares, written out below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

from streamgate.quality.operations import Convolution, Operations, Statistics
from streamgate.quality.parameters import Parameters

__all__ = ["MeasuredBlock", "MeasuredNorm", "MeasuredPart", "MeasuredStem", "Reading", "Readings"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Reading(Generic[T]):
    """What one BatchNorm2d layer saw, for each picture.

    Attributes:
        statistics: of its input x [N, C, H, W].
        mean_share: 2/(K·C·N) · (μ - m), [N, C, 1, 1].
        variance_share: 2/(K·C·N) · 2 (v - s), [N, C, 1, 1].
    """

    statistics: Statistics[T]
    mean_share: T
    variance_share: T


Readings: TypeAlias = tuple[Reading[T], ...]
"""What the BatchNorm2d layers of one part of the network saw."""


class MeasuredPart(Protocol[T]):
    """A part of the network that can be run backwards."""

    def forward(self, x: T) -> tuple[T, Readings[T]]:
        """Return the part's output for the input `x`, and what was read on the way."""
        ...

    def backward(self, readings: Readings[T], gradient: T) -> T:
        """Return ∂L/∂input for ∂L/∂output, with the part's own shares of the loss."""
        ...


class MeasuredNorm(Generic[T]):
    """A BatchNorm2d layer in eval mode, with its statistics.

    Args:
        operations: what computes.
        parameters: of the network or block that holds the layer.
        name: the layer's.
        layers: K, the number of BatchNorm2d layers in the network.
        size: height and width of the layer's input.
    """

    def __init__(
        self,
        operations: Operations[T],
        parameters: Parameters,
        name: str,
        *,
        layers: int,
        size: int,
    ) -> None:
        self._operations = operations
        running_mean = parameters[f"{name}.running_mean"]
        self._running_mean = operations.constant(running_mean)
        self._running_var = operations.constant(parameters[f"{name}.running_var"])
        self._affine = operations.affine(*parameters.affine(name))
        # 2/(K·C·N), with N = size² positions.
        self._factor = 2.0 / (layers * len(running_mean) * size**2)

    def read(self, x: T) -> Reading[T]:
        """Take the statistics of `x` [N, C, H, W]."""
        operations, factor = self._operations, self._factor
        statistics = operations.statistics(x)
        return Reading(
            statistics,
            operations.scaled_difference(statistics.mean, self._running_mean, factor),
            operations.scaled_difference(statistics.variance, self._running_var, 2.0 * factor),
        )

    def apply(self, reading: Reading[T]) -> T:
        """Return the layer's output for the input that was read."""
        return self._affine.of(reading.statistics)

    def own_gradient(self, reading: Reading[T]) -> T:
        """Return the layer's share of the gradient at its input, ∂L_l/∂x [N, C, H, W]."""
        return self._operations.multiply_add(
            reading.mean_share, reading.variance_share, reading.statistics.centred
        )

    def input_gradient(self, reading: Reading[T], gradient: T) -> T:
        """Return ∂L/∂x: what flows back through the layer, and the layer's own share."""
        return self._affine.add_scaled(self.own_gradient(reading), gradient)


class MeasuredStem(Generic[T]):
    """The layers before stage 1."""

    def __init__(
        self, operations: Operations[T], network: Parameters, *, layers: int, size: int
    ) -> None:
        self._convolution = _differentiable(operations, network, "conv1", stride=1, size=size)
        self._norm = MeasuredNorm(operations, network, "bn1", layers=layers, size=size)
        self._prelu = operations.prelu(network["prelu.weight"], differentiable=True)

    def forward(self, x: T) -> tuple[T, Readings[T]]:
        """Return the input of stage 1 for the normalised picture, and what was read."""
        reading = self._norm.read(self._convolution(x))
        return self._prelu(self._norm.apply(reading)), (reading,)

    def backward(self, readings: Readings[T], gradient: T) -> T:
        """Return the gradient at the picture for the one at the input of stage 1."""
        (reading,) = readings
        gradient = self._prelu.gradient(gradient, self._norm.apply(reading))
        return self._convolution.input_gradient(self._norm.input_gradient(reading, gradient))


class MeasuredBlock(Generic[T]):
    """One residual block; `block` holds its parameters, `stride` is that of its output."""

    def __init__(
        self, operations: Operations[T], block: Parameters, *, stride: int, layers: int, size: int
    ) -> None:
        out = size // stride

        def norm(name: str, size: int) -> MeasuredNorm[T]:
            return MeasuredNorm(operations, block, name, layers=layers, size=size)

        self._operations = operations
        self._norm1 = norm("bn1", size)
        self._convolution1 = _differentiable(operations, block, "conv1", stride=1, size=size)
        self._norm2 = norm("bn2", size)
        self._prelu = operations.prelu(block["prelu.weight"], differentiable=True)
        self._convolution2 = _differentiable(operations, block, "conv2", stride=stride, size=size)
        self._norm3 = norm("bn3", out)
        self._shortcut: tuple[Convolution[T], MeasuredNorm[T]] | None = None
        if "downsample.0.weight" in block:
            self._shortcut = (
                _differentiable(operations, block, "downsample.0", stride=stride, size=size),
                norm("downsample.1", out),
            )

    def forward(self, x: T) -> tuple[T, Readings[T]]:
        """Return the block's output and what was read."""
        reading1 = self._norm1.read(x)
        reading2 = self._norm2.read(self._convolution1(self._norm1.apply(reading1)))
        out = self._prelu(self._norm2.apply(reading2))
        reading3 = self._norm3.read(self._convolution2(out))
        out = self._norm3.apply(reading3)
        if self._shortcut is None:
            return self._operations.add(out, x), (reading1, reading2, reading3)
        convolution, norm = self._shortcut
        reading4 = norm.read(convolution(x))
        readings = (reading1, reading2, reading3, reading4)
        return self._operations.add(out, norm.apply(reading4)), readings

    def backward(self, readings: Readings[T], gradient: T) -> T:
        """Return the gradient at the block's input for the one at its output."""
        reading1, reading2, reading3 = readings[:3]
        inner = self._norm3.input_gradient(reading3, gradient)
        inner = self._convolution2.input_gradient(inner)
        # The input of PReLU is computed again: to keep it would hold one more activation per layer
        # until the way back.
        inner = self._prelu.gradient(inner, self._norm2.apply(reading2))
        inner = self._norm2.input_gradient(reading2, inner)
        inner = self._convolution1.input_gradient(inner)
        inner = self._norm1.input_gradient(reading1, inner)
        if self._shortcut is None:
            return self._operations.add(inner, gradient)
        convolution, norm = self._shortcut
        outer = norm.input_gradient(readings[3], gradient)
        return self._operations.add(inner, convolution.input_gradient(outer))


def _differentiable(
    operations: Operations[T], parameters: Parameters, name: str, *, stride: int, size: int
) -> Convolution[T]:
    return operations.convolution(
        parameters[f"{name}.weight"], None, stride=stride, size=size, differentiable=True
    )
