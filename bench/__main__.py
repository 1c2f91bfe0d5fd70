"""`make bench`: measure, write the results beside this file and print their tables."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch

from bench import camera, looking, people, service
from bench.machine import describe
from bench.memory import peak_mb
from bench.networks import BACKBONES, weights_path
from bench.report import tables
from bench.speed import measure

_RESULTS = {
    "cpu": Path(__file__).parent / "results.json",
    "cuda": Path(__file__).parent / "results-cuda.json",
}
_MEMORY_WAYS = (("published", 1), ("block4", 1), ("block4", 8), ("image", 1), ("image", 8))


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=BACKBONES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--fused", action="store_true", help="torch.compile too; takes minutes")
    parser.add_argument(
        "--output", type=Path, help="default: the results that docs/measurements.md shows"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = {name: weights_path(name, folder) for name in arguments.backbones}
        speeds = []
        for backbone in arguments.backbones:
            # The last number of threads is that of the memory.
            for threads in arguments.threads:
                torch.set_num_threads(threads)
                sys.stderr.write(f"{backbone}: {arguments.rounds} rounds, {threads} threads\n")
                speed = measure(
                    backbone, folder, rounds=arguments.rounds, device=arguments.device,
                    fused=arguments.fused,
                )  # fmt: skip
                speeds.append(speed)
        memory = {
            backbone: {
                f"{way}@{batch}": peak_mb(path, way, batch, arguments.device)
                for way, batch in _MEMORY_WAYS
            }
            for backbone, path in paths.items()
        }
    results = {
        "command": "python -m bench " + " ".join(sys.argv[1:]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe(arguments.device),
        "rounds": arguments.rounds,
        "speed": [asdict(speed) for speed in speeds],
        "peak_memory_mb": memory,
    }
    output = arguments.output or _RESULTS[arguments.device]
    output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(tables(results))


if __name__ == "__main__":
    # `make bench ARGS=camera` measures a camera instead of the engine, and so on.
    parts: dict[str, Callable[[Sequence[str]], object]] = {
        "camera": camera.main,
        "looking": looking.main,
        "people": people.main,
        "service": service.main,
    }
    if sys.argv[1:2] == ["fleet"]:
        # It needs Ray.
        from bench import fleet

        parts["fleet"] = fleet.main
    part = parts.get(sys.argv[1]) if len(sys.argv) > 1 else None
    if part is None:
        main()
    else:
        part(sys.argv[2:])
