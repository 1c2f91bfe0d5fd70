"""Exact BatchNorm statistics of the finished network over clean faces (*precise BN*).

Running statistics average over the networks of past training steps. So they are computed again at
the end, over the clean crops that the network was trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from streamgate.quality.iresnet import IResNet

__all__ = ["normalised", "precise_bn"]

_BATCH_SIZE = 128
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def normalised(crops: NDArray[np.uint8]) -> Tensor:
    """Return the network's input, float32 [N, 3, 112, 112] in -1..1, channels last."""
    pictures = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2)
    return pictures.float().div_(127.5).sub_(1.0)


@torch.no_grad()
def precise_bn(network: IResNet, crops: NDArray[np.uint8]) -> None:
    """Set every BatchNorm's statistics to those of `crops`, RGB uint8 [N, 112, 112, 3].

    The crops pass in training mode, so that each layer sees its inputs as they are when all earlier
    layers have their new statistics.
    """
    with _counting(network):
        # All batches weigh the same, so they must be of equal size for an exact mean.
        usable = max(len(crops) - len(crops) % _BATCH_SIZE, min(len(crops), _BATCH_SIZE))
        for first in range(0, usable, _BATCH_SIZE):
            network(normalised(crops[first : first + _BATCH_SIZE]))


@contextmanager
def _counting(network: IResNet) -> Iterator[None]:
    norms = [module for module in network.modules() if isinstance(module, _NORMS)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    was_training = network.training
    network.train()
    try:
        yield
    finally:
        network.train(was_training)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
