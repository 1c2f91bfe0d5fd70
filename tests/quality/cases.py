"""Weights and pictures from a seed, and the score written down once more, as slowly as it reads.

`slow_scores` is the definition without any of the engine's ideas: float64, one picture at a time,
the network's own modules, and autograd from the loss to all five taps.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from streamgate.quality.iresnet import IResNet
from streamgate.quality.layout import Layout, expected_shapes
from streamgate.quality.weights import load_weights

TINY = Layout(depths=(1, 2, 1, 1), widths=(4, 6, 8, 10), stem_width=5, embedding_size=16)


def state_dict(layout: Layout, seed: int) -> dict[str, Tensor]:
    """Return float32 weights of the published names: trained-looking, and reproducible."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in expected_shapes(layout).items():
        if len(shape) > 1:
            values = rng.normal(0.0, np.sqrt(2.0 / np.prod(shape[1:])), shape)
        elif name.endswith("running_var"):
            values = rng.uniform(0.4, 1.6, shape)
        elif name.endswith(("running_mean", "bias")):
            values = rng.normal(0.0, 0.2, shape)
        else:
            # Batch norms and slopes alike; slopes may be negative, and channels may be dead.
            values = rng.uniform(-0.1, 0.9, shape)
            values[0] = 0.0
        tensors[name] = torch.from_numpy(values.astype(np.float32))
    return tensors


def save(folder: Path, layout: Layout, seed: int) -> Path:
    """Write such weights as .safetensors and return the path."""
    path = folder / f"{layout.name}-{seed}.safetensors"
    save_file(state_dict(layout, seed), path)
    return path


@cache
def pictures(count: int, seed: int) -> NDArray[np.uint8]:
    """Return RGB crops [count, 112, 112, 3]: gradients, edges and noise of growing strength."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:112, 0:112] / 111.0
    crops = np.empty((count, 112, 112, 3), dtype=np.uint8)
    for i in range(count):
        waves = rng.uniform(1, 12, (2, 3))
        base = np.sin(waves[0] * rows[..., None] + waves[1] * columns[..., None])
        noise = rng.normal(0.0, 0.05 + 0.3 * i / count, base.shape)
        crops[i] = np.clip(127.5 + 110.0 * (base + noise), 0, 255)
    return crops


def flat(level: int) -> NDArray[np.uint8]:
    """Return a crop [1, 112, 112, 3] of one grey: 0 and 255 are the saturated ones."""
    return np.full((1, 112, 112, 3), level, dtype=np.uint8)


def slow_scores(network: IResNet, crop: NDArray[np.uint8]) -> dict[str, float]:
    """Return raw scores of all groups for one crop [112, 112, 3]."""
    network = network.double()
    taps: list[Tensor] = []
    losses: list[Tensor] = []

    def collect(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        (x,) = inputs
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        losses.append(
            (mean - norm.running_mean).square().mean()
            + (variance - norm.running_var).square().mean()
        )

    hooks = [
        module.register_forward_pre_hook(collect)
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    hooks += [
        stage.register_forward_hook(lambda _module, _inputs, output: taps.append(output))
        for stage in network.stages
    ]
    picture = torch.from_numpy(crop.astype(np.float64)).permute(2, 0, 1)[None] / 255.0
    picture = ((picture - 0.5) / 0.5).requires_grad_()
    network(picture)
    for hook in hooks:
        hook.remove()
    loss = torch.stack(losses).sum() / len(losses)
    gradients = torch.autograd.grad(loss, [picture, *taps])
    names = ("image", "block1", "block2", "block3", "block4")
    return {
        name: float(gradient.abs().sum()) for name, gradient in zip(names, gradients, strict=True)
    }


def slow_scores_of(weights: Path, crop: NDArray[np.uint8]) -> dict[str, float]:
    """Return `slow_scores` for a file of weights."""
    return slow_scores(load_weights(weights).build(), crop)
