"""GraFIQs: the score of a face from the gradients of a recogniser's BatchNorm discrepancy.

    raw(t) = Σ |∂L/∂t|,   L = (1/K) · Σ_l [ mean_c (μ - m)² + mean_c (v - s)² ]

with t the normalised picture or the output of stage 1..4 (Kolf, Damer, Boutros, "GraFIQs: Face
Image Quality Assessment Using Gradient Magnitudes", CVPR 2024 workshops). Lower is better.

Layers before the tap only run forwards. After `block4` there is one BatchNorm2d left, so its
gradient is a closed form and no backward pass remains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain

import torch
from torch import Tensor
from torch.nn import functional

from streamgate.quality.folded import FoldedBlock, FoldedStem, affine
from streamgate.quality.iresnet import INPUT_SIZE, Block, IResNet
from streamgate.quality.measured import (
    MeasuredBlock,
    MeasuredNorm,
    MeasuredPart,
    MeasuredStem,
    Readings,
)

__all__ = ["GROUPS", "Grafiqs", "Group", "NetworkScores"]


class Group(StrEnum):
    """Where the gradient is taken."""

    IMAGE = "image"
    BLOCK1 = "block1"
    BLOCK2 = "block2"
    BLOCK3 = "block3"
    BLOCK4 = "block4"


GROUPS: Sequence[Group] = tuple(Group)
"""In the order in which the network meets them."""


@dataclass(frozen=True, slots=True, eq=False)
class NetworkScores:
    """What one pass over a batch gives, as tensors on the network's device.

    Attributes:
        raw: by group from the tap onwards, [N] each.
        embedding: L2-normalised, [N, E].
        saliency: |∂L/∂t| summed over the colours where the tap is the image, [N, H, W].
    """

    raw: Mapping[Group, Tensor]
    embedding: Tensor
    saliency: Tensor | None


class Grafiqs:
    """A network prepared to give the score of one group and of every later one.

    Args:
        network: frozen, on the device and in the precision of everything but convolutions.
        tap: the earliest group that is wanted.
        dtype: of the convolutions.
    """

    def __init__(self, network: IResNet, tap: Group, *, dtype: torch.dtype) -> None:
        self._tap = tap
        first_measured = GROUPS.index(tap)
        layers = network.layout.batch_norms
        size = INPUT_SIZE
        self._folded: list[FoldedStem | FoldedBlock] = []
        # One list of parts per tap that is passed on the way back.
        self._measured: list[list[MeasuredPart]] = [[] for _ in GROUPS[first_measured:-1]]
        if tap is Group.IMAGE:
            self._measured[0].append(MeasuredStem(network, size=size, dtype=dtype))
        else:
            self._folded.append(FoldedStem(network, size=size, dtype=dtype))
        for number, stage in enumerate(network.stages):
            for block in stage:
                assert isinstance(block, Block)
                if number < first_measured:
                    self._folded.append(FoldedBlock(block, size=size, dtype=dtype))
                else:
                    part = MeasuredBlock(block, size=size, layers=layers, dtype=dtype)
                    self._measured[number - first_measured].append(part)
                size //= block.conv2.stride[0]
        self._last_norm = MeasuredNorm(network.bn2, layers=layers)
        self._head = _FoldedHead(network)

    def before_tap(self, pictures: Tensor) -> Tensor:
        """Return what the layers before the tap give; for `block4` that is the whole trunk."""
        x = pictures
        for folded in self._folded:
            x = folded(x)
        return x

    def __call__(self, pictures: Tensor) -> NetworkScores:
        """Score normalised pictures [N, 3, 112, 112], RGB, -1..1, channels last."""
        x = self.before_tap(pictures)
        readings: list[Readings] = []
        for part in chain.from_iterable(self._measured):
            x, reading = part.forward(x)
            readings.append(reading)
        embedding = self._head(x)
        gradient = self._last_norm.read(x).gradient
        raw = {Group.BLOCK4: _magnitude(gradient)}
        for group, parts in zip(GROUPS[-2::-1], reversed(self._measured), strict=False):
            for part in reversed(parts):
                gradient = part.backward(readings.pop(), gradient)
            raw[group] = _magnitude(gradient)
        saliency = gradient.abs().sum(dim=1) if self._tap is Group.IMAGE else None
        return NetworkScores(raw, embedding, saliency)


class _FoldedHead:
    """From the output of stage 4 to the normalised embedding: one matrix product."""

    def __init__(self, network: IResNet) -> None:
        norm_scale, norm_shift = affine(network.bn2)
        scale, shift = affine(network.features)
        # [E, C, 7·7]; flattened as [E, 7·7·C] because activations lie in channels-last order.
        weight = network.fc.weight.reshape(len(network.fc.weight), len(norm_scale), -1)
        bias = network.fc.bias + torch.einsum("ecp,c->e", weight, norm_shift)
        weight = weight * norm_scale[:, None] * scale[:, None, None]
        self._weight = weight.transpose(1, 2).flatten(1).contiguous()
        self._bias = scale * bias + shift

    def __call__(self, x: Tensor) -> Tensor:
        """Return embeddings [N, E] of length 1."""
        flat = x.permute(0, 2, 3, 1).flatten(1)
        return functional.normalize(functional.linear(flat, self._weight, self._bias))


def _magnitude(gradient: Tensor) -> Tensor:
    return gradient.abs().sum(dim=(1, 2, 3))
