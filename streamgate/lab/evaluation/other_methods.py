"""Other ways to read a face's quality from a recognition network, to compare a score with.

All of them work on the same network as GraFIQs here, an IResNet, and need no training of it:

- *PreFIQs* (Kolf and others, "Face Image Quality Is What Survives Pruning", arXiv:2605.13396):
  q(x) = -‖e(x)/‖e(x)‖ - p(x)/‖p(x)‖‖₂, with the embedding e and that of a pruned network, p.
- *ERS* (Deng and others, "Harnessing Unrecognizable Faces for Improving Face Recognition",
  arXiv:2106.04112, WACV 2023): q(x) = 1 - cos(e(x), u), with the mean embedding u of faces that
  nobody can recognise.
- *FROQ* (Babnik and others, "Observing Face Recognition Models for Efficient Quality Assessment",
  arXiv:2509.17689, IJCB 2025): the mean of the L2 norms of some layers' outputs. Layers are chosen
  greedily by Spearman's correlation with pseudo-labels, and those are the mean cosine between the
  embeddings of a face and of its mirror image, of it with noise, and of it with a grid of covered
  fields.

What the summaries at hand leave open is chosen here and may differ from the authors' code: the
share that is pruned (the smallest weights of all convolutions and of the linear layer together),
noise and grid of the perturbations, and that norms are brought to one scale and sign on the
calibration faces before they are averaged.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from streamgate.lab.distill.degradations import blur, dark, low_resolution, noise
from streamgate.lab.evaluation.measures import rank_correlation
from streamgate.quality.iresnet import Block, IResNet
from streamgate.values import Image

__all__ = ["Observer", "Pruned", "Unrecognisable"]

_BATCH = 32
_PRUNED_SHARE = 0.3
_NOISE = 12.0
_FIELD = 14
_MOST_LAYERS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Pruned:
    """PreFIQs: how far pruning moves the embedding.

    Attributes:
        network: the whole one.
        pruned: the same without its smallest weights.
    """

    network: IResNet
    pruned: IResNet

    @classmethod
    def of(cls, network: IResNet, share: float = _PRUNED_SHARE) -> Pruned:
        """Prune a copy: the `share` of all weights that are smallest, biases and norms apart."""
        pruned = copy.deepcopy(network).eval()
        weights = [
            module.weight
            for module in pruned.modules()
            if isinstance(module, nn.Conv2d | nn.Linear)
        ]
        sizes = torch.cat([weight.detach().abs().flatten() for weight in weights])
        limit = sizes.kthvalue(max(1, round(share * len(sizes)))).values
        with torch.no_grad():
            for weight in weights:
                weight.mul_(weight.abs() > limit)
        return cls(network, pruned)

    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return qualities [N], higher is better, of crops uint8 [N, 112, 112, 3]."""
        moved = _embeddings(self.network, crops) - _embeddings(self.pruned, crops)
        return np.asarray(-np.linalg.norm(moved, axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class Unrecognisable:
    """ERS: the distance from the faces that nobody can recognise.

    Attributes:
        network: gives the embeddings.
        centre: mean embedding of unrecognisable faces, of length 1, [E].
    """

    network: IResNet
    centre: NDArray[np.float64]

    @classmethod
    def of(cls, network: IResNet, crops: NDArray[np.uint8], seed: int = 0) -> Unrecognisable:
        """Find the centre with faces [N, 112, 112, 3] that are blurred, tiny, dark or all noise."""
        chance = np.random.default_rng(seed)
        ways = (blur, low_resolution, dark, noise)
        spoiled = [ways[place % 4](image, 1.0, chance) for place, image in enumerate(crops)]
        centre = _embeddings(network, np.stack(spoiled)).mean(axis=0)
        return cls(network, centre / np.linalg.norm(centre))

    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return qualities [N], higher is better, of crops uint8 [N, 112, 112, 3]."""
        return np.asarray(1 - _embeddings(self.network, crops) @ self.centre)


@dataclass(frozen=True, slots=True, eq=False)
class Observer:
    """FROQ: the mean norm of the layers that say most about quality.

    Attributes:
        network: is observed.
        scales: mean and deviation of the norms of each chosen layer on the calibration faces; the
            deviation is negative where a larger norm means a worse face.
    """

    network: IResNet
    scales: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, network: IResNet, crops: NDArray[np.uint8], seed: int = 0) -> Observer:
        """Choose the layers with faces [N, 112, 112, 3] of all qualities."""
        labels = _steadiness(network, crops, seed)
        scaled, scales = {}, {}
        for name, norms in _norms(network, crops).items():
            sign = 1.0 if rank_correlation(norms, labels) >= 0 else -1.0
            scales[name] = (float(norms.mean()), sign * float(norms.std() + 1e-12))
            scaled[name] = (norms - scales[name][0]) / scales[name][1]
        chosen = _greedy(scaled, labels)
        return cls(network, {name: scales[name] for name in chosen})

    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return qualities [N], higher is better, of crops uint8 [N, 112, 112, 3]."""
        norms = _norms(self.network, crops)
        parts = [(norms[name] - mean) / scale for name, (mean, scale) in self.scales.items()]
        return np.asarray(np.mean(parts, axis=0))


def _greedy(
    scaled: Mapping[str, NDArray[np.float64]], labels: NDArray[np.float64]
) -> Sequence[str]:
    """Add the layer whose addition brings the mean nearest to the labels, while that helps."""
    chosen: list[str] = []
    best = -1.0
    while len(chosen) < min(_MOST_LAYERS, len(scaled)):
        found = {
            name: rank_correlation(np.mean([scaled[n] for n in (*chosen, name)], axis=0), labels)
            for name in scaled
            if name not in chosen
        }
        name = max(found, key=lambda layer: found[layer])
        if found[name] <= best:
            break
        best = found[name]
        chosen.append(name)
    return chosen


def _steadiness(network: IResNet, crops: NDArray[np.uint8], seed: int) -> NDArray[np.float64]:
    """Return the pseudo-labels [N]: how little mirroring, noise and a grid move the embedding."""
    chance = np.random.default_rng(seed)
    noisy = np.clip(crops + chance.normal(0, _NOISE, crops.shape), 0, 255).astype(np.uint8)
    covered = np.stack([_gridded(image) for image in crops])
    own = _embeddings(network, crops)
    cosines = [
        (own * _embeddings(network, np.ascontiguousarray(other))).sum(axis=1)
        for other in (crops[:, :, ::-1], noisy, covered)
    ]
    return np.asarray(np.mean(cosines, axis=0))


def _gridded(image: Image) -> Image:
    rows, columns = np.indices(image.shape[:2]) // _FIELD
    return np.where(((rows % 2 == 0) & (columns % 2 == 0))[..., None], 127, image).astype(np.uint8)


def _batches(crops: NDArray[np.uint8]) -> Sequence[Tensor]:
    return [
        torch.from_numpy(crops[first : first + _BATCH].copy()).permute(0, 3, 1, 2) / 127.5 - 1
        for first in range(0, len(crops), _BATCH)
    ]


@torch.no_grad()
def _embeddings(network: IResNet, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    parts = [functional.normalize(network(batch)).double().numpy() for batch in _batches(crops)]
    return np.concatenate(parts)


@torch.no_grad()
def _norms(network: IResNet, crops: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float64]]:
    """Return the L2 norm of every block's output, by layer, [N] each."""
    found: dict[str, list[NDArray[np.float64]]] = {}
    handles = []

    def watch(name: str, module: nn.Module) -> None:
        def add(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            found.setdefault(name, []).append(output.flatten(1).norm(dim=1).double().numpy())

        handles.append(module.register_forward_hook(add))

    for name, module in network.named_modules():
        if isinstance(module, Block):
            watch(name, module)
    try:
        for batch in _batches(crops):
            network(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: np.concatenate(parts) for name, parts in found.items()}
