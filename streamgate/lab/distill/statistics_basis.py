"""Choose the basis in which the last statistics are compared.

Any invertible mixing of the channels between stage 4 and the layers that read it leaves all
embeddings unchanged, if its inverse is merged into those layers. GraFIQs changes, since it compares
means and variances channel by channel. So the basis can be chosen freely, and it is learnt here:
the score then ranks pictures by their usefulness to the teacher as well as the features of that
stage allow. Whitening (see `whitening`) is the diagonal special case and the starting point.

The definition of the score (GraFIQs, CVPR 2024 workshops) stays; the network changes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from streamgate.lab.distill.augment import augment, jitter
from streamgate.lab.distill.objective import ladder_loss, ranking_loss
from streamgate.lab.distill.precise_bn import normalised
from streamgate.quality.iresnet import Block, IResNet
from streamgate.values import Image

__all__ = ["Shown", "change_basis", "choose_basis", "ladders", "learn_basis", "well_conditioned"]

_BATCH_SIZE = 128
_RANKED_AT_ONCE = 768
_LEARNING_RATE = 2e-3
_FLOOR = 1e-6
_RUNGS = 4
_LEAST_VARIANCE = 1e-3
_NONE = 1e-14
_LIKES_AT_ONCE = 192


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Features of pictures after stage 4, and their utility.

    Attributes:
        features: its outputs, [M, C, 49].
        utility: of the pictures, [M].
    """

    features: Tensor
    utility: Tensor


