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
from typing import Generic, TypeVar

from streamgate.quality.folded import FoldedBlock, FoldedStem
from streamgate.quality.layout import FINAL_SIZE, INPUT_SIZE, STAGES, Layout
from streamgate.quality.measured import (
    MeasuredBlock,
    MeasuredNorm,
    MeasuredPart,
    MeasuredStem,
    Readings,
)
from streamgate.quality.operations import Layer, Operations
from streamgate.quality.parameters import Parameters

__all__ = ["GROUPS", "Grafiqs", "Group", "NetworkScores", "embedding_head"]

T = TypeVar("T")


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
class NetworkScores(Generic[T]):
    """What one pass over a batch gives.

    Attributes:
        raw: by group from the tap onwards, [N] each.
        embedding: L2-normalised, [N, E], with the head.
        features: the output of stage 4, [N, C, 7, 7], without it.
        saliency: |∂L/∂t| at the tap, summed over its channels, [N, H, W], where it is wanted.
    """

    raw: Mapping[Group, T]
    embedding: T | None
    saliency: T | None
    features: T | None = None


class Grafiqs(Generic[T]):
    """A network prepared to give the score of one group and of every later one.

    Args:
        operations: what computes.
        network: its parameters.
        layout: its layout.
        tap: the earliest group that is wanted.
    """

    def __init__(
        self, operations: Operations[T], network: Parameters, layout: Layout, tap: Group
    ) -> None:
        self._operations = operations
        self._tap = tap
        first_measured = GROUPS.index(tap)
        layers = layout.batch_norms
        size = INPUT_SIZE
        self._folded: list[FoldedStem[T] | FoldedBlock[T]] = []
        # One list of parts per tap that is passed on the way back.
        self._measured: list[list[MeasuredPart[T]]] = [[] for _ in GROUPS[first_measured:-1]]
        if tap is Group.IMAGE:
            self._measured[0].append(MeasuredStem(operations, network, layers=layers, size=size))
        else:
            self._folded.append(FoldedStem(operations, network, size=size))
        for stage, depth in zip(STAGES, layout.depths, strict=True):
            for number in range(depth):
                block = network.of(f"layer{stage}.{number}")
                stride = 2 if number == 0 else 1
                if stage <= first_measured:
                    self._folded.append(FoldedBlock(operations, block, stride=stride, size=size))
                else:
                    part = MeasuredBlock(operations, block, stride=stride, layers=layers, size=size)
                    self._measured[stage - 1 - first_measured].append(part)
                size //= stride
        self._last_norm = MeasuredNorm(operations, network, "bn2", layers=layers, size=size)
        self._head = embedding_head(operations, network)

    def before_tap(self, pictures: T) -> T:
        """Return what the layers before the tap give; for `block4` that is the whole trunk."""
        x = pictures
        for folded in self._folded:
            x = folded(x)
        return x

    def __call__(
        self, pictures: T, *, head: bool = True, saliency: bool = True
    ) -> NetworkScores[T]:
        """Score normalised pictures [N, 3, 112, 112], RGB, -1..1; embed them with `head`."""
        operations = self._operations
        x = self.before_tap(pictures)
        readings: list[Readings[T]] = []
        for part in chain.from_iterable(self._measured):
            x, reading = part.forward(x)
            readings.append(reading)
        features = x
        # Nothing flows back from the head: the loss does not depend on the embedding.
        gradient = self._last_norm.own_gradient(self._last_norm.read(x))
        raw = {Group.BLOCK4: operations.magnitude(gradient)}
        # Backwards from block3; not strict, because groups before the tap are not measured.
        for group, parts in zip(GROUPS[-2::-1], reversed(self._measured), strict=False):
            for part in reversed(parts):
                gradient = part.backward(readings.pop(), gradient)
            raw[group] = operations.magnitude(gradient)
        shown = operations.saliency(gradient) if saliency else None
        if not head:
            return NetworkScores(raw, None, shown, features)
        return NetworkScores(raw, self._head(features), shown)


def embedding_head(operations: Operations[T], network: Parameters) -> Layer[T]:
    """Return the layer from the output of stage 4 to embeddings of length 1: one product."""
    norm_scale, norm_shift = network.affine("bn2")
    scale, shift = network.affine("features")
    weight = network["fc.weight"].reshape(len(scale), len(norm_scale), FINAL_SIZE**2)
    bias = network["fc.bias"] + weight.sum(axis=2) @ norm_shift
    weight = weight * norm_scale[:, None] * scale[:, None, None]
    linear = operations.linear(weight, scale * bias + shift)
    return lambda x: operations.unit_length(linear(x))
