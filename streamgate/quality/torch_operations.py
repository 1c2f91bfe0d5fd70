"""The operations of the score in torch: on CUDA, and as the reference in double precision.

The gradient with respect to a convolution's input is itself a convolution: nothing else of a
backward pass is ever needed for frozen weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from streamgate.quality.operations import Array, Statistics

__all__ = ["TorchOperations"]

_POSITIONS = (2, 3)
_SMALLEST = 1e-30


@dataclass(frozen=True, slots=True)
class TorchOperations:
    """Operations on a device; pictures lie in channels-last order.

    Attributes:
        device: where.
        dtype: of everything but convolutions.
        convolution_dtype: what those compute in; their inputs and outputs are of `dtype`.
    """

    device: torch.device
    dtype: torch.dtype
    convolution_dtype: torch.dtype

    def convolution(
        self,
        weight: Array,
        bias: Array | None,
        *,
        stride: int,
        size: int,  # noqa: ARG002 # other runtimes want to know
        differentiable: bool,
    ) -> _Convolution:
        """See `Operations`."""
        return _Convolution(
            self._tensor(weight),
            None if bias is None else self._tensor(bias),
            stride=stride,
            dtype=self.convolution_dtype,
            differentiable=differentiable,
        )

    def affine(self, scale: Array, shift: Array) -> _Affine:
        """See `Operations`."""
        return _Affine(self.constant(scale), self.constant(shift))

    def prelu(self, slope: Array, *, differentiable: bool) -> _Prelu:  # noqa: ARG002 # it always is
        """See `Operations`."""
        return _Prelu(self._tensor(slope))

    def linear(self, weight: Array, bias: Array) -> _Linear:
        """See `Operations`."""
        # Flattened as [E, H·W·C] because activations lie in channels-last order.
        flat = weight.transpose(0, 2, 1).reshape(len(weight), -1)
        return _Linear(self._tensor(flat), self._tensor(bias))

    def constant(self, values: Array) -> Tensor:
        """See `Operations`."""
        return self._tensor(values)[None, :, None, None]

    def statistics(self, x: Tensor) -> Statistics[Tensor]:
        """See `Operations`."""
        mean = x.mean(_POSITIONS, keepdim=True)
        # Centred first: E[x²] - μ² loses the variance of a nearly flat channel to rounding.
        centred = x - mean
        variance = centred.square().mean(_POSITIONS, keepdim=True)
        return Statistics(mean, variance, centred, None)

    def scaled_difference(self, x: Tensor, y: Tensor, factor: float) -> Tensor:
        """See `Operations`."""
        return factor * (x - y)

    def multiply_add(self, base: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """See `Operations`."""
        return torch.addcmul(base, x, y)

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """See `Operations`."""
        return x.add_(y)

    def magnitude(self, x: Tensor) -> Tensor:
        """See `Operations`."""
        return x.abs().sum(dim=(1, 2, 3))

    def saliency(self, x: Tensor) -> Tensor:
        """See `Operations`."""
        return x.abs().sum(dim=1)

    def unit_length(self, x: Tensor) -> Tensor:
        """See `Operations`."""
        return functional.normalize(x)

    def _tensor(self, values: Array) -> Tensor:
        return torch.from_numpy(values).to(self.device, self.dtype)


class _Convolution:
    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: int,
        dtype: torch.dtype,
        differentiable: bool,
    ) -> None:
        self._outer_dtype = weight.dtype
        self._dtype = dtype
        self._stride = stride
        self._padding = weight.shape[-1] // 2
        weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
        self._weight = weight
        self._bias = None if bias is None else bias.to(dtype)
        self._transposed_weight: Tensor | None = None
        if differentiable and stride == 1:
            # With stride 1 the gradient is a convolution with the flipped kernel, the faster kind.
            flipped = weight.flip(2, 3).transpose(0, 1)
            self._transposed_weight = flipped.contiguous(memory_format=torch.channels_last)
        elif differentiable:
            self._transposed_weight = weight

    def __call__(self, x: Tensor, /, *, add: Tensor | None = None) -> Tensor:
        out = functional.conv2d(
            x.to(self._dtype), self._weight, self._bias, self._stride, self._padding
        ).to(self._outer_dtype)
        return out if add is None else out.add_(add)

    def input_gradient(self, gradient: Tensor, /) -> Tensor:
        if self._dtype == self._outer_dtype:
            return self._transposed(gradient)
        # Gradients of 1e-8 would vanish in half precision; each picture gets its own scale.
        scale = gradient.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(_SMALLEST)
        reduced = (gradient / scale).to(self._dtype)
        return self._transposed(reduced).to(self._outer_dtype).mul_(scale)

    def _transposed(self, gradient: Tensor) -> Tensor:
        weight, stride, padding = self._transposed_weight, self._stride, self._padding
        assert weight is not None, "made without differentiable=True"
        if stride > 1:
            # The input is even: output padding asks for the last row, which the stride skipped.
            return functional.conv_transpose2d(gradient, weight, None, stride, padding, stride - 1)
        return functional.conv2d(gradient, weight, None, 1, padding)


@dataclass(frozen=True, slots=True, eq=False)
class _Affine:
    scale: Tensor
    shift: Tensor

    def __call__(self, x: Tensor, /) -> Tensor:
        return torch.addcmul(self.shift, x, self.scale)

    def of(self, statistics: Statistics[Tensor], /) -> Tensor:
        shift = torch.addcmul(self.shift, statistics.mean, self.scale)
        return torch.addcmul(shift, statistics.centred, self.scale)

    def add_scaled(self, base: Tensor, gradient: Tensor, /) -> Tensor:
        return base.addcmul_(gradient, self.scale)


@dataclass(frozen=True, slots=True, eq=False)
class _Prelu:
    slope: Tensor

    def __call__(self, x: Tensor, /) -> Tensor:
        return torch.prelu(x, self.slope)

    def gradient(self, gradient: Tensor, x: Tensor, /) -> Tensor:
        # Zero is on the slope's side, as in torch.
        right = torch.ops.aten.threshold_backward(gradient, x, 0.0)
        return torch.lerp(right, gradient, self.slope[None, :, None, None])


@dataclass(frozen=True, slots=True, eq=False)
class _Linear:
    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor, /) -> Tensor:
        flat = x.permute(0, 2, 3, 1).flatten(1)
        return functional.linear(flat, self.weight, self.bias)
