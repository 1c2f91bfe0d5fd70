"""The recognition network whose BatchNorm statistics GraFIQs reads.

IResNet (ArcFace's improved residual network) in the layout and with the key names under which its
weights are published, so that a user's checkpoint loads as it is. Widths and depths are free: the
default backbone is a narrow one.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from streamgate.quality.layout import EPSILON, FINAL_SIZE, STAGES, Layout

__all__ = ["Block", "IResNet"]


class Block(nn.Module):
    """One residual block: the first of a stage halves the picture and has a projection."""

    def __init__(self, width_in: int, width: int, *, first: bool) -> None:
        super().__init__()
        stride = 2 if first else 1
        self.bn1 = nn.BatchNorm2d(width_in, eps=EPSILON)
        self.conv1 = nn.Conv2d(width_in, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps=EPSILON)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width, eps=EPSILON)
        self.downsample: nn.Sequential | None = None
        if first:
            self.downsample = nn.Sequential(
                nn.Conv2d(width_in, width, 1, stride=stride, bias=False),
                nn.BatchNorm2d(width, eps=EPSILON),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, half the size of `x` for the first block of a stage."""
        out = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        out = self.bn3(self.conv2(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return cast(Tensor, out + shortcut)


class IResNet(nn.Module):
    """The network: RGB pictures [N, 3, 112, 112] in -1..1 to embeddings [N, E], not normalised."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        self.conv1 = nn.Conv2d(3, layout.stem_width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(layout.stem_width, eps=EPSILON)
        self.prelu = nn.PReLU(layout.stem_width)
        width_in = layout.stem_width
        for stage, width, depth in zip(STAGES, layout.widths, layout.depths, strict=True):
            blocks = [Block(width_in, width, first=True)]
            blocks += [Block(width, width, first=False) for _ in range(depth - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            width_in = width
        self.bn2 = nn.BatchNorm2d(width_in, eps=EPSILON)
        self.fc = nn.Linear(width_in * FINAL_SIZE**2, layout.embedding_size)
        self.features = nn.BatchNorm1d(layout.embedding_size, eps=EPSILON)

    @property
    def stages(self) -> tuple[nn.Sequential, ...]:
        """`layer1` .. `layer4`."""
        return tuple(cast(nn.Sequential, self.get_submodule(f"layer{stage}")) for stage in STAGES)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the output of stage 4, [N, C, 7, 7]."""
        x = self.prelu(self.bn1(self.conv1(x)))
        for stage in self.stages:
            x = stage(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Return the embeddings."""
        x = torch.flatten(self.bn2(self.forward_features(x)), 1)
        return cast(Tensor, self.features(self.fc(x)))
