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
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from bench.networks import flops, reload, weights_path
from bench.published import Published
from streamgate.models.onnx_format import GraphBuilder
from streamgate.models.runtime import open_graph
from streamgate.quality import GROUPS, Group, Scorer
from streamgate.quality.choice import Precision
from streamgate.quality.device import Device
from streamgate.quality.engine import Engine
from streamgate.quality.grafiqs import Grafiqs
from streamgate.quality.graph_operations import GraphOperations
from streamgate.quality.layout import INPUT_SIZE
from streamgate.quality.parameters import Parameters
from streamgate.quality.torch_operations import TorchOperations
from streamgate.quality.weights import Weights, load_weights

__all__ = ["Speed", "measure"]

_BATCH_SIZES = {"cpu": (1, 8, 32), "cuda": (1, 8, 32, 128)}
# Large enough to be as fast as a product can be, and no larger.
_MATRIX = {"cpu": 2048, "cuda": 8192}
_VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "`block4`, cuda_graphs": {"cuda_graphs": True},
    "`block4`, tf32": {"precision": "tf32"},
    "`block4`, tf32, cuda_graphs": {"precision": "tf32", "cuda_graphs": True},
    "`block4`, float16": {"precision": "float16"},
    "`block4`, float16, cuda_graphs": {"precision": "float16", "cuda_graphs": True},
    "`block4`, bfloat16, cuda_graphs": {"precision": "bfloat16", "cuda_graphs": True},
}
_FUSED: Mapping[str, Mapping[str, Any]] = {
    "`block4`, fuse": {"fuse": True},
    "`block4`, fuse, cuda_graphs": {"fuse": True, "cuda_graphs": True},
    "`block4`, fuse, float16, cuda_graphs": {
        "fuse": True,
        "precision": "float16",
        "cuda_graphs": True,
    },
}
_IN_TORCH = {f"`{group}`, in torch": group for group in (Group.BLOCK4, Group.IMAGE)}
_Crops: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Speed:
    """One backbone's results; `batch` keys are texts because they go to JSON.

    Attributes:
        backbone: its name.
        threads: that computed; of a CUDA device's host.
        gflop: of one forward pass of one picture, convolutions only.
        matrix_gflops: rate of the matrix product.
        published_ms: one picture, the published way.
        engine_ms: by group and batch size, per picture.
        speedup: published over engine, by group and batch size.
        forward_ms: the engine's trunk without head and statistics, by batch size, per picture.
        forward_share: its rate over the matrix product's, by batch size.
        modules_share: the same for torch's own modules in channels-last order.
        block4_over_forward: `block4` with embedding over the trunk alone, by batch size.
        variants_ms: other ways to score, by name and batch size, per picture: options that CUDA
            has, and on a CPU the same maths in torch.
    """

    backbone: str
    threads: int
    gflop: float
    matrix_gflops: float
    published_ms: float
    engine_ms: Mapping[str, Mapping[str, float]]
    speedup: Mapping[str, Mapping[str, float]]
    forward_ms: Mapping[str, float]
    forward_share: Mapping[str, float]
    modules_share: Mapping[str, float]
    block4_over_forward: Mapping[str, float]
    variants_ms: Mapping[str, Mapping[str, float]]


