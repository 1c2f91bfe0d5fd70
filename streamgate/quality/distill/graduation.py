"""From a student to a file of weights that the scorer loads."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from streamgate.quality.distill.statistics import recount
from streamgate.quality.distill.whitening import whiten
from streamgate.quality.iresnet import IResNet

__all__ = ["graduate"]


def graduate(
    student: IResNet,
    crops: NDArray[np.uint8],
    path: Path,
    *,
    half: bool,
    attuning: Callable[[IResNet], None] = lambda _network: None,
) -> None:
    """Count the statistics, whiten, attune, and write the weights.

    Args:
        student: is left as it is.
        crops: clean faces that it was taught with, RGB uint8 [N, 112, 112, 3].
        path: a `.safetensors` file.
        half: store convolutions and the linear layer as float16, which halves the file;
            statistics, scales and shifts stay float32.
        attuning: chooses the basis of the last statistics, see `attunement`; default: leaves it.
    """
    network = copy.deepcopy(student)
    recount(network, crops)
    network.double()
    whiten(network)
    attuning(network.float())
    tensors = {}
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        dtype = torch.float16 if half and tensor.ndim > 1 else torch.float32
        tensors[name] = tensor.to(dtype).contiguous()
    partial = path.with_suffix(".partial")
    save_file(tensors, partial)
    partial.replace(path)
