"""Weights from a file that nobody has reason to trust.

A checkpoint is data: nothing in it is executed, and a network is only built of tensors that were
found, have the expected shapes and hold finite numbers. Every refusal names the file and the
tensor, because "size mismatch" from the depths of a framework helps nobody.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamgate.errors import ModelError
from streamgate.models.registry import installed
from streamgate.quality.checkpoint import AnyArray, NamedArrays, read_bytes, read_checkpoint
from streamgate.quality.layout import DEPTHS, Layout, expected_shapes
from streamgate.quality.parameters import FloatArray

if TYPE_CHECKING:
    from streamgate.quality.iresnet import IResNet

__all__ = ["DEFAULT_WEIGHTS", "Weights", "default_weights_path", "load_weights"]

DEFAULT_WEIGHTS = "default"
_MAX_DEPTH = 200


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A checked checkpoint.

    Attributes:
        tensors: by published name, float32 or float64, finite.
        layout: the network that they fit.
        sha256: of the file, as lower-case hexadecimal.
        path: where they came from.
    """

    tensors: Mapping[str, FloatArray]
    layout: Layout
    sha256: str
    path: Path

    def build(self) -> IResNet:
        """Return the network as a torch module in eval mode, frozen, on the CPU.

        It holds copies of these weights.
        """
        import torch  # noqa: PLC0415 # only training, evaluation and tests want it

        from streamgate.quality.iresnet import IResNet  # noqa: PLC0415 # the same

        with torch.device("meta"):
            network = IResNet(self.layout)
        state = {name: torch.tensor(values) for name, values in self.tensors.items()}
        for name in network.state_dict():
            if name.endswith("num_batches_tracked"):
                state[name] = torch.zeros((), dtype=torch.int64)
        network.load_state_dict(state, assign=True)
        return network.eval().requires_grad_(False)


def default_weights_path() -> Path:
    """Return the file of the weights that come with streamgate, checked by its hash.

    Raises:
        ModelError: it is damaged or missing.
    """
    return installed(DEFAULT_WEIGHTS)


def load_weights(weights: str | Path = DEFAULT_WEIGHTS, *, backbone: str | None = None) -> Weights:
    """Read and check a checkpoint.

    Args:
        weights: a `.safetensors` file, a `.pth` state dict, or "default".
        backbone: the published layout that the file must hold ("iresnet50"); None reads the
            layout from the tensors.

    Raises:
        ModelError: the file cannot be read, holds anything but tensors, or does not fit.
    """
    if backbone is not None and backbone not in DEPTHS:
        raise ModelError(f"unknown backbone {backbone!r}: expected one of {', '.join(DEPTHS)}")
    path = default_weights_path() if str(weights) == DEFAULT_WEIGHTS else Path(weights)
    content = read_bytes(path)
    sha256 = hashlib.sha256(content).hexdigest()
    tensors = read_checkpoint(path, content, sha256=sha256)
    del content
    layout = _layout_of(tensors, path)
    if backbone is not None and layout.depths != DEPTHS[backbone]:
        raise ModelError(
            f"{path}: expected {backbone} with {_blocks(DEPTHS[backbone])} blocks in layer1..4, "
            f"found {layout.name} with {_blocks(layout.depths)}"
        )
    checked = _check(tensors, layout, path)
    return Weights(checked, layout, sha256, path)


def _layout_of(tensors: NamedArrays, path: Path) -> Layout:
    """Read depths and widths from the tensors."""
    widths: list[int] = []
    for stage in (1, 2, 3, 4):
        widths.append(_dimension(tensors, f"layer{stage}.0.conv2.weight", 4, path))
    depths = [_depth(tensors, stage) for stage in (1, 2, 3, 4)]
    return Layout(
        depths=(depths[0], depths[1], depths[2], depths[3]),
        widths=(widths[0], widths[1], widths[2], widths[3]),
        stem_width=_dimension(tensors, "conv1.weight", 4, path),
        embedding_size=_dimension(tensors, "fc.weight", 2, path),
    )


def _dimension(tensors: NamedArrays, name: str, dimensions: int, path: Path) -> int:
    tensor = tensors.get(name)
    if tensor is None:
        raise ModelError(
            f"{path}: tensor {name!r} is missing; expected an IResNet in the published layout "
            f"(first tensors found: {', '.join(sorted(tensors)[:3])})"
        )
    if tensor.ndim != dimensions or tensor.size == 0:
        raise ModelError(
            f"{path}: tensor {name!r} has shape {list(tensor.shape)}; expected {dimensions} "
            "dimensions, none of them empty"
        )
    return int(tensor.shape[0])


def _depth(tensors: NamedArrays, stage: int) -> int:
    depth = 0
    while depth < _MAX_DEPTH and f"layer{stage}.{depth}.conv1.weight" in tensors:
        depth += 1
    return max(depth, 1)


def _check(tensors: NamedArrays, layout: Layout, path: Path) -> dict[str, FloatArray]:
    """Return exactly the tensors that the layout needs, or refuse."""
    shapes = expected_shapes(layout)
    checked: dict[str, FloatArray] = {}
    for name, shape in shapes.items():
        found = tensors.get(name)
        if found is None:
            raise ModelError(
                f"{path}: tensor {name!r} is missing; expected shape {list(shape)} for {layout}"
            )
        checked[name] = _checked(name, found, shape, path)
    # Only training reads the step counters, and some exports leave them out.
    known = {*shapes, *(f"{name}.num_batches_tracked" for name in _batch_norms(shapes))}
    for name in tensors:
        if name not in known:
            raise ModelError(f"{path}: tensor {name!r} is not part of {layout.name}; expected none")
    return checked


def _checked(name: str, tensor: AnyArray, shape: tuple[int, ...], path: Path) -> FloatArray:
    if tensor.shape != shape:
        raise ModelError(
            f"{path}: tensor {name!r} has shape {list(tensor.shape)}; expected {list(shape)}"
        )
    if not np.issubdtype(tensor.dtype, np.floating):
        raise ModelError(f"{path}: tensor {name!r} is {tensor.dtype}; expected floating point")
    values = tensor if tensor.dtype == np.float64 else tensor.astype(np.float32, copy=False)
    bad = values.size - int(np.isfinite(values).sum())
    if bad:
        raise ModelError(
            f"{path}: tensor {name!r} holds {bad} values that are NaN or infinite of "
            f"{math.prod(shape)}; expected finite numbers"
        )
    if name.endswith("running_var") and bool((values < 0).any()):
        raise ModelError(f"{path}: tensor {name!r} holds negative variances; expected none")
    return values


def _batch_norms(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    return [name.removesuffix(".running_var") for name in shapes if name.endswith(".running_var")]


def _blocks(depths: tuple[int, int, int, int]) -> str:
    return "/".join(map(str, depths))
