"""A frozen convolution, prepared once for the device that it will run on.

On a CPU the library behind torch wants weights in a blocked order and otherwise reorders them in
every call, which at a batch of one costs a third of the late stages; so they are packed here, once.
The gradient with respect to the input is itself a convolution: nothing else of a backward pass is
ever needed for frozen weights.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["CHANNELS_LAST", "Convolution"]

CHANNELS_LAST = torch.channels_last
_SMALLEST = 1e-30


class Convolution:
    """A square convolution without dilation or groups, over pictures in channels-last order.

    Args:
        weight: [out, in, k, k] with odd k; padding is k // 2.
        bias: [out], or None.
        stride: 1 or 2.
        size: height and width of the input.
        dtype: to compute in, if not the weight's own; inputs and outputs keep theirs.
        differentiable: whether `input_gradient` will be wanted, which needs memory of its own.
    """

    def __init__(  # noqa: PLR0913 # it takes as much to say what a convolution is
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: int,
        size: int,
        dtype: torch.dtype | None = None,
        differentiable: bool = False,
    ) -> None:
        self._outer_dtype = weight.dtype
        self._dtype = dtype or weight.dtype
        weight = weight.to(self._dtype).contiguous(memory_format=CHANNELS_LAST)
        self._bias = None if bias is None else bias.to(self._dtype)
        self._stride = stride
        self._padding = weight.shape[-1] // 2
        self._packs = _packs(weight)
        self._weight = self._pack(weight, stride, size)
        self._transposed_weight: Tensor | None = None
        if differentiable and stride == 1:
            flipped = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=CHANNELS_LAST)
            self._transposed_weight = self._pack(flipped, 1, size)
        elif differentiable:
            self._transposed_weight = weight

    def __call__(self, x: Tensor, *, add: Tensor | None = None) -> Tensor:
        """Return the convolution of `x` [N, in, H, W], plus `add` (broadcast over N) if given."""
        if not self._packs:
            stride, padding = self._stride, self._padding
            x = x.to(self._dtype)
            out = functional.conv2d(x, self._weight, self._bias, stride, padding)
            out = out.to(self._outer_dtype)
            return out if add is None else out.add_(add)
        if add is None:
            return _packed(x, self._weight, self._bias, self._stride, self._padding)
        return cast(
            Tensor,
            torch.ops.mkldnn._convolution_pointwise.binary(
                x,
                add.expand(x.shape[0], -1, -1, -1),
                self._weight,
                self._bias,
                [self._padding] * 2,
                [self._stride] * 2,
                [1, 1],
                1,
                "add",
                1.0,
                None,
                [],
                None,
            ),
        )

    def input_gradient(self, gradient: Tensor) -> Tensor:
        """Return ∂L/∂x [N, in, H, W] for ∂L/∂out [N, out, H', W']."""
        if self._dtype == self._outer_dtype:
            return self._transposed(gradient)
        # Gradients of 1e-8 would vanish in half precision; each picture gets its own scale.
        scale = gradient.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(_SMALLEST)
        reduced = (gradient / scale).to(self._dtype)
        return self._transposed(reduced).to(self._outer_dtype).mul_(scale)

    def _transposed(self, gradient: Tensor) -> Tensor:
        weight, padding = self._transposed_weight, self._padding
        assert weight is not None, "made without differentiable=True"
        if self._stride > 1:
            # The input is even: output padding asks for the last row, which the stride skipped.
            return functional.conv_transpose2d(
                gradient, weight, None, self._stride, padding, self._stride - 1
            )
        if self._packs:
            return _packed(gradient, weight, None, 1, padding)
        return functional.conv2d(gradient, weight, None, 1, padding)

    def _pack(self, weight: Tensor, stride: int, size: int) -> Tensor:
        if not self._packs:
            return weight
        return cast(
            Tensor,
            torch.ops.mkldnn._reorder_convolution_weight(
                weight,
                [self._padding] * 2,
                [stride] * 2,
                [1, 1],
                1,
                [1, weight.shape[1], size, size],
            ),
        )


def _packs(weight: Tensor) -> bool:
    # These operators exist for float32 on a CPU alone; everything else takes the public path.
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call] # torch's own
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and available


def _packed(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    return cast(
        Tensor,
        torch.ops.mkldnn._convolution_pointwise(
            x, weight, bias, [padding] * 2, [stride] * 2, [1, 1], 1, "none", [], ""
        ),
    )
