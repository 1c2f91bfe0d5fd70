"""`python -m bench.quality.kinds`: a score over kinds of damage that the ladder lacks.

    python -m bench.quality.kinds --crops faces.tar --split val --recogniser judge.onnx

It compares the score with the similarity that an independent recogniser finds between each damaged
face and the other clean pictures of its person, and with its unaltered self.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.quality.judged import judge_of, parser_of
from bench.quality.probes import with_known_people
from streamgate.lab.crops import CropSet, read_crops
from streamgate.lab.evaluation.measures import separation
from streamgate.lab.evaluation.unseen_kinds import KINDS, RELATED, across_kinds, damage_all
from streamgate.lab.recogniser import OnnxRecogniser
from streamgate.quality.scorer import Scorer

__all__ = ["RESULTS", "table"]

RESULTS = Path(__file__).parent / "kinds.json"
_GROUPS = {
    "all": frozenset(KINDS),
    "without a relative in training": frozenset(KINDS) - RELATED,
    "with a relative in training": RELATED,
}


def figures(crops: CropSet, scorer: Scorer, judge: OnnxRecogniser, most: int) -> dict[str, Any]:
    """Measure on at most `most` faces of people with two pictures or more."""
    known = with_known_people(crops)
    chosen = np.sort(np.random.default_rng(0).permutation(len(known))[:most])
    images, identities = known.images[chosen], known.identities
    gallery = judge(known.images)
    same = identities[chosen][:, None] == identities[None]
    same[np.arange(len(chosen)), chosen] = False
    clean = -scorer.score(images).raw
    quality: dict[str, NDArray[np.float64]] = {}
    medians: dict[str, float] = {}
    to_mates: dict[str, NDArray[np.float64]] = {}
    to_itself: dict[str, NDArray[np.float64]] = {}
    for kind in KINDS:
        damaged = damage_all(images, kind)
        scores = scorer.score(damaged)
        quality[kind], medians[kind] = -scores.raw, float(np.median(scores.quality))
        seen = judge(damaged)
        to_mates[kind] = ((seen @ gallery.T) * same).sum(axis=1) / same.sum(axis=1)
        to_itself[kind] = (seen * gallery[chosen]).sum(axis=1)
    own = ((gallery[chosen] @ gallery.T) * same).sum(axis=1) / same.sum(axis=1)
    found: dict[str, Any] = {
        "faces": len(chosen),
        "people": len(set(identities[chosen].tolist())),
        "kinds": {
            kind: {
                "auc": separation(quality[kind], clean),
                "similarity": float(to_mates[kind].mean()),
                "quality": medians[kind],
            }
            for kind in KINDS
        },
        "clean_similarity": float(own.mean()),
    }
    for name, kinds in _GROUPS.items():
        part = {kind: quality[kind] for kind in KINDS if kind in kinds}
        for text, similarity in (("mates", to_mates), ("itself", to_itself)):
            across = across_kinds(clean, part, {kind: similarity[kind] for kind in part})
            found.setdefault("spearman", {}).setdefault(text, {})[name] = {
                "value": across.rank_correlation, "low": across.low, "high": across.high,
            }  # fmt: skip
    return found


def table(results: Mapping[str, Any]) -> str:
    """Return the table of docs/measurements.md for the results as they are in the JSON file."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{results['faces']} faces of {results['people']} people, each damaged in {len(KINDS)} "
        f"ways that the ladder lacks, judged by the recogniser {results['judge']}: similarity to "
        f"the person's other, clean pictures (unaltered faces: {results['clean_similarity']:.2f}), "
        "how often an unaltered face scores better (AUC), and the median quality."
    )
    yield ""
    yield "| damage | similarity | AUC | quality |"
    yield "|---|---|---|---|"
    kinds = results["kinds"]
    for kind in sorted(kinds, key=lambda name: -kinds[name]["similarity"]):
        found = kinds[kind]
        mark = "" if kind in RELATED else " *"
        yield (
            f"| {kind}{mark} | {found['similarity']:.2f} | {found['auc']:.3f} "
            f"| {found['quality']:.0f} |"
        )
    yield ""
    yield "\\* Nothing like it is in the training of the included network."
    yield ""
    yield (
        "Spearman's correlation of the score with that similarity, all damaged faces together "
        "(95 % interval, over faces):"
    )
    yield ""
    yield "| kinds | to other pictures of the person | to the unaltered face |"
    yield "|---|---|---|"
    spearman = results["spearman"]
    for name in _GROUPS:
        yield f"| {name} | {_text(spearman['mates'][name])} | {_text(spearman['itself'][name])} |"


def _text(found: Mapping[str, float]) -> str:
    return f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def main() -> None:
    """Measure, write the JSON and print the table."""
    parser = parser_of("bench.quality.kinds", __doc__, RESULTS)
    parser.add_argument("--most", type=int, default=400, help="faces")
    arguments = parser.parse_args()
    scorer = Scorer.load(arguments.weights)
    judge = judge_of(arguments)
    crops = read_crops(arguments.crops, split=arguments.split)
    results = {
        "command": "python -m bench.quality.kinds " + " ".join(sys.argv[1:]),
        "date": datetime.now(UTC).date().isoformat(),
        "weights_sha256": scorer.model_hash,
        "judge": arguments.recogniser.name,
        **figures(crops, scorer, judge, arguments.most),
    }
    arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(results))


if __name__ == "__main__":
    main()
