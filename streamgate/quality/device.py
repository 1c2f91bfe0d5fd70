"""A torch device and the precision to compute in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from streamgate.quality.choice import Choice, Precision

__all__ = ["Device", "Precision"]

_REDUCED = {
    Precision.FLOAT64: torch.float64,
    Precision.FLOAT16: torch.float16,
    Precision.BFLOAT16: torch.bfloat16,
}


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
    def of(cls, choice: Choice) -> Device:
        """Return the device that was chosen."""
        if choice.cuda_index is None:
            return cls(torch.device("cpu"), choice.precision)
        return cls(torch.device("cuda", choice.cuda_index), choice.precision)

    @property
    def is_cuda(self) -> bool:
        """Whether work is queued on a stream rather than done at once."""
        return self.torch_device.type == "cuda"

    @property
    def convolution_dtype(self) -> torch.dtype:
        """Of the convolutions' weights and inputs."""
        return _REDUCED.get(self.precision, torch.float32)

    @property
    def statistics_dtype(self) -> torch.dtype:
        """Of everything else."""
        return torch.float64 if self.precision is Precision.FLOAT64 else torch.float32

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
