"""Where the network runs and in which precision, decided once from what the user wrote."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import torch

from streamgate.errors import ModelError

__all__ = ["Device", "Precision"]


class Precision(StrEnum):
    """What convolutions are computed in; statistics and gradients never have less than float32."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"
    TF32 = "tf32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"

    @property
    def convolution_dtype(self) -> torch.dtype:
        """Of the convolutions' weights and inputs."""
        reduced = {
            Precision.FLOAT64: torch.float64,
            Precision.FLOAT16: torch.float16,
            Precision.BFLOAT16: torch.bfloat16,
        }
        return reduced.get(self, torch.float32)

    @property
    def statistics_dtype(self) -> torch.dtype:
        """Of everything else."""
        return torch.float64 if self is Precision.FLOAT64 else torch.float32


@dataclass(frozen=True, slots=True)
class Device:
    """A torch device and a precision that it has.

    Attributes:
        torch_device: with its index if it is a CUDA device.
        precision: of the convolutions.
    """

    torch_device: torch.device
    precision: Precision

    @classmethod
    def choose(cls, device: str, precision: str) -> Device:
        """Return what `device` ("auto", "cpu", "cuda", "cuda:N") and `precision` stand for.

        Raises:
            ModelError: this machine does not have it.
        """
        try:
            wanted = Precision(precision)
        except ValueError:
            known = ", ".join(Precision)
            raise ModelError(f"unknown precision {precision!r}: expected one of {known}") from None
        available = torch.cuda.device_count()
        if device == "auto":
            device = "cuda" if available else "cpu"
        try:
            chosen = torch.device(device)
        except RuntimeError:
            raise ModelError(f"unknown device {device!r}: expected auto, cpu or cuda:N") from None
        if chosen.type == "cpu":
            if wanted is Precision.TF32:
                raise ModelError("precision tf32 needs a CUDA device; use float32 on a CPU")
            return cls(torch.device("cpu"), wanted)
        if chosen.type != "cuda" or (chosen.index or 0) >= available:
            raise ModelError(f"device {device!r} is not there: {available} CUDA devices found")
        return cls(torch.device("cuda", chosen.index or 0), wanted)

    @property
    def is_cuda(self) -> bool:
        """Whether work is queued on a stream rather than done at once."""
        return self.torch_device.type == "cuda"

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute without a graph, and with TF32 only where it was asked for.

        Left to itself, torch lets cuDNN round float32 convolutions to TF32's 10 bits.
        """
        with torch.inference_mode():
            if not self.is_cuda:
                yield
                return
            tf32 = self.precision is Precision.TF32
            before = torch.backends.cuda.matmul.allow_tf32
            torch.backends.cuda.matmul.allow_tf32 = tf32
            try:
                with torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32):
                    yield
            finally:
                torch.backends.cuda.matmul.allow_tf32 = before
