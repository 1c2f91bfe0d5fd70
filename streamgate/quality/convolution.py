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
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        stride: int,
        size: int,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._outer_dtype = weight.dtype
        weight = weight.to(dtype or weight.dtype)
        self._bias = None if bias is None else bias.to(weight.dtype)
        self._stride = stride
        self._padding = weight.shape[-1] // 2
        self._plain = weight.contiguous(memory_format=CHANNELS_LAST)
        self._packs = _packs(weight)
        self._weight = self._pack(self._plain, stride, size)
        self._flipped: Tensor | None = None
        self._size = size

    def __call__(self, x: Tensor, *, add: Tensor | None = None) -> Tensor:
        """Return the convolution of `x` [N, in, H, W], plus `add` (broadcast over N) if given."""
        if not self._packs:
            stride, padding = self._stride, self._padding
            x = x.to(self._plain.dtype)
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

    def prepare_gradient(self) -> None:
        """Keep what `input_gradient` needs; not done at once because most never need it."""
        if self._stride == 1:
            flipped = self._plain.flip(2, 3).transpose(0, 1)
            self._flipped = self._pack(
                flipped.contiguous(memory_format=CHANNELS_LAST), 1, self._size
            )

    def input_gradient(self, gradient: Tensor) -> Tensor:
        """Return ∂L/∂x [N, in, H, W] for ∂L/∂out [N, out, H', W']."""
        if self._plain.dtype == self._outer_dtype:
            return self._transposed(gradient)
        # Gradients of 1e-8 would vanish in half precision; each picture gets its own scale.
        scale = gradient.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(_SMALLEST)
        reduced = (gradient / scale).to(self._plain.dtype)
        return self._transposed(reduced).to(self._outer_dtype).mul_(scale)

    def _transposed(self, gradient: Tensor) -> Tensor:
        padding = self._padding
        if self._stride > 1:
            # The input is even: output padding asks for the last row, which the stride skipped.
            return functional.conv_transpose2d(
                gradient, self._plain, None, self._stride, padding, self._stride - 1
            )
        assert self._flipped is not None, "prepare_gradient() comes first"
        if self._packs:
            return _packed(gradient, self._flipped, None, 1, padding)
        return functional.conv2d(gradient, self._flipped, None, 1, padding)

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
