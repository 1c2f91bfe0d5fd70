"""What each precision costs in exactness: `python -m bench.precision --crops DIR|TAR`.

Every score is compared with float64 on the CPU. The results of a device replace those that
`precision.json` holds for it; docs/measurements.md shows the whole.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.machine import device_name
from bench.networks import weights_path
from streamgate.lab.crops import read_crops
from streamgate.quality import GROUPS, Scorer

__all__ = ["RESULTS", "table"]

RESULTS = Path(__file__).parent / "precision.json"
_BACKBONES = ("default", "iresnet50")
_PRECISIONS = {
    "cpu": ("float32", "float16", "bfloat16"),
    "cuda": ("float64", "float32", "tf32", "float16", "bfloat16"),
}


def main() -> None:
    """Measure on one device."""
    parser = argparse.ArgumentParser(prog="python -m bench.precision", description=__doc__)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--split", help="of the crops' index")
    parser.add_argument("--count", type=int, default=64, help="of crops, taken at equal steps")
    parser.add_argument("--device", choices=tuple(_PRECISIONS), default="cpu")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    crops = read_crops(arguments.crops, split=arguments.split).images
    crops = crops[np.linspace(0, len(crops) - 1, min(arguments.count, len(crops))).astype(int)]
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results[arguments.device] = {
        "device": device_name(arguments.device),
        "torch": torch.__version__,
        "crops": len(crops),
        "rows": _rows(crops, arguments.device),
    }
    arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(results))


def table(results: Mapping[str, Any]) -> str:
    """Return the results as markdown."""
    lines = [
        "| device | precision | weights | "
        + " | ".join(GROUPS)
        + " | 1 - cosine of the embedding | quality, points |",
        "|---" * (len(GROUPS) + 5) + "|",
    ]
    for device, result in results.items():
        for row in result["rows"]:
            errors = [f"{row['raw'][group]:.1e}" for group in GROUPS]
            cells = [device, f"`{row['precision']}`", row["weights"], *errors]
            points = row["quality"]
            cells += [f"{row['cosine']:.1e}", "" if points is None else f"{points:.2f}"]
            lines.append("| " + " | ".join(cells) + " |")
    where = "; ".join(
        f"{device}: {result['device']}, torch {result['torch']}, {result['crops']} faces"
        for device, result in results.items()
    )
    return "\n".join(lines) + f"\n\n{where}.\n"


def _rows(crops: NDArray[np.uint8], device: str) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for backbone in _BACKBONES:
            path = weights_path(backbone, Path(name))
            exact = Scorer.load(path, device="cpu", precision="float64")
            groups, quality = exact.score_all_groups(crops), exact.score(crops).quality
            for precision in _PRECISIONS[device]:
                scorer = Scorer.load(path, device=device, precision=precision)
                found = scorer.score_all_groups(crops)
                off = np.abs(scorer.score(crops).quality - quality)
                cosines = (found.embedding.astype(float) * groups.embedding).sum(axis=1)
                rows.append(
                    {
                        "weights": backbone,
                        "precision": precision,
                        "raw": {g: _error(found.raw[g], groups.raw[g]) for g in GROUPS},
                        "cosine": abs(float(1 - cosines.min())),
                        "quality": float(off.max()) if scorer.calibrated else None,
                    }
                )
    return rows


def _error(found: NDArray[np.float64], exact: NDArray[np.float64]) -> float:
    return float(np.max(np.abs(found - exact) / exact))


if __name__ == "__main__":
    main()
