"""The part of the network that GraFIQs does not read: forward only, as fast as it goes.

Before the tap no statistic is wanted and no gradient returns, so each BatchNorm that follows a
convolution is folded into it and the shortcut is added by the convolution itself. The BatchNorm
before a block's first convolution stays: zero padding comes after it, so its shift cannot move.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from streamgate.quality.convolution import Convolution
from streamgate.quality.iresnet import Block, IResNet

__all__ = ["FoldedBlock", "FoldedStem", "affine"]


class FoldedStem:
    """The layers before stage 1."""

    def __init__(self, network: IResNet, *, size: int, dtype: torch.dtype) -> None:
        self._convolution = _folded(network.conv1, network.bn1, size, dtype)
        self._slope = network.prelu.weight

    def __call__(self, x: Tensor) -> Tensor:
        """Return the input of stage 1 for the normalised picture."""
        return torch.prelu(self._convolution(x), self._slope)


class FoldedBlock:
    """One residual block."""

    def __init__(self, block: Block, *, size: int, dtype: torch.dtype) -> None:
        self._norm = block.bn1
        self._convolution1 = _folded(block.conv1, block.bn2, size, dtype)
        self._slope = block.prelu.weight
        self._convolution2 = _folded(block.conv2, block.bn3, size, dtype)
        self._shortcut: Convolution | None = None
        if block.downsample is not None:
            convolution, norm = block.downsample
            self._shortcut = _folded(
                cast(nn.Conv2d, convolution), cast(nn.BatchNorm2d, norm), size, dtype
            )

    def __call__(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        shortcut = x if self._shortcut is None else self._shortcut(x)
        out = torch.prelu(self._convolution1(self._norm(x)), self._slope)
        return self._convolution2(out, add=shortcut)


def affine(norm: nn.BatchNorm2d | nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Return scale and shift, each [C], of a BatchNorm in eval mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - scale * norm.running_mean


def _folded(
    convolution: nn.Conv2d, norm: nn.BatchNorm2d, size: int, dtype: torch.dtype
) -> Convolution:
    scale, shift = affine(norm)
    weight = convolution.weight * scale[:, None, None, None]
    return Convolution(weight, shift, stride=convolution.stride[0], size=size, dtype=dtype)
