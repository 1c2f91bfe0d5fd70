"""Named arrays from a file that nobody has reason to trust, without executing anything in it.

Safetensors are read as they are. What torch has pickled only torch reads; where it is not loaded
anyway, a process of its own converts the file once, and the cache keeps the outcome under the
file's hash. So a running camera never holds torch on a CPU.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import structlog
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save_file

from streamgate.errors import ModelError
from streamgate.models.registry import cache_folder
from streamgate.quality.choice import INSTALL_TORCH, torch_installed

__all__ = ["AnyArray", "NamedArrays", "convert", "converted_path", "read_bytes", "read_checkpoint"]

_log = structlog.get_logger(__name__)
AnyArray: TypeAlias = NDArray[Any]
NamedArrays: TypeAlias = Mapping[str, AnyArray]

# What the libraries raise on damaged or foreign bytes, as observed by feeding them such files.
_DAMAGE = (
    SafetensorError,
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
_CONVERSION_TIMEOUT_S = 600
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "i1", "U8": "u1", "U16": "<u2", "U32": "<u4", "U64": "<u8", "BOOL": "?",
}  # fmt: skip


def read_checkpoint(path: Path, content: bytes, *, sha256: str) -> dict[str, AnyArray]:
    """Return the arrays in a checkpoint by name; half precision as it is, bfloat16 as float32.

    Args:
        path: of the file, whose suffix says what it is.
        content: its bytes.
        sha256: of them.

    Raises:
        ModelError: it is damaged, holds anything but tensors, or needs torch that is not there.
    """
    if path.suffix == ".safetensors":
        return _from_safetensors(path, content)
    if sys.modules.get("torch") is not None:
        return _from_torch(path, content)
    return _from_safetensors(path, _converted(path, sha256))


def read_bytes(path: Path) -> bytes:
    """Return a checkpoint's bytes, having looked at how many they are and what they unfold to.

    Raises:
        ModelError: it cannot be read, or is larger than any network.
    """
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


def converted_path(sha256: str) -> Path:
    """Return where the conversion of a file of this hash is kept."""
    return cache_folder() / "converted" / f"{sha256}.safetensors"


def convert(path: Path, output: Path) -> None:
    """Write a checkpoint's tensors as safetensors; imports torch where it is a pickled one.

    Raises:
        ModelError: it cannot be read or written.
    """
    try:
        content = read_bytes(path)
        arrays = (
            _from_safetensors(path, content)
            if path.suffix == ".safetensors"
            else _from_torch(path, content)
        )
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=output.parent, prefix=".", delete=False) as file:
            temporary = Path(file.name)
        try:
            save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, temporary)
            temporary.replace(output)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"{path}: cannot be converted to {output}: {error.strerror}") from error


def _converted(path: Path, sha256: str) -> bytes:
    """Return the bytes of the file's conversion, made where there is none."""
    output = converted_path(sha256)
    if not output.exists():
        if not torch_installed():
            raise ModelError(
                f"{path}: torch is not installed, and it alone reads such a file; where it is "
                f"({INSTALL_TORCH}), `streamgate export --format safetensors --weights "
                f"{path.name}` writes one that needs no torch"
            )
        _log.info("weights are converted once", weights=str(path), into=str(output))
        _convert_elsewhere(path, output)
    try:
        return output.read_bytes()
    except OSError as error:
        raise ModelError(f"{output}: cannot be read: {error.strerror}") from error


def _convert_elsewhere(path: Path, output: Path) -> None:
    command = [sys.executable, "-m", "streamgate.quality.convert", str(path), str(output)]
    try:
        done = subprocess.run(  # noqa: S603 # itself
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_CONVERSION_TIMEOUT_S,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"{path}: its conversion took more than {_CONVERSION_TIMEOUT_S} s"
        ) from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise ModelError(lines[-1] if lines else f"{path}: its conversion failed")


def _from_safetensors(path: Path, content: bytes) -> dict[str, AnyArray]:
    try:
        views = deserialize(content)  # type: ignore[no-untyped-call] # its own
        arrays = {name: _array(view) for name, view in views}
    except _DAMAGE as error:
        raise ModelError(
            f"{path}: damaged or no safetensors file ({_first_line(error)}); fetch it again"
        ) from error
    return _of_network(arrays, path)


def _array(view: Mapping[str, Any]) -> AnyArray:
    kind = str(view["dtype"])
    values = np.frombuffer(view["data"], dtype=_DTYPES[kind]).reshape(view["shape"])
    if kind == "BF16":
        # The upper half of a float32.
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values


def _from_torch(path: Path, content: bytes) -> dict[str, AnyArray]:
    import torch  # noqa: PLC0415 # takes seconds, and is not everywhere

    try:
        # It warns of pickle protocols that it then refuses, which the refusal says better.
        with (
            warnings.catch_warnings(action="ignore"),
            # The command line of a training, as many keep it; a namespace does nothing.
            torch.serialization.safe_globals([Namespace]),
        ):
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
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
    for _ in range(_MOST_WRAPPERS):
        inner = _inside(loaded)
        if inner is None:
            break
        loaded = inner
    if not isinstance(loaded, Mapping):
        raise ModelError(f"{path}: expected a state dict of named tensors")
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ModelError(f"{path}: entry {name!r} is no tensor; expected a state dict")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise ModelError(f"{path}: tensor {name!r} is no plain dense tensor; expected one")
    # Tensors may show few bytes as many: looking at each would take memory for all.
    shown = sum(tensor.numel() * tensor.element_size() for tensor in loaded.values())
    if shown > _MOST_UNFOLDING * len(content) + _FREE_BYTES:
        raise ModelError(f"{path}: refused, because its {len(content):,} bytes stand for {shown:,}")
    return _of_network(
        {
            name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
            for name, tensor in loaded.items()
        },
        path,
    )


def _inside(content: object) -> object | None:
    """Return what a training script's wrapper holds; None where there is none."""
    if not isinstance(content, Mapping):
        return None
    for name in _WRAPPERS:
        inner: object = content.get(name)
        if isinstance(inner, Mapping):
            return inner
    return None


def _of_network(arrays: NamedArrays, path: Path) -> dict[str, AnyArray]:
    """Return the network's own tensors, without what stands before all their names.

    DataParallel writes `module.`, others `backbone.` or `model.backbone.`; beside that there may be
    a training's head, which is left out.
    """
    if not arrays:
        raise ModelError(f"{path}: expected a state dict of named tensors")
    # torch.compile puts this before the names of whatever it was applied to.
    arrays = {name.replace("_orig_mod.", ""): values for name, values in arrays.items()}
    prefixes = {name.removesuffix(_LANDMARK) for name in arrays if name.endswith(_LANDMARK)}
    # `xlayer1.0.conv1.weight` is no name of ours.
    prefixes = {prefix for prefix in prefixes if not prefix or prefix.endswith(".")}
    if len(prefixes) > 1:
        named = ", ".join(sorted(prefix or "no prefix" for prefix in prefixes))
        raise ModelError(f"{path}: holds several networks ({named}); save the one that is meant")
    prefix = next(iter(prefixes), "")
    return {
        name.removeprefix(prefix): values
        for name, values in arrays.items()
        if name.startswith(prefix)
    }


def _asked_for(error: pickle.UnpicklingError) -> str:
    # torch's own message goes on to explain how to execute it all the same.
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f" (it asks for {found[1]})" if found else ""


def _first_line(error: BaseException) -> str:
    # torch's messages go on with advice to report a bug of its own.
    first = str(error).strip().split("\n", 1)[0].split(". ", 1)[0]
    return first[:200] or type(error).__name__