def measure(backbone: str, folder: Path, *, rounds: int, device: str, fused: bool) -> Speed:
    """Time one backbone on "cpu" or "cuda"; `fused` adds what torch.compile takes minutes for."""
    path = weights_path(backbone, folder)
    weights = load_weights(path)
    operations = flops(weights)
    batch_sizes = _BATCH_SIZES[device]
    variants = {**_VARIANTS, **(_FUSED if fused else {})} if device == "cuda" else {}
    if device == "cpu":
        variants = {name: {} for name in _IN_TORCH}
    seconds = _rounds(_tasks(path, device, variants), rounds, device)
    product_flops = 2 * _MATRIX[device] ** 3
    matrix = np.array(seconds["matrix"])
    published = np.array(seconds["published"])

    def per_picture(task: str, batch: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array(seconds[f"{task}@{batch}"]) / batch

    def share(task: str, batch: int) -> float:
        rate = operations / per_picture(task, batch)
        return round(float(median(rate / (product_flops / matrix))), 3)

    return Speed(
        backbone=backbone,
        threads=torch.get_num_threads(),
        gflop=round(operations / 1e9, 2),
        matrix_gflops=round(product_flops / median(matrix) / 1e9, 1),
        published_ms=_ms(published),
        engine_ms={g: {str(b): _ms(per_picture(g, b)) for b in batch_sizes} for g in GROUPS},
        speedup={
            g: {str(b): round(median(published / per_picture(g, b)), 2) for b in batch_sizes}
            for g in GROUPS
        },
        forward_ms={str(b): _ms(per_picture("forward", b)) for b in batch_sizes},
        forward_share={str(b): share("forward", b) for b in batch_sizes},
        modules_share={str(b): share("modules", b) for b in batch_sizes},
        block4_over_forward={
            str(b): round(median(per_picture("block4", b) / per_picture("forward", b)), 3)
            for b in batch_sizes
        },
        variants_ms={v: {str(b): _ms(per_picture(v, b)) for b in batch_sizes} for v in variants},
    )


def _tasks(
    path: Path, device: str, variants: Mapping[str, Mapping[str, Any]]
) -> dict[str, Callable[[], object]]:
    batch_sizes, size = _BATCH_SIZES[device], _MATRIX[device]
    most = max(batch_sizes)
    crops = np.random.default_rng(0).integers(0, 256, (most, 112, 112, 3), np.uint8)
    left, right = torch.randn(2, size, size, device=device)
    product = torch.empty(size, size, device=device)
    published = Published(reload(path).to(device))
    tasks: dict[str, Callable[[], object]] = {
        "published": lambda: published.score(crops[0]),
        "matrix": lambda: torch.mm(left, right, out=product),
    }
    with torch.inference_mode():
        weights = load_weights(path)
        trunk = _cuda_trunk(weights) if device == "cuda" else _cpu_trunk(weights)
        channels_last = reload(path).to(device).to(memory_format=torch.channels_last)
        for batch in batch_sizes:
            pictures = torch.from_numpy(crops[:batch]).to(device).permute(0, 3, 1, 2) / 127.5 - 1.0
            tasks[f"forward@{batch}"] = partial(trunk, pictures)
            tasks[f"modules@{batch}"] = partial(channels_last.forward_features, pictures)
    threads = torch.get_num_threads()
    scorer = Scorer.load(path, device=device, batch_size=most, threads=threads)
    for group in GROUPS:
        for batch in batch_sizes:
            tasks[f"{group}@{batch}"] = partial(scorer.score_groups, crops[:batch], [group])
    for name, options in variants.items():
        if device == "cpu":
            score = _in_torch(path, _IN_TORCH[name], most)
        else:
            score = Scorer.load(path, device=device, batch_size=most, **options).score
        for batch in batch_sizes:
            tasks[f"{name}@{batch}"] = partial(score, crops[:batch])
    return tasks


def _in_torch(path: Path, group: Group, batch_size: int) -> Callable[[_Crops], object]:
    """Return the same maths in torch's operators, as CUDA computes it, on the CPU."""
    engine = Engine(
        load_weights(path), Device(torch.device("cpu"), Precision.FLOAT32), batch_size=batch_size
    )
    return lambda crops: engine.submit(crops, group).result()


def _cuda_trunk(weights: Weights) -> Callable[[torch.Tensor], object]:
    operations = TorchOperations(torch.device("cuda"), torch.float32, torch.float32)
    network = Parameters(weights.tensors)
    return Grafiqs(operations, network, weights.layout, Group.BLOCK4).before_tap


def _cpu_trunk(weights: Weights) -> Callable[[torch.Tensor], object]:
    """Return the trunk as the engine runs it, but for its threads: a picture after the other."""
    graph = GraphBuilder()
    pictures = graph.input("pictures", "float32", [1, 3, INPUT_SIZE, INPUT_SIZE])
    operations = GraphOperations(graph, blocked=True)
    grafiqs = Grafiqs(operations, Parameters(weights.tensors), weights.layout, Group.BLOCK4)
    size = INPUT_SIZE >> 4
    shape = [1, weights.layout.widths[-1], size, size]
    graph.output(grafiqs.before_tap(pictures), "features", "float32", shape)
    session = open_graph(graph.model(), threads=torch.get_num_threads())
    return lambda batch: [session.run(None, {"pictures": one[None]}) for one in batch.numpy()]


def _rounds(
    tasks: Mapping[str, Callable[[], object]], rounds: int, device: str
) -> dict[str, list[float]]:
    wait = torch.cuda.synchronize if device == "cuda" else _nothing_to_wait_for
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    # The first round is for caches and allocators.
    for number in range(rounds + 1):
        for name, task in tasks.items():
            # The bare passes need it; the engine sets it itself; autograd cannot have it. Left to
            # itself, torch lets cuDNN round convolutions to TF32.
            with (
                torch.inference_mode(name != "published"),
                torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
            ):
                wait()
                began = time.perf_counter()
                task()
                wait()
                took = time.perf_counter() - began
            if number:
                seconds[name].append(took)
    return seconds


def _nothing_to_wait_for() -> None:
    """A CPU has ended when the call returns."""


def _ms(seconds: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return round(1e3 * float(median(seconds)), 2)
