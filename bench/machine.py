"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import onnxruntime
import torch

__all__ = ["describe", "device_name"]


def device_name(device: str) -> str:
    """Return the name of the CUDA device or of the processor."""
    return torch.cuda.get_device_name() if device == "cuda" else _processor()


def describe(device: str) -> dict[str, object]:
    """Return what decides the speed on "cpu" or "cuda"."""
    accelerator = {"accelerator": device_name(device)} if device == "cuda" else {}
    return accelerator | {
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
