"""Where the network runs and in which precision, decided once from what the user wrote.

A CPU needs no torch for single precision, so it is asked for only where something else was chosen
or where it may drive a GPU that is there.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

import structlog

from streamgate.errors import ModelError

__all__ = ["Choice", "Precision", "choose", "require_torch", "torch_installed"]

_log = structlog.get_logger(__name__)
INSTALL_TORCH = "pip install 'streamgate[torch]'"


class Precision(StrEnum):
    """What convolutions are computed in; statistics and gradients never have less than float32."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    TF32 = "tf32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, and is there.

    Attributes:
        cuda_index: of the CUDA device; None on a CPU.
        precision: of the convolutions.
    """

    cuda_index: int | None
    precision: Precision

    @property
    def is_cuda(self) -> bool:
        """Whether a CUDA device was chosen."""
        return self.cuda_index is not None

    @property
    def needs_torch(self) -> bool:
        """Whether torch computes it; single precision on a CPU is onnxruntime's."""
        return self.is_cuda or self.precision is not Precision.FLOAT32


def choose(device: str, precision: str) -> Choice:
    """Return what `device` ("auto", "cpu", "cuda", "cuda:N") and `precision` stand for.

    Raises:
        ModelError: this machine does not have it, or torch is wanted for it and not installed.
    """
    try:
        wanted = Precision(precision)
    except ValueError:
        known = ", ".join(Precision)
        raise ModelError(f"unknown precision {precision!r}: expected one of {known}") from None
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ModelError(f"unknown device {device!r}: expected auto, cpu or cuda:N")
    if device == "auto":
        device = "cuda" if _automatic(nvidia_seen) else "cpu"
    if device == "cpu":
        if wanted is Precision.TF32:
            raise ModelError("precision tf32 needs a CUDA device; use float32 on a CPU")
        choice = Choice(None, wanted)
        if choice.needs_torch:
            require_torch(f"precision {wanted} on a CPU")
        return choice
    require_torch(f"device {device!r}")
    index = int(device.partition(":")[2] or 0)
    available = _cuda_devices()
    if index >= available:
        raise ModelError(f"device {device!r} is not there: {available} CUDA devices found")
    return Choice(index, wanted)


def require_torch(what: str) -> None:
    """Raise ModelError where torch is not installed; `what` needs it."""
    if not torch_installed():
        raise ModelError(f"{what} needs torch, which is not installed: {INSTALL_TORCH}")


def torch_installed() -> bool:
    """Say whether torch could be imported, without importing it."""
    if "torch" in sys.modules:
        return sys.modules["torch"] is not None
    try:
        return find_spec("torch") is not None
    except (ImportError, ValueError):
        return False


def nvidia_seen() -> bool:
    """Say whether this machine shows signs of an NVIDIA device."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or shutil.which("nvidia-smi") is not None


def _automatic(seen: Callable[[], bool]) -> bool:
    """Decide for CUDA; torch takes seconds to ask, so it is only asked where it can be true."""
    if not seen():
        return False
    if not torch_installed():
        _log.warning(
            "an NVIDIA device is there but torch is not installed: scores are computed on the CPU",
            remedy=f"{INSTALL_TORCH}, or quality.device: cpu",
        )
        return False
    return _cuda_devices() > 0


def _cuda_devices() -> int:
    import torch  # noqa: PLC0415 # takes seconds, and is not everywhere

    return torch.cuda.device_count()
