"""The part of the network that GraFIQs does not read: forward only, as fast as it goes.

Before the tap no statistic is wanted and no gradient returns, so each BatchNorm that follows a
convolution is folded into it and the shortcut is added by the convolution itself. The BatchNorm
before a block's first convolution stays: zero padding comes after it, so its shift cannot move.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from streamgate.quality.operations import Convolution, Operations
from streamgate.quality.parameters import Parameters

__all__ = ["FoldedBlock", "FoldedStem"]

T = TypeVar("T")


class FoldedStem(Generic[T]):
    """The layers before stage 1."""

    def __init__(self, operations: Operations[T], parameters: Parameters, *, size: int) -> None:
        self._convolution = _folded(operations, parameters, "conv1", "bn1", stride=1, size=size)
        self._prelu = operations.prelu(parameters["prelu.weight"], differentiable=False)

    def __call__(self, x: T) -> T:
        """Return the input of stage 1 for the normalised picture."""
        return self._prelu(self._convolution(x))


class FoldedBlock(Generic[T]):
    """One residual block; `block` holds its parameters, `stride` is that of its output."""

    def __init__(
        self, operations: Operations[T], block: Parameters, *, stride: int, size: int
    ) -> None:
        self._norm = operations.affine(*block.affine("bn1"))
        self._convolution1 = _folded(operations, block, "conv1", "bn2", stride=1, size=size)
        self._prelu = operations.prelu(block["prelu.weight"], differentiable=False)
        self._convolution2 = _folded(operations, block, "conv2", "bn3", stride=stride, size=size)
        self._shortcut: Convolution[T] | None = None
        if "downsample.0.weight" in block:
            self._shortcut = _folded(
                operations, block, "downsample.0", "downsample.1", stride=stride, size=size
            )

    def __call__(self, x: T) -> T:
        """Return the block's output."""
        shortcut = x if self._shortcut is None else self._shortcut(x)
        out = self._prelu(self._convolution1(self._norm(x)))
        return self._convolution2(out, add=shortcut)


def _folded(  # noqa: PLR0913 # two layers in one
    operations: Operations[T],
    parameters: Parameters,
    convolution: str,
    norm: str,
    *,
    stride: int,
    size: int,
) -> Convolution[T]:
    scale, shift = parameters.affine(norm)
    weight = parameters[f"{convolution}.weight"] * scale[:, None, None, None]
    return operations.convolution(weight, shift, stride=stride, size=size, differentiable=False)
