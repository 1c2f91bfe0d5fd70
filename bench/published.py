"""GraFIQs the published way: one picture at a time, autograd from the loss to all five taps.

Written from the formula. The weights are frozen, so that autograd is not charged for gradients that
nobody wants; everything else is as one would first write it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from streamgate.quality.iresnet import IResNet

__all__ = ["Published"]


class Published:
    """A network with hooks on its BatchNorm2d layers and stages."""

    def __init__(self, network: IResNet) -> None:
        self._network = network
        self._device = next(network.parameters()).device
        self._losses: list[Tensor] = []
        self._taps: list[Tensor] = []
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.register_forward_pre_hook(self._collect)
        for stage in network.stages:
            stage.register_forward_hook(lambda _module, _inputs, out: self._taps.append(out))

    def score(self, crop: NDArray[np.uint8]) -> list[float]:
        """Return raw scores of the image and of stages 1 to 4 for one crop [112, 112, 3]."""
        self._losses.clear()
        self._taps.clear()
        picture = torch.from_numpy(crop).permute(2, 0, 1)[None].float().div(127.5).sub(1.0)
        picture = picture.to(self._device).contiguous().requires_grad_()
        self._network(picture)
        loss = torch.stack(self._losses).sum() / len(self._losses)
        gradients = torch.autograd.grad(loss, [picture, *self._taps])
        return [float(gradient.abs().sum()) for gradient in gradients]

    def _collect(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, nn.BatchNorm2d)
        (x,) = inputs
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        mean_loss = (mean - norm.running_mean).square().mean()
        self._losses.append(mean_loss + (variance - norm.running_var).square().mean())
