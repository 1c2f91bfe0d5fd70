"""The recognition network whose BatchNorm statistics GraFIQs reads.

IResNet (ArcFace's improved residual network) in the layout and with the key names under which its
weights are published, so that a user's checkpoint loads as it is. Widths and depths are free: the
default backbone is a narrow one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

__all__ = [
    "DEPTHS",
    "EPSILON",
    "INPUT_SIZE",
    "PUBLISHED_WIDTHS",
    "Block",
    "IResNet",
    "Layout",
    "expected_shapes",
]

DEPTHS: Mapping[str, tuple[int, int, int, int]] = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
}
PUBLISHED_WIDTHS = (64, 128, 256, 512)
EPSILON = 1e-5
INPUT_SIZE = 112
_STAGES = (1, 2, 3, 4)
# Four stages halve 112 to 7.
_FINAL_SIZE = 7


@dataclass(frozen=True, slots=True)
class Layout:
    """What tells one IResNet from another.

    Attributes:
        depths: blocks in stages 1..4.
        widths: channels of stages 1..4.
        stem_width: channels of the first convolution.
        embedding_size: E.
    """

    depths: tuple[int, int, int, int]
    widths: tuple[int, int, int, int] = PUBLISHED_WIDTHS
    stem_width: int = 64
    embedding_size: int = 512

    @classmethod
    def named(cls, name: str) -> Layout:
        """Return the published layout called `name`, one of `DEPTHS`."""
        return cls(DEPTHS[name])

    @property
    def name(self) -> str:
        """The published name of these depths, or the depths themselves."""
        for name, depths in DEPTHS.items():
            if depths == self.depths:
                return name
        return "iresnet-" + "-".join(map(str, self.depths))

    @property
    def batch_norms(self) -> int:
        """K: how many BatchNorm2d layers there are (the embedding's BatchNorm1d is not one)."""
        return 3 * sum(self.depths) + len(self.depths) + 2


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
        for stage, width, depth in zip(_STAGES, layout.widths, layout.depths, strict=True):
            blocks = [Block(width_in, width, first=True)]
            blocks += [Block(width, width, first=False) for _ in range(depth - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            width_in = width
        self.bn2 = nn.BatchNorm2d(width_in, eps=EPSILON)
        self.fc = nn.Linear(width_in * _FINAL_SIZE**2, layout.embedding_size)
        self.features = nn.BatchNorm1d(layout.embedding_size, eps=EPSILON)

    @property
    def stages(self) -> tuple[nn.Sequential, ...]:
        """`layer1` .. `layer4`."""
        return tuple(cast(nn.Sequential, self.get_submodule(f"layer{stage}")) for stage in _STAGES)

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


def expected_shapes(layout: Layout) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor that a checkpoint of this layout has to hold."""
    with torch.device("meta"):
        network = IResNet(layout)
    # Only training reads the step counters, and some exports leave them out.
    return {
        name: tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
