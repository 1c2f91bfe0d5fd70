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

__all__ = ["AnyArray", "NamedArrays", "convert", "converted_path", "read_checkpoint"]

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


def converted_path(sha256: str) -> Path:
    """Return where the conversion of a file of this hash is kept."""
    return cache_folder() / "converted" / f"{sha256}.safetensors"


def convert(path: Path, output: Path) -> None:
    """Write a checkpoint's tensors as safetensors; imports torch where it is a pickled one.

    Raises:
        ModelError: it cannot be read or written.
    """
    try:
        content = path.read_bytes()
        # Its import is what sends `read_checkpoint` the direct way.
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
        return _unprefixed({name: _array(view) for name, view in deserialize(content)}, path)  # type: ignore[no-untyped-call] # its own
    except _DAMAGE as error:
        raise ModelError(
            f"{path}: damaged or no safetensors file ({_first_line(error)}); fetch it again"
        ) from error


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
        with warnings.catch_warnings(action="ignore"):
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
    # Training scripts put wrappers around it.
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping):
        raise ModelError(f"{path}: expected a state dict of named tensors")
    arrays: dict[str, AnyArray] = {}
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ModelError(f"{path}: entry {name!r} is no tensor; expected a state dict")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise ModelError(f"{path}: tensor {name!r} is no plain dense tensor; expected one")
        plain = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        arrays[name] = plain.detach().numpy()
    return _unprefixed(arrays, path)


def _unprefixed(arrays: Mapping[str, AnyArray], path: Path) -> dict[str, AnyArray]:
    if not arrays:
        raise ModelError(f"{path}: expected a state dict of named tensors")
    # DataParallel prefixes every name.
    return {name.removeprefix("module."): values for name, values in arrays.items()}


def _asked_for(error: pickle.UnpicklingError) -> str:
    # torch's own message goes on to explain how to execute it all the same.
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f" (it asks for {found[1]})" if found else ""


def _first_line(error: BaseException) -> str:
    # torch's messages go on with advice to report a bug of its own.
    first = str(error).strip().split("\n", 1)[0].split(". ", 1)[0]
    return first[:200] or type(error).__name__
