"""`python -m bench.quality`: judge weights on held-out crops and write the figures.

    python -m bench.quality --crops faces.tar --split val --recogniser judge.onnx

The crops need an index.csv with identities; the recogniser must have had no part in making the
weights, or it would praise its own taste.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.quality.figures import (
    discard_figures,
    non_face_figures,
    recognition_figures,
    separation_figures,
)
from bench.quality.judged import judge_of, parser_of
from bench.quality.report import tables
from streamgate.lab.crops import read_crops
from streamgate.quality.scorer import Scorer

_PARTS = ("recognition", "discard", "separation", "non_faces")
_RESULTS = Path(__file__).parent / "results.json"


def _kept(path: Path, setup: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return earlier results, which must have been made with the same setup."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    other = [name for name, value in setup.items() if kept[name] != value]
    if other:
        sys.exit(f"{path}: made with another {', '.join(other)}; measure every part")
    return dict(kept)


def _merged(new: Mapping[str, Any], kept: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the discard's results, with the methods that were not measured anew."""
    if kept is None:
        return new
    if any(kept[name] != new[name] for name in ("probes", "draws", "discards")):
        sys.exit("the kept methods were measured with other probes or draws; measure all")
    methods = {**kept["methods"], **new["methods"]}
    ranked = sorted(methods.items(), key=lambda item: item[1]["partial_area_30"])
    return {**kept, "methods": dict(ranked)}


def main() -> None:
    """Measure, write the JSON and print the tables of docs/measurements.md."""
    parser = parser_of("bench.quality", __doc__, _RESULTS)
    parser.add_argument(
        "--part", choices=_PARTS, action="append",
        help="measure this part only, and keep the others of the same weights, crops and judge",
    )  # fmt: skip
    parser.add_argument(
        "--method", action="append", help="measure only this one of the discard's methods anew"
    )
    parser.add_argument("--draws", type=int, default=3, help="draws of the degraded probes")
    arguments = parser.parse_args()
    crops = read_crops(arguments.crops, split=arguments.split)
    scorer = Scorer.load(arguments.weights, calibration=None)
    judge = judge_of(arguments)
    weights = arguments.weights
    measures: Mapping[str, Callable[[], Any]] = {
        "recognition": lambda: recognition_figures(crops, scorer),
        "discard": lambda: _merged(
            discard_figures(
                crops, judge, weights, range(arguments.draws), frozenset(arguments.method or ())
            ),
            kept.get("discard") if arguments.method else None,
        ),
        "separation": lambda: separation_figures(crops, scorer),
        "non_faces": lambda: non_face_figures(crops, scorer, weights),
    }
    if arguments.method:
        arguments.part = ["discard"]
    setup = {
        "weights_sha256": scorer.model_hash,
        "judge": {"name": arguments.recogniser.name, "sha256": judge.sha256},
        "crops": len(crops),
    }
    kept = _kept(arguments.output, setup) if arguments.part else {}
    results = {
        "command": kept.get("command", "python -m bench.quality " + " ".join(sys.argv[1:])),
        "date": datetime.now(UTC).date().isoformat(),
        **setup,
        **{
            name: kept[name] if name in kept and name not in arguments.part else measure()
            for name, measure in measures.items()
        },
    }
    arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(tables(results))


if __name__ == "__main__":
    main()
