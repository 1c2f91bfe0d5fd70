"""A network and pictures from seeds, and what the published implementation says of them.

`parity-iresnet18.json` was written once with the published GraFIQs code, in float64 and one picture
at a time: the scores of all five groups, the loss, and the beginning of each embedding. Only
numpy's generator is needed to make the same network again; its streams are the same with every
version of numpy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["EXPECTED", "Published", "crops", "save_weights"]

_BLOCKS = (2, 2, 2, 2)
_WIDTHS = (64, 128, 256, 512)
_EMBEDDING = 512
_SIDE = 112
_BLOBS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Published:
    """What the published implementation found.

    Attributes:
        weights_seed: of the network.
        images_seed: of the pictures.
        count: of the pictures.
        scores: by group and picture.
        embedding: the first eight values of each picture's embedding, not normalised, [N, 8].
    """

    weights_seed: int
    images_seed: int
    count: int
    scores: dict[str, list[float]]
    embedding: NDArray[np.float64]


def _read(path: Path) -> Published:
    content = json.loads(path.read_text(encoding="utf-8"))
    scores = content["scores"]
    return Published(
        weights_seed=content["weights_seed"],
        images_seed=content["images_seed"],
        count=content["n"],
        scores={name: [picture[name] for picture in scores] for name in scores[0]},
        embedding=np.array(content["embedding_first_8"]),
    )


EXPECTED = _read(Path(__file__).with_name("parity-iresnet18.json"))


def save_weights(path: Path) -> Path:
    """Write the network as a state dict with the published key names, float32."""
    tensors = {
        name: torch.from_numpy(values if values.dtype == np.int64 else values.astype(np.float32))
        for name, values in _Seeded(EXPECTED.weights_seed).network().items()
    }
    torch.save(tensors, path)
    return path


class _Seeded:
    """Draws the layers one after the other: their order is part of the case."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._drawn: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {}

    def network(self) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
        """Draw an IResNet18."""
        self._convolution("conv1", 64, 3, 3)
        self._norm("bn1", 64)
        self._slopes("prelu", 64)
        incoming = 64
        for stage, (width, depth) in enumerate(zip(_WIDTHS, _BLOCKS, strict=True), start=1):
            for block in range(depth):
                self._block(f"layer{stage}.{block}", incoming, width, first=block == 0)
                incoming = width
        self._norm("bn2", 512)
        features = 512 * 7 * 7
        self._drawn["fc.weight"] = self._rng.normal(0.0, 0.01, (_EMBEDDING, features))
        self._drawn["fc.bias"] = self._rng.normal(0.0, 0.01, _EMBEDDING)
        self._norm("features", _EMBEDDING)
        return self._drawn

    def _block(self, name: str, incoming: int, width: int, *, first: bool) -> None:
        self._norm(f"{name}.bn1", incoming)
        self._convolution(f"{name}.conv1", width, incoming, 3)
        self._norm(f"{name}.bn2", width)
        self._slopes(f"{name}.prelu", width)
        self._convolution(f"{name}.conv2", width, width, 3)
        self._norm(f"{name}.bn3", width)
        if first:
            self._convolution(f"{name}.downsample.0", width, incoming, 1)
            self._norm(f"{name}.downsample.1", width)

    def _convolution(self, name: str, outgoing: int, incoming: int, side: int) -> None:
        deviation = np.sqrt(2.0 / (incoming * side * side))
        shape = (outgoing, incoming, side, side)
        self._drawn[f"{name}.weight"] = self._rng.normal(0.0, deviation, shape)

    def _norm(self, name: str, channels: int) -> None:
        self._drawn[f"{name}.weight"] = self._rng.uniform(0.4, 0.8, channels)
        self._drawn[f"{name}.bias"] = self._rng.normal(0.0, 0.1, channels)
        self._drawn[f"{name}.running_mean"] = self._rng.normal(0.0, 0.2, channels)
        self._drawn[f"{name}.running_var"] = self._rng.uniform(0.5, 1.5, channels)
        self._drawn[f"{name}.num_batches_tracked"] = np.array(1000, dtype=np.int64)

    def _slopes(self, name: str, channels: int) -> None:
        self._drawn[f"{name}.weight"] = self._rng.uniform(0.1, 0.4, channels)


def crops() -> NDArray[np.uint8]:
    """Draw RGB crops [N, 112, 112, 3]: soft blobs, with growing noise and falling contrast."""
    rng = np.random.default_rng(EXPECTED.images_seed)
    rows, columns = np.mgrid[0:_SIDE, 0:_SIDE].astype(np.float64)
    pictures = np.empty((EXPECTED.count, _SIDE, _SIDE, 3), dtype=np.uint8)
    for i in range(EXPECTED.count):
        canvas = np.full((_SIDE, _SIDE, 3), 110.0)
        for _ in range(_BLOBS):
            x, y, spread = rng.uniform(10, 102), rng.uniform(10, 102), rng.uniform(4, 26)
            blob = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * spread * spread))
            canvas += blob[..., None] * rng.uniform(-90, 90, 3)
        level = i / max(EXPECTED.count - 1, 1)
        noise = rng.normal(0, 4 + 30 * level, canvas.shape)
        canvas = 127.5 + (canvas - 127.5) * (1.0 - 0.7 * level) + noise
        pictures[i] = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    return pictures
