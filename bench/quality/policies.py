"""`python -m bench.quality.policies VIDEO…`: the gate's choices on recordings against other rules.

    python -m bench.quality.policies *.mkv --recogniser evaluator.onnx

It runs `streamgate replay` with every setting at its default, and keeps the figures for
docs/measurements.md. `recordings.csv` says who is seen in the project's recordings, labelled by
hand.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner

from bench.machine import describe
from streamgate.cli.replay import command

__all__ = ["RESULTS", "table"]

_OPTIONS = {"color": "rgb", "mean": 0.0, "std": 1.0}
_LABELS = Path(__file__).parent / "recordings.csv"
RESULTS = Path(__file__).parent / "policies.json"
_COLUMNS = (
    "tracks", "missed", "needless", "forwarded_per_track", "regret_quality_mean",
    "regret_quality_p95", "regret_similarity_track", "emitted_after_median_s",
    "emitted_after_p95_s", "share_scored",
)  # fmt: skip


def table(results: Mapping[str, Any]) -> str:
    """Return the table of docs/measurements.md for the results as they are in the JSON file."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{results['videos']} recordings of {results['seconds']:.0f} s in all, with "
        f"{results['faces']:,} faces that pass the prechecks and "
        f"{results['policies']['gate']['tracks']} tracks that count. Similarity is measured by the "
        f"recogniser {results['judge']}. Reading the recordings and scoring every face took "
        f"{results['took_s'] / results['seconds']:.1f} times as long as they play."
    )
    yield ""
    yield (
        "| rule | regret | 95th percentile | loss of similarity | missed | needless "
        "| faces per track | released after | faces scored |"
    )
    yield "|---" * 9 + "|"
    for name, of in results["policies"].items():
        yield (
            f"| {name} | {of['regret_quality_mean']:.2f} | {of['regret_quality_p95']:.2f} "
            f"| {of['regret_similarity_track']:.4f} | {of['missed']} | {of['needless']} "
            f"| {of['forwarded_per_track']:.2f} | {of['emitted_after_median_s']:.1f} s "
            f"| {of['share_scored']:.0%} |"
        )
    yield ""
    budgets = [f"{p['share_scored']:.0%}: {p['regret_quality_mean']:.2f}" for p in results["trade"]]
    yield (
        f"The gate's regret, in points, for different shares of faces scored: {', '.join(budgets)}."
    )
    if results.get("people"):
        yield from _by_people(results["people"])


def _by_people(people: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    gate = people["gate"]
    yield ""
    yield (
        f"By people: {gate['names']} people, {gate['people']} of them in a recording in which one "
        f"of their faces is good enough. Purity of tracks {gate['purity']:.4f}; {gate['tracks']} "
        f"tracks, {gate['false_joins']} with two people, {gate['false_splits']} more than people "
        "have. In brackets, 95 % intervals over people."
    )
    yield ""
    yield "| rule | missed | surplus | regret | loss of similarity |"
    yield "|---" * 5 + "|"
    for name, of in people.items():
        regret, loss = of["regret_quality"], of["loss_similarity"]
        yield (
            f"| {name} | {of['missed']} | {of['surplus']} "
            f"| {regret['value']:.1f} [{regret['low']:.1f}, {regret['high']:.1f}] "
            f"| {loss['value']:.3f} [{loss['low']:.3f}, {loss['high']:.3f}] |"
        )


def _replay(videos: Sequence[Path], options: Mapping[str, object]) -> tuple[float, dict[str, Any]]:
    """Return how long reading and scoring took, seconds, and the report."""
    with tempfile.TemporaryDirectory() as folder:
        words = [str(word) for pair in options.items() for word in pair]
        done = CliRunner().invoke(
            command, [*map(str, videos), *words, "--out", folder], catch_exceptions=False
        )
        told = re.search(r"read and scored in ([\d.]+) s", done.output)
        if done.exit_code != 0 or told is None:
            sys.exit(done.output)
        report = json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
    return float(told[1]), report


def main() -> None:
    """Replay, write the JSON and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality.policies", description=__doc__)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--recogniser", type=Path, required=True, help="ONNX file of the judge")
    parser.add_argument("--identities", type=Path, default=_LABELS, help="who is seen")
    parser.add_argument("--color", choices=["rgb", "bgr"])
    parser.add_argument("--mean", type=float)
    parser.add_argument("--std", type=float)
    parser.set_defaults(**_OPTIONS)
    arguments = parser.parse_args()
    judge = {
        "--recogniser": arguments.recogniser, "--recogniser-color": arguments.color,
        "--recogniser-mean": arguments.mean, "--recogniser-std": arguments.std,
    }  # fmt: skip
    # The judge costs time that a replay without one does not.
    took_s, _ = _replay(arguments.videos, {})
    _, report = _replay(arguments.videos, {**judge, "--identities": arguments.identities})
    videos = report["videos"]
    results = {
        "command": " ".join(
            [
                "python -m bench.quality.policies VIDEO… --recogniser",
                arguments.recogniser.name,
                *(
                    f"--{name} {given}"
                    for name, given in vars(arguments).items()
                    if name in _OPTIONS and given != _OPTIONS[name]
                ),
            ]
        ),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe("cuda" if torch.cuda.is_available() else "cpu"),
        "weights_sha256": report["model_hash"],
        "judge": report["recogniser"],
        "files": [video["file"] for video in videos],
        "videos": len(videos),
        "seconds": sum(video["seconds"] for video in videos),
        "faces": sum(video["faces"] for video in videos),
        "took_s": took_s,
        "policies": {
            evaluation["policy"]: {name: evaluation[name] for name in _COLUMNS}
            for evaluation in report["policies"]
        },
        "trade": report["trade"],
        "people": {one["policy"]: one for one in report["people"]},
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(results))


if __name__ == "__main__":
    main()
