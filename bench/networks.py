"""The networks that are timed: speed does not depend on what the weights are."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from streamgate.quality.iresnet import IResNet
from streamgate.quality.layout import Layout
from streamgate.quality.weights import Weights, default_weights_path, load_weights

__all__ = ["BACKBONES", "flops", "weights_path"]

BACKBONES = ("default", "iresnet50", "iresnet100")


def weights_path(backbone: str, folder: Path) -> Path:
    """Return the file of a backbone; of a published layout, with seeded weights, made once."""
    if backbone == "default":
        return default_weights_path()
    path = folder / f"{backbone}.safetensors"
    if not path.exists():
        torch.manual_seed(0)
        network = IResNet(Layout.named(backbone))
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, nn.BatchNorm2d):
                # Keeps activations of a hundred layers within range.
                nn.init.constant_(module.weight, 0.6)
        state = network.state_dict().items()
        save_file({name: t for name, t in state if "num_batches" not in name}, path)
    return path


def flops(weights: Weights) -> int:
    """Return floating point operations of all convolutions for one picture."""
    total = 0

    def count(module: nn.Module, _inputs: object, out: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(module, nn.Conv2d)
        total += 2 * out.numel() * module.weight[0].numel()

    network = weights.build()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network.forward_features(torch.zeros(1, 3, 112, 112))
    return total


def reload(path: Path) -> IResNet:
    """Return a network of its own from the file."""
    return load_weights(path).build()
