"""Weights from a file that nobody has reason to trust.

A checkpoint is data: nothing in it is executed, and a network is only built of tensors that were
found, have the expected shapes and hold finite numbers. Every refusal names the file and the
tensor, because "size mismatch" from the depths of a framework helps nobody.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import re
import struct
import warnings
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from streamgate.errors import ModelError
from streamgate.models.registry import installed
from streamgate.quality.iresnet import DEPTHS, IResNet, Layout, expected_shapes

__all__ = ["DEFAULT_WEIGHTS", "Weights", "default_weights_path", "load_weights"]

DEFAULT_WEIGHTS = "default"
MAX_BYTES = 2 << 30
"""Of a file, and of what it unfolds to: the largest published network with the state of its
optimiser has 0.8 GB."""
_MOST_UNFOLDING = 4
_FREE_BYTES = 1 << 20
"""Checkpoints are archives that do not compress; one that unfolds to more than four times its size
and a megabyte was made to fill memory."""
_MOST_WRAPPERS = 4
_WRAPPERS = (
    "state_dict", "state_dict_backbone", "model_state_dict", "model", "backbone", "network", "net",
    "module",
)  # fmt: skip
_LANDMARK = "layer1.0.conv1.weight"
"""What every network here has, so that its name tells what stands before all names."""
_MAX_DEPTH = 200
# What torch.load raises on damaged or foreign bytes, as observed by feeding it such files.
_DAMAGE = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
    struct.error,
)


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A checked checkpoint.

    Attributes:
        tensors: by published name, float32 or float64 on the CPU, finite.
        layout: the network that they fit.
        sha256: of the file, as lower-case hexadecimal.
        path: where they came from.
    """

    tensors: Mapping[str, Tensor]
    layout: Layout
    sha256: str
    path: Path

    def build(self, *, copy: bool = True) -> IResNet:
        """Return the network in eval mode, frozen, on the CPU, with these weights.

        Without `copy` it shares the tensors and must not be changed.
        """
        with torch.device("meta"):
            network = IResNet(self.layout)
        state = {name: tensor.clone() if copy else tensor for name, tensor in self.tensors.items()}
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
    content = _read(path)
    sha256 = hashlib.sha256(content).hexdigest()
    tensors = _of_network(_unwrap(_parse(path, content), path), path)
    _require_own_bytes(tensors, len(content), path)
    del content
    layout = _layout_of(tensors, path)
    if backbone is not None and layout.depths != DEPTHS[backbone]:
        raise ModelError(
            f"{path}: expected {backbone} with {_blocks(DEPTHS[backbone])} blocks in layer1..4, "
            f"found {layout.name} with {_blocks(layout.depths)}"
        )
    checked = _check(tensors, layout, path)
    return Weights(checked, layout, sha256, path)


