"""Peak memory of one way of scoring, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from bench.networks import reload
from bench.published import Published
from streamgate.quality import Scorer

__all__ = ["peak_mb"]

_CALLS = 4


def peak_mb(path: Path, way: str, batch: int, device: str) -> float:
    """Return the peak memory of scoring `batch` pictures, in MB.

    On a CPU resident memory above an idle process, on a CUDA device what tensors took there.
    """
    command = [sys.executable, "-m", "bench.memory", str(path), way, str(batch), device]
    out = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 # itself
    return float(out.stdout)


def _main(path: Path, way: str, batch: int, device: str) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (batch, 112, 112, 3), np.uint8)
    before = _peak(device)
    if way == "published":
        published = Published(reload(path).to(device))
        for crop in crops[:_CALLS]:
            published.score(crop)
    else:
        scorer = Scorer.load(path, group=way, device=device, batch_size=batch)
        for _ in range(_CALLS):
            scorer.score(crops)
    sys.stdout.write(f"{_peak(device) - before:.0f}\n")


def _peak(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    # Not ru_maxrss: it starts at the peak of the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return float(line.split()[1]) / 1024


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4])
