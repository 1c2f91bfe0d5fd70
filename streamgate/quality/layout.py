"""What IResNets have in common and what tells one from another, without a framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "DEPTHS",
    "EPSILON",
    "FINAL_SIZE",
    "INPUT_SIZE",
    "PUBLISHED_WIDTHS",
    "STAGES",
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
STAGES = (1, 2, 3, 4)
FINAL_SIZE = 7
"""Four stages halve 112 to it."""


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


def expected_shapes(layout: Layout) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor that a checkpoint of this layout has to hold."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (layout.stem_width, 3, 3, 3)}
    shapes |= _norm("bn1", layout.stem_width) | {"prelu.weight": (layout.stem_width,)}
    width_in = layout.stem_width
    for stage, width, depth in zip(STAGES, layout.widths, layout.depths, strict=True):
        for number in range(depth):
            shapes |= _block(f"layer{stage}.{number}", width_in, width, first=number == 0)
            width_in = width
    shapes |= _norm("bn2", width_in)
    shapes["fc.weight"] = (layout.embedding_size, width_in * FINAL_SIZE**2)
    shapes["fc.bias"] = (layout.embedding_size,)
    return shapes | _norm("features", layout.embedding_size)


def _block(name: str, width_in: int, width: int, *, first: bool) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = dict(_norm(f"{name}.bn1", width_in))
    shapes[f"{name}.conv1.weight"] = (width, width_in, 3, 3)
    shapes |= _norm(f"{name}.bn2", width) | {f"{name}.prelu.weight": (width,)}
    shapes[f"{name}.conv2.weight"] = (width, width, 3, 3)
    shapes |= _norm(f"{name}.bn3", width)
    if first:
        shapes[f"{name}.downsample.0.weight"] = (width, width_in, 1, 1)
        shapes |= _norm(f"{name}.downsample.1", width)
    return shapes


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (width,) for part in parts}
