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
from typing import Protocol, TypeAlias, cast

import torch
from torch import Tensor, nn

from streamgate.quality.convolution import Convolution
from streamgate.quality.folded import affine
from streamgate.quality.iresnet import Block, IResNet

__all__ = ["MeasuredBlock", "MeasuredNorm", "MeasuredPart", "MeasuredStem", "Reading", "Readings"]

_POSITIONS = (2, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What one BatchNorm2d layer saw, for each picture.

    Attributes:
        mean: μ, [N, C, 1, 1].
        centred: x - μ, [N, C, H, W].
        mean_share: 2/(K·C·N) · (μ - m), [N, C, 1, 1].
        variance_share: 2/(K·C·N) · 2 (v - s), [N, C, 1, 1].
    """

    mean: Tensor
    centred: Tensor
    mean_share: Tensor
    variance_share: Tensor

    @property
    def gradient(self) -> Tensor:
        """∂L_l/∂x, [N, C, H, W]."""
        return torch.addcmul(self.mean_share, self.variance_share, self.centred)


Readings: TypeAlias = tuple[Reading, ...]
"""What the BatchNorm2d layers of one part of the network saw."""


class MeasuredPart(Protocol):
    """A part of the network that can be run backwards."""

    def forward(self, x: Tensor) -> tuple[Tensor, Readings]:
        """Return the part's output for the input `x`, and what was read on the way."""
        ...

    def backward(self, readings: Readings, gradient: Tensor) -> Tensor:
        """Return ∂L/∂input for ∂L/∂output, with the part's own shares of the loss."""
        ...


class MeasuredNorm:
    """A BatchNorm2d layer in eval mode, with its statistics.

    Args:
        norm: the layer.
        layers: K, the number of BatchNorm2d layers in the network.
    """

    def __init__(self, norm: nn.BatchNorm2d, *, layers: int) -> None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self._running_mean = norm.running_mean[None, :, None, None]
        self._running_var = norm.running_var[None, :, None, None]
        scale, shift = affine(norm)
        self._scale = scale[None, :, None, None]
        self._shift = shift[None, :, None, None]
        self._layers = layers

    def read(self, x: Tensor) -> Reading:
        """Take the statistics of `x` [N, C, H, W]."""
        mean = x.mean(_POSITIONS, keepdim=True)
        # Centred first: E[x²] - μ² loses the variance of a nearly flat channel to rounding.
        centred = x - mean
        variance = centred.square().mean(_POSITIONS, keepdim=True)
        factor = 2.0 / (self._layers * x[0].numel())
        return Reading(
            mean=mean,
            centred=centred,
            mean_share=factor * (mean - self._running_mean),
            variance_share=2.0 * factor * (variance - self._running_var),
        )

    def apply(self, reading: Reading) -> Tensor:
        """Return the layer's output for the input that was read."""
        shift = torch.addcmul(self._shift, reading.mean, self._scale)
        return torch.addcmul(shift, reading.centred, self._scale)

    def input_gradient(self, reading: Reading, gradient: Tensor) -> Tensor:
        """Return ∂L/∂x: what flows back through the layer, and the layer's own share."""
        return reading.gradient.addcmul_(gradient, self._scale)


class MeasuredStem:
    """The layers before stage 1."""

    def __init__(self, network: IResNet, *, size: int, dtype: torch.dtype) -> None:
        self._convolution = _differentiable(network.conv1, size, dtype)
        self._norm = MeasuredNorm(network.bn1, layers=network.layout.batch_norms)
        self._slope = network.prelu.weight

    def forward(self, x: Tensor) -> tuple[Tensor, Readings]:
        """Return the input of stage 1 for the normalised picture, and what was read."""
        reading = self._norm.read(self._convolution(x))
        return torch.prelu(self._norm.apply(reading), self._slope), (reading,)

    def backward(self, readings: Readings, gradient: Tensor) -> Tensor:
        """Return the gradient at the picture for the one at the input of stage 1."""
        (reading,) = readings
        gradient = _prelu_gradient(gradient, self._norm.apply(reading), self._slope)
        return self._convolution.input_gradient(self._norm.input_gradient(reading, gradient))


class MeasuredBlock:
    """One residual block."""

    def __init__(self, block: Block, *, size: int, layers: int, dtype: torch.dtype) -> None:
        self._norm1 = MeasuredNorm(block.bn1, layers=layers)
        self._convolution1 = _differentiable(block.conv1, size, dtype)
        self._norm2 = MeasuredNorm(block.bn2, layers=layers)
        self._slope = block.prelu.weight
        self._convolution2 = _differentiable(block.conv2, size, dtype)
        self._norm3 = MeasuredNorm(block.bn3, layers=layers)
        self._shortcut: tuple[Convolution, MeasuredNorm] | None = None
        if block.downsample is not None:
            convolution, norm = block.downsample
            self._shortcut = (
                _differentiable(cast(nn.Conv2d, convolution), size, dtype),
                MeasuredNorm(cast(nn.BatchNorm2d, norm), layers=layers),
            )

    def forward(self, x: Tensor) -> tuple[Tensor, Readings]:
        """Return the block's output and what was read."""
        reading1 = self._norm1.read(x)
        reading2 = self._norm2.read(self._convolution1(self._norm1.apply(reading1)))
        out = torch.prelu(self._norm2.apply(reading2), self._slope)
        reading3 = self._norm3.read(self._convolution2(out))
        out = self._norm3.apply(reading3)
        if self._shortcut is None:
            return out.add_(x), (reading1, reading2, reading3)
        convolution, norm = self._shortcut
        reading4 = norm.read(convolution(x))
        return out.add_(norm.apply(reading4)), (reading1, reading2, reading3, reading4)

    def backward(self, readings: Readings, gradient: Tensor) -> Tensor:
        """Return the gradient at the block's input for the one at its output."""
        reading1, reading2, reading3 = readings[:3]
        inner = self._norm3.input_gradient(reading3, gradient)
        inner = self._convolution2.input_gradient(inner)
        inner = _prelu_gradient(inner, self._norm2.apply(reading2), self._slope)
        inner = self._norm2.input_gradient(reading2, inner)
        inner = self._convolution1.input_gradient(inner)
        inner = self._norm1.input_gradient(reading1, inner)
        if self._shortcut is None:
            return inner.add_(gradient)
        convolution, norm = self._shortcut
        outer = norm.input_gradient(readings[3], gradient)
        return inner.add_(convolution.input_gradient(outer))


def _prelu_gradient(gradient: Tensor, x: Tensor, slope: Tensor) -> Tensor:
    # Right of zero the gradient, elsewhere (zero too, as in torch) the gradient times the slope.
    right = torch.ops.aten.threshold_backward(gradient, x, 0.0)
    return torch.lerp(right, gradient, slope[None, :, None, None])


def _differentiable(convolution: nn.Conv2d, size: int, dtype: torch.dtype) -> Convolution:
    return Convolution(
        convolution.weight,
        None,
        stride=convolution.stride[0],
        size=size,
        dtype=dtype,
        differentiable=True,
    )
