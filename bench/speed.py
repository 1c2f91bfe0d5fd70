"""Timings in interleaved rounds, so that whatever else the machine does falls on all alike.

Every ratio is taken within one round and the median over the rounds is reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

from bench.networks import flops, reload, weights_path
from bench.published import Published
from streamgate.quality import GROUPS, Group, Scorer
from streamgate.quality.grafiqs import Grafiqs
from streamgate.quality.weights import load_weights

__all__ = ["BATCH_SIZES", "Speed", "measure"]

BATCH_SIZES = (1, 8, 32)
_MATRIX = 2048
_PRODUCT_FLOPS = 2 * _MATRIX**3


@dataclass(frozen=True, slots=True)
class Speed:
    """One backbone's results; `batch` keys are texts because they go to JSON.

    Attributes:
        backbone: its name.
        gflop: of one forward pass of one picture, convolutions only.
        matrix_gflops: rate of the matrix product.
        published_ms: one picture, the published way.
        engine_ms: by group and batch size, per picture.
        speedup: published over engine, by group and batch size.
        forward_ms: the engine's trunk without head and statistics, by batch size, per picture.
        forward_share: its rate over the matrix product's, by batch size.
        modules_share: the same for torch's own modules in channels-last order.
        block4_over_forward: `block4` with embedding over the trunk alone, by batch size.
    """

    backbone: str
    gflop: float
    matrix_gflops: float
    published_ms: float
    engine_ms: Mapping[str, Mapping[str, float]]
    speedup: Mapping[str, Mapping[str, float]]
    forward_ms: Mapping[str, float]
    forward_share: Mapping[str, float]
    modules_share: Mapping[str, float]
    block4_over_forward: Mapping[str, float]


def measure(backbone: str, folder: Path, *, rounds: int) -> Speed:
    """Time one backbone."""
    path = weights_path(backbone, folder)
    weights = load_weights(path)
    operations = flops(weights)
    seconds = _rounds(_tasks(path), rounds)
    matrix = np.array(seconds["matrix"])
    published = np.array(seconds["published"])

    def per_picture(task: str, batch: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array(seconds[f"{task}@{batch}"]) / batch

    def share(task: str, batch: int) -> float:
        rate = operations / per_picture(task, batch)
        return round(float(median(rate / (_PRODUCT_FLOPS / matrix))), 3)

    return Speed(
        backbone=backbone,
        gflop=round(operations / 1e9, 2),
        matrix_gflops=round(_PRODUCT_FLOPS / median(matrix) / 1e9, 1),
        published_ms=_ms(published),
        engine_ms={g: {str(b): _ms(per_picture(g, b)) for b in BATCH_SIZES} for g in GROUPS},
        speedup={
            g: {str(b): round(median(published / per_picture(g, b)), 2) for b in BATCH_SIZES}
            for g in GROUPS
        },
        forward_ms={str(b): _ms(per_picture("forward", b)) for b in BATCH_SIZES},
        forward_share={str(b): share("forward", b) for b in BATCH_SIZES},
        modules_share={str(b): share("modules", b) for b in BATCH_SIZES},
        block4_over_forward={
            str(b): round(median(per_picture("block4", b) / per_picture("forward", b)), 3)
            for b in BATCH_SIZES
        },
    )


def _tasks(path: Path) -> dict[str, Callable[[], object]]:
    crops = np.random.default_rng(0).integers(0, 256, (max(BATCH_SIZES), 112, 112, 3), np.uint8)
    left, right = torch.randn(2, _MATRIX, _MATRIX)
    product = torch.empty(_MATRIX, _MATRIX)
    published = Published(reload(path))
    tasks: dict[str, Callable[[], object]] = {
        "published": lambda: published.score(crops[0]),
        "matrix": lambda: torch.mm(left, right, out=product),
    }
    with torch.inference_mode():
        trunk = Grafiqs(reload(path), Group.BLOCK4, dtype=torch.float32).before_tap
        modules = reload(path).to(memory_format=torch.channels_last).forward_features
        for batch in BATCH_SIZES:
            pictures = torch.from_numpy(crops[:batch]).permute(0, 3, 1, 2) / 127.5 - 1.0
            tasks[f"forward@{batch}"] = partial(trunk, pictures)
            tasks[f"modules@{batch}"] = partial(modules, pictures)
    scorer = Scorer.load(path, device="cpu", batch_size=max(BATCH_SIZES))
    for group in GROUPS:
        for batch in BATCH_SIZES:
            tasks[f"{group}@{batch}"] = partial(scorer.score_groups, crops[:batch], [group])
    return tasks


def _rounds(tasks: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    # The first round is for caches and allocators.
    for number in range(rounds + 1):
        for name, task in tasks.items():
            # The bare passes need it; the engine sets it itself; autograd cannot have it.
            with torch.inference_mode(name != "published"):
                began = time.perf_counter()
                task()
                took = time.perf_counter() - began
            if number:
                seconds[name].append(took)
    return seconds


def _ms(seconds: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return round(1e3 * float(median(seconds)), 2)