def choose_basis(  # noqa: PLR0913 # what to change, by which pictures, and how long
    network: IResNet,
    clean: NDArray[np.uint8],
    judged: Iterable[tuple[Tensor, Tensor]],
    *,
    steps: int,
    seed: int,
    report: Callable[[int, float], None] = lambda _step, _loss: None,
) -> None:
    """Learn a basis for the output of stage 4 and apply it to the network, in place.

    Args:
        network: whitened; in any precision.
        clean: crops from which the statistics are computed, RGB uint8 [N, 112, 112, 3].
        judged: normalised pictures [B, 3, 112, 112] with their utilities [B].
        steps: of the optimisation.
        seed: of the order in which pictures are compared.
        report: called with each step and its loss.
    """
    shown = _shown(network, judged)
    # A gate compares faces of one person, so some pictures are compared with others of the same
    # face.
    likes = _shown(network, ladders(clean, len(shown.utility) // _RUNGS, seed))
    mean, covariance = _moments(network, clean)
    basis = learn_basis(shown, likes, mean, covariance, steps=steps, seed=seed, report=report)
    change_basis(network, well_conditioned(basis, covariance), clean)


def ladders(crops: NDArray[np.uint8], count: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield four versions of each face: unaltered, slightly darker or brighter, dark, degraded.

    Yields:
        Normalised pictures [4·B, 3, 112, 112], the four of a face together, and their utility
        relative to each other, [4·B].
    """
    chance = np.random.default_rng((seed, 4))
    for _ in range(-(-count // _BATCH_SIZE)):
        pictures, worth = [], []
        for number in chance.integers(len(crops), size=_BATCH_SIZE):
            face = jitter(crops[number], chance)
            gain = chance.uniform(0.55, 0.9) if chance.random() < 0.6 else chance.uniform(1.2, 1.7)
            dark = float(np.exp(chance.uniform(np.log(0.12), np.log(0.55))))
            augmented = augment(face, crops[chance.integers(len(crops))], chance)
            pictures += [face, _lit(face, gain, chance), _lit(face, dark, chance), augmented.image]
            worth += [1.0, 0.85, 0.75 + 0.3 * np.log(dark), 0.7 * (1 - augmented.strength)]
        yield normalised(np.stack(pictures)), torch.tensor(worth, dtype=torch.float32)


def _lit(image: Image, gain: float, chance: Generator) -> Image:
    """Return a picture in different light, with sensor noise."""
    noise = chance.normal(0, chance.uniform(0, 3), image.shape)
    return np.asarray(np.clip(image * gain + noise, 0, 255), dtype=np.uint8)


def learn_basis(  # noqa: PLR0913 # features, what they are worth, and how to learn
    shown: Shown,
    likes: Shown | None,
    mean: Tensor,
    covariance: Tensor,
    *,
    steps: int,
    seed: int,
    start: Tensor | None = None,
    report: Callable[[int, float], None] = lambda _step, _loss: None,
) -> Tensor:
    """Return a basis [C, C], float64, in which block4's score ranks `features` by `utility`.

    Args:
        shown: pictures that are all compared with each other.
        likes: four versions of each face, compared among the four; None for none.
        mean, covariance: of clean faces' features over pictures and positions, [C] and [C, C].
        start: initial basis, [C, C]; default: unit variances.
    """
    torch.manual_seed(seed)
    if start is None:
        start = torch.diag(covariance.diagonal().clamp(min=1e-12).rsqrt()).float()
    features, utility = shown.features, shown.utility
    mean, covariance = mean.float(), covariance.float()
    change = torch.zeros_like(start, requires_grad=True)
    optimizer = torch.optim.Adam([change], lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    identity, at_once = torch.eye(len(start)), min(_RANKED_AT_ONCE, len(features))
    for step in range(steps):
        chosen = torch.randint(len(features), (at_once,))
        basis = (identity + change) @ start
        scores = _log_raw(basis @ features[chosen].float(), basis, mean, covariance)
        loss = ranking_loss(scores, utility[chosen])
        if likes is not None:
            faces = torch.randint(len(likes.utility) // _RUNGS, (_LIKES_AT_ONCE,))
            rungs = (faces[:, None] * _RUNGS + torch.arange(_RUNGS)).flatten()
            x = basis @ likes.features[rungs].float()
            rung_scores = _log_raw(x, basis, mean, covariance).reshape(-1, _RUNGS)
            loss = loss + ladder_loss(rung_scores, likes.utility[rungs].reshape(-1, _RUNGS))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        report(step, loss.item())
    return ((identity + change.detach()) @ start).double()


def well_conditioned(basis: Tensor, covariance: Tensor) -> Tensor:
    """Return a basis near `basis` in which no channel nearly follows from the others.

    The layers that read the features undo the basis, and a direction in which the features hardly
    vary is lost in rounding: without this, float32 scores of the earlier groups are off by 9e-4,
    and half precision is useless. Directions with less than a thousandth of the largest correlated
    variance are raised to that. The ranking by the scores hardly depends on them.

    Args:
        basis: [C, C], invertible.
        covariance: of clean faces' features before `basis`, [C, C].
    """
    clean = basis.double() @ covariance.double() @ basis.double().T
    # A channel that is constant on clean faces has no variance to raise and stays unchanged.
    deviation = clean.diagonal().clamp(min=1e-24).sqrt()
    variances, directions = torch.linalg.eigh(clean / deviation[:, None] / deviation)
    least, there = _LEAST_VARIANCE * variances[-1], variances > _NONE * variances[-1]
    gain = torch.where(there, (variances.clamp(min=least) / variances).sqrt(), 1.0)
    lift: Tensor = deviation[:, None] * (directions * gain) @ directions.T / deviation
    return lift @ basis.double()


def _log_raw(x: Tensor, basis: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """Return log raw(block4) plus a constant, [B], of features [B, C, 49] in the new basis."""
    clean_variance = torch.einsum("ci,ij,cj->c", basis, covariance, basis)
    own_mean = x.mean(dim=2, keepdim=True)
    own_variance = x.var(dim=2, correction=0, keepdim=True)
    shift = own_mean - (basis @ mean)[:, None]
    gradient = shift + 2 * (own_variance - clean_variance[:, None]) * (x - own_mean)
    return torch.log(gradient.abs().mean(dim=(1, 2)) + _FLOOR)


@torch.no_grad()
def change_basis(network: IResNet, basis: Tensor, clean: NDArray[np.uint8]) -> None:
    """Express stage 4's output in another basis; embeddings stay the same.

    Args:
        network: changed in place, in float64 afterwards.
        basis: [C, C], invertible: new features = basis · old features.
        clean: crops from which the new statistics are computed, RGB uint8 [N, 112, 112, 3].
    """
    network.double()
    basis = basis.double()
    blocks = [cast(Block, block) for block in network.stages[-1]]
    assert blocks[0].downsample is not None
    projection = cast(nn.Conv2d, blocks[0].downsample[0])
    sources = [(projection, cast(nn.BatchNorm2d, blocks[0].downsample[1]))]
    sources += [(block.conv2, block.bn3) for block in blocks]
    readers: list[tuple[nn.BatchNorm2d, nn.Conv2d | nn.Linear]] = [
        (block.bn1, block.conv1) for block in blocks[1:]
    ]
    readers.append((network.bn2, network.fc))
    for convolution, norm in sources:
        _mix_source(convolution, norm, basis)
    inverse = torch.linalg.inv(basis)
    for norm, consumer in readers:
        _mix_reader(norm, consumer, basis, inverse)
    _count_variances(network, [norm for _, norm in sources] + [norm for norm, _ in readers], clean)


def _mix_source(convolution: nn.Conv2d, norm: nn.BatchNorm2d, basis: Tensor) -> None:
    """Change a convolution and its BatchNorm to return `basis` times their old output."""
    scale, mean = _scale(norm), _mean(norm)
    mix = basis * scale
    convolution.weight.copy_(torch.einsum("oc,cihw->oihw", mix, convolution.weight))
    norm.running_mean = mix @ mean
    norm.bias.copy_(basis @ norm.bias)
    _set_unit(norm)


def _mix_reader(
    norm: nn.BatchNorm2d, consumer: nn.Conv2d | nn.Linear, basis: Tensor, inverse: Tensor
) -> None:
    """Make a BatchNorm and the layer after it undo `basis`: old output = mix · new output."""
    scale, mean = _scale(norm), _mean(norm)
    mix = scale[:, None] * inverse
    norm.running_mean = basis @ mean
    norm.bias.copy_(torch.linalg.solve(mix, norm.bias))
    _set_unit(norm)
    weight = consumer.weight
    if isinstance(consumer, nn.Linear):
        by_channel = weight.reshape(len(weight), len(basis), -1)
        weight.copy_(torch.einsum("ecp,cd->edp", by_channel, mix).flatten(1))
    else:
        weight.copy_(torch.einsum("ochw,cd->odhw", weight, mix))


def _set_unit(norm: nn.BatchNorm2d) -> None:
    """Make a BatchNorm subtract its mean and scale by one, whatever variance it will have."""
    assert norm.running_var is not None
    norm.running_var.fill_(1.0)
    norm.weight.fill_((1.0 + norm.eps) ** 0.5)


def _scale(norm: nn.BatchNorm2d) -> Tensor:
    assert norm.running_var is not None
    return norm.weight / torch.sqrt(norm.running_var + norm.eps)


def _mean(norm: nn.BatchNorm2d) -> Tensor:
    assert norm.running_mean is not None
    return norm.running_mean


def _count_variances(
    network: IResNet, norms: list[nn.BatchNorm2d], clean: NDArray[np.uint8]
) -> None:
    """Compute means and variances of the inputs of these layers, and compensate for the change."""
    # float32 is twice as fast as float64, and exact enough for sums over this many positions.
    single = copy.deepcopy(network).float().eval()
    twins = dict(zip(network.modules(), single.modules(), strict=True))
    sums = {twins[norm]: torch.zeros(2, norm.num_features, dtype=torch.float64) for norm in norms}

    def add(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].double()
        sums[norm] += len(x) * torch.stack([x.mean(dim=(0, 2, 3)), x.square().mean(dim=(0, 2, 3))])

    for twin in sums:
        twin.register_forward_pre_hook(add)
    for first in range(0, len(clean), _BATCH_SIZE):
        single(normalised(clean[first : first + _BATCH_SIZE]))
    for norm in norms:
        mean, square = sums[twins[norm]] / len(clean)
        scale, shift = _scale(norm), norm.bias - _mean(norm) * _scale(norm)
        norm.running_mean, norm.running_var = mean, (square - mean.square()).clamp(min=0)
        norm.weight.copy_(scale * torch.sqrt(norm.running_var + norm.eps))
        norm.bias.copy_(shift + mean * scale)


def _shown(network: IResNet, judged: Iterable[tuple[Tensor, Tensor]]) -> Shown:
    features, utilities = [], []
    for pictures, utility in judged:
        features.append(_features(network, pictures).half())
        utilities.append(utility)
    return Shown(torch.cat(features), torch.cat(utilities))


@torch.no_grad()
def _features(network: IResNet, pictures: Tensor) -> Tensor:
    return network.eval().forward_features(pictures.to(_dtype(network))).flatten(2)


@torch.no_grad()
def _moments(network: IResNet, clean: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Return mean [C] and covariance [C, C] of clean features, over pictures and positions."""
    channels = network.layout.widths[-1]
    total, products = torch.zeros(channels).double(), torch.zeros(channels, channels).double()
    count = 0
    for first in range(0, len(clean), _BATCH_SIZE):
        x = _features(network, normalised(clean[first : first + _BATCH_SIZE]))
        x = x.double().transpose(0, 1).flatten(1)
        total += x.sum(dim=1)
        products += x @ x.T
        count += x.shape[1]
    mean = total / count
    return mean, products / count - torch.outer(mean, mean)


def _dtype(network: IResNet) -> torch.dtype:
    return network.conv1.weight.dtype
