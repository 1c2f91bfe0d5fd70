"""From a student to a file of weights that the scorer loads."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from streamgate.lab.distill.precise_bn import precise_bn
from streamgate.lab.distill.whitening import whiten
from streamgate.quality.iresnet import IResNet

__all__ = ["finalize"]


def finalize(
    student: IResNet,
    crops: NDArray[np.uint8],
    path: Path,
    *,
    half: bool,
    choosing_basis: Callable[[IResNet], None] = lambda _network: None,
) -> None:
    """Count the statistics, whiten, choose the basis, and write the weights.

    Args:
        student: is not changed.
        crops: clean faces that it was trained on, RGB uint8 [N, 112, 112, 3].
        path: a `.safetensors` file.
        half: store convolutions and the linear layer as float16, which halves the file;
            statistics, scales and shifts stay float32.
        choosing_basis: chooses the basis of the last statistics, see `statistics_basis`;
            default: no change.
    """
    network = copy.deepcopy(student)
    precise_bn(network, crops)
    network.double()
    whiten(network)
    choosing_basis(network.float())
    tensors = {}
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        dtype = torch.float16 if half and tensor.ndim > 1 else torch.float32
        tensors[name] = tensor.to(dtype).contiguous()
    partial = path.with_suffix(".partial")
    save_file(tensors, partial)
    partial.replace(path)