def _read(path: Path) -> bytes:
    """Return the file's bytes, having looked at how many they are and what they unfold to."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{path}: the weights cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise ModelError(f"{path}: has more than {MAX_BYTES:,} bytes; no weights have")
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return content
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unfolded = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, *_DAMAGE):
        # torch says what is wrong with it.
        return content
    most = min(MAX_BYTES, _MOST_UNFOLDING * len(content) + _FREE_BYTES)
    if unfolded > most:
        raise ModelError(
            f"{path}: refused, because its {len(content):,} bytes would unfold to {unfolded:,}; "
            f"expected at most {most:,}"
        )
    return content


def _parse(path: Path, content: bytes) -> object:
    """Return whatever the file holds, without executing anything in it."""
    if path.suffix == ".safetensors":
        try:
            return load_safetensors(content)
        except (SafetensorError, *_DAMAGE) as error:
            raise ModelError(
                f"{path}: damaged or no safetensors file ({_first_line(error)}); fetch it again"
            ) from error
    try:
        # It warns of pickle protocols that it then refuses, which the refusal says better.
        with (
            warnings.catch_warnings(action="ignore"),
            # The command line of a training, as many keep it; a namespace does nothing.
            torch.serialization.safe_globals([Namespace]),
        ):
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path}: refused, because it is damaged or holds more than tensors, and nothing in "
            f"it was executed{_asked_for(error)}; save the network's state_dict() or a "
            ".safetensors file instead"
        ) from error
    except (OSError, *_DAMAGE) as error:
        raise ModelError(
            f"{path}: damaged or no PyTorch checkpoint ({_first_line(error)}); fetch it again"
        ) from error


def _unwrap(content: object, path: Path) -> dict[str, Tensor]:
    """Return the state dict, from inside the wrappers that training scripts put around it."""
    for _ in range(_MOST_WRAPPERS):
        inner = _inside(content)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"{path}: expected a state dict of named tensors")
    tensors: dict[str, Tensor] = {}
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ModelError(f"{path}: entry {name!r} is no tensor; expected a state dict")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise ModelError(f"{path}: tensor {name!r} is no plain dense tensor; expected one")
        # torch.compile puts this before the names of whatever it was applied to.
        tensors[name.replace("_orig_mod.", "")] = tensor
    return tensors


def _inside(content: object) -> object | None:
    """What a wrapper holds; None where there is none."""
    if not isinstance(content, Mapping):
        return None
    for name in _WRAPPERS:
        inner: object = content.get(name)
        if isinstance(inner, Mapping):
            return inner
    return None


def _of_network(tensors: Mapping[str, Tensor], path: Path) -> Mapping[str, Tensor]:
    """Return the network's own tensors, without what stands before all their names.

    DataParallel writes `module.`, others `backbone.` or `model.backbone.`; beside that there may be
    a training's head, which is left out.
    """
    prefixes = {name.removesuffix(_LANDMARK) for name in tensors if name.endswith(_LANDMARK)}
    # `xlayer1.0.conv1.weight` is no name of ours.
    prefixes = {prefix for prefix in prefixes if not prefix or prefix.endswith(".")}
    if len(prefixes) > 1:
        named = ", ".join(sorted(prefix or "no prefix" for prefix in prefixes))
        raise ModelError(f"{path}: holds several networks ({named}); save the one that is meant")
    prefix = next(iter(prefixes), "")
    if not prefix:
        return tensors
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def _require_own_bytes(tensors: Mapping[str, Tensor], size: int, path: Path) -> None:
    """Refuse tensors that show few bytes as many: looking at each would take memory for all."""
    shown = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if shown > _MOST_UNFOLDING * size + _FREE_BYTES:
        raise ModelError(f"{path}: refused, because its {size:,} bytes stand for {shown:,}")


def _layout_of(tensors: Mapping[str, Tensor], path: Path) -> Layout:
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


def _dimension(tensors: Mapping[str, Tensor], name: str, dimensions: int, path: Path) -> int:
    tensor = tensors.get(name)
    if tensor is None:
        raise ModelError(
            f"{path}: tensor {name!r} is missing; expected an IResNet in the published layout "
            f"(first tensors found: {', '.join(sorted(tensors)[:3])})"
        )
    if tensor.ndim != dimensions or tensor.numel() == 0:
        raise ModelError(
            f"{path}: tensor {name!r} has shape {list(tensor.shape)}; expected {dimensions} "
            "dimensions, none of them empty"
        )
    return int(tensor.shape[0])


def _depth(tensors: Mapping[str, Tensor], stage: int) -> int:
    depth = 0
    while depth < _MAX_DEPTH and f"layer{stage}.{depth}.conv1.weight" in tensors:
        depth += 1
    return max(depth, 1)


def _check(tensors: Mapping[str, Tensor], layout: Layout, path: Path) -> dict[str, Tensor]:
    """Return exactly the tensors that the layout needs, or refuse."""
    shapes = expected_shapes(layout)
    for name, shape in shapes.items():
        found = tensors.get(name)
        if found is None:
            raise ModelError(
                f"{path}: tensor {name!r} is missing; expected shape {list(shape)} for {layout}"
            )
        _check_tensor(name, found, shape, path)
    known = {*shapes, *(f"{name}.num_batches_tracked" for name in _batch_norms(shapes))}
    for name in tensors:
        if name not in known:
            raise ModelError(f"{path}: tensor {name!r} is not part of {layout.name}; expected none")
    return {name: _as_float(tensors[name]) for name in shapes}


def _check_tensor(name: str, tensor: Tensor, shape: tuple[int, ...], path: Path) -> None:
    if tuple(tensor.shape) != shape:
        raise ModelError(
            f"{path}: tensor {name!r} has shape {list(tensor.shape)}; expected {list(shape)}"
        )
    if not tensor.is_floating_point():
        raise ModelError(f"{path}: tensor {name!r} is {tensor.dtype}; expected floating point")
    bad = tensor.numel() - int(torch.isfinite(tensor).sum())
    if bad:
        raise ModelError(
            f"{path}: tensor {name!r} holds {bad} values that are NaN or infinite of "
            f"{math.prod(shape)}; expected finite numbers"
        )
    if name.endswith("running_var") and bool((tensor < 0).any()):
        raise ModelError(f"{path}: tensor {name!r} holds negative variances; expected none")


def _batch_norms(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    return [name.removesuffix(".running_var") for name in shapes if name.endswith(".running_var")]


def _as_float(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.to(torch.float32)


def _blocks(depths: tuple[int, int, int, int]) -> str:
    return "/".join(map(str, depths))


def _asked_for(error: pickle.UnpicklingError) -> str:
    # torch's own message goes on to explain how to execute it all the same.
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f" (it asks for {found[1]})" if found else ""


def _first_line(error: BaseException) -> str:
    # torch's messages go on with advice to report a bug of its own.
    first = str(error).strip().split("\n", 1)[0].split(". ", 1)[0]
    return first[:200] or type(error).__name__
