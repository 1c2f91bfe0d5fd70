"""`python -m bench people --crops TAR`: what the gate makes of people whose identity is known.

The scenes are drawn (`streamgate.lab.scenes`), with people whom the network has not seen in
training and who had no part in choosing the gate's thresholds: those of a split of the crops' index
who have few photographs. One clear photograph shows each.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import describe
from streamgate import Scorer
from streamgate.config import CameraConfig
from streamgate.faces.detect import YuNetDetector
from streamgate.lab.crops import CropSet, read_crops
from streamgate.lab.evaluation.identification import bootstrap
from streamgate.lab.scenes.evaluation import PeopleFigures
from streamgate.lab.scenes.looks import Person, crop_look
from streamgate.lab.scenes.runner import run_scene
from streamgate.lab.scenes.scene import Scene
from streamgate.lab.scenes.script import Script, crossing_script
from streamgate.lab.scenes.scripts import mingling_script, poster_script, walking_up_script
from streamgate.models.registry import path_of

__all__ = ["RESULTS", "main", "table"]

RESULTS = Path(__file__).parent / "people.json"
_MOST_PHOTOGRAPHS = 3
_CLEAR_QUALITY = 50.0
_SURE = 0.95
"""Where nobody of n people is missed, the true rate is below 1 - (1 - 0.95)^(1/n)."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of scene: how it is drawn, for how many people, at which rates and threshold."""

    name: str
    script: Callable[[int], Script]
    people: int
    rates: tuple[float, ...]
    gate: Mapping[str, object]
    share: int = 1


_KINDS = (
    _Kind("crossing", lambda seed: crossing_script(seed, seconds=26.0), 9, (25.0, 12.5, 5.0), {}),
    _Kind("mingling", lambda seed: mingling_script(seed, seconds=26.0), 9, (25.0, 12.5, 5.0), {}),
    _Kind("walking up", walking_up_script, 7, (25.0, 12.5, 5.0), {"min_quality": 20}, share=2),
    _Kind("poster", poster_script, 11, (2.0,), {}, share=4),
)


def main(argv: Sequence[str]) -> None:
    """Run the gate over all scenes, write the JSON and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench people", description=__doc__)
    parser.add_argument("--crops", type=Path, required=True)
    parser.add_argument("--split", default="val", help="of the crops' index")
    parser.add_argument("--scenes", type=int, default=8, help="of people who cross, and who mingle")
    parser.add_argument("--seed", type=int, default=500)
    parser.add_argument("--kind", choices=[kind.name for kind in _KINDS], action="append")
    parser.add_argument("--rate", type=float, action="append", help="of pictures; default: all")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args(argv)
    scorer = Scorer.load(threads=1)
    cast = _cast(read_crops(arguments.crops, split=arguments.split), scorer)
    sys.stderr.write(f"{len(cast)} people\n")
    # What is left out now is kept from before, if it was measured with the same number of scenes.
    partly = arguments.kind or arguments.rate
    rows = _read_rows(arguments.output, arguments.scenes) if partly else {}
    for kind in _KINDS:
        if arguments.kind and kind.name not in arguments.kind:
            continue
        scenes = max(1, arguments.scenes // kind.share)
        seeds = range(arguments.seed, arguments.seed + scenes)
        for rate in kind.rates:
            if arguments.rate and rate not in arguments.rate:
                continue
            figures = _run(kind, rate, seeds, cast, scorer)
            rows[f"{kind.name} {rate:g}"] = {
                "kind": kind.name, "rate": rate, "scenes": scenes, **_row(figures)
            }  # fmt: skip
            sys.stderr.write(f"{kind.name}, {rate:g} a second: {figures}\n")
    results = {
        "command": f"python -m bench people --crops {arguments.crops.name} "
        f"--scenes {arguments.scenes}",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe("cpu"),
        "weights_sha256": scorer.model_hash,
        "identity": None if scorer.identity is None else asdict(scorer.identity),
        "cast": len(cast),
        "asked": arguments.scenes,
        "rows": {name: rows[name] for name in _names() if name in rows},
    }
    arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(results))


def table(results: Mapping[str, Any]) -> str:
    """Return the table of docs/measurements.md for the results as they are in the JSON file."""
    return "\n".join(_lines(results)) + "\n"


def _lines(results: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "| scenes | pictures a second | people | missed | surplus shots [95 % interval] "
        "| purity of visits | visits | false joins | false splits |"
    )
    yield "|---" * 9 + "|"
    for row in results["rows"].values():
        low, high = row["surplus_interval"]
        yield (
            f"| {row['scenes']} × {row['kind']} | {row['rate']:g} | {row['people']} "
            f"| {row['missed']} | {row['surplus']}: {row['surplus'] / row['people']:.1%} "
            f"[{low:.1%}, {high:.1%}] "
            f"| {row['purity']:.4f} | {row['visits']} | {row['false_joins']} "
            f"| {row['false_splits']} |"
        )
    yield ""
    people = max(row["people"] for row in results["rows"].values())
    bound = 1 - (1 - _SURE) ** (1 / max(1, people))
    yield (
        f"Intervals are bootstrapped over people. Even with {people} people, none missed only "
        f"shows that fewer than {bound:.1%} are (95 % sure); a row of fewer says less."
    )


def _cast(crops: CropSet, scorer: Scorer) -> list[Person]:
    """The people of few photographs, each with the first clear one."""
    counts = Counter(crops.columns["identity"])
    chosen = [
        index
        for index, name in enumerate(crops.columns["identity"])
        if name and counts[name] <= _MOST_PHOTOGRAPHS
    ]
    quality = scorer.score(crops.images[chosen]).quality
    people: dict[str, Person] = {}
    for index, clear in zip(chosen, quality >= _CLEAR_QUALITY, strict=True):
        name = crops.columns["identity"][index]
        if clear and name not in people:
            people[name] = Person(name, (crop_look(crops.images[index], name),))
    return [people[name] for name in sorted(people)]


def _run(
    kind: _Kind, rate: float, seeds: range, cast: Sequence[Person], scorer: Scorer
) -> PeopleFigures:
    config = CameraConfig.model_validate(
        {
            "camera": {"name": "scene"},
            "source": {"kind": "file", "path": "none.mkv"},
            "gate": dict(kind.gate),
        }
    )
    detector = YuNetDetector(config.detector, path_of("yunet"))
    order = np.random.default_rng(seeds.start).permutation(len(cast))
    figures = PeopleFigures()
    for number, seed in enumerate(seeds):
        places = [(number * kind.people + place) % len(cast) for place in range(kind.people)]
        people = [cast[order[place]] for place in places]
        scene = Scene(kind.script(seed), people, seed=seed)
        figures += run_scene(scene, rate, config, detector, scorer)
    return figures


def _row(figures: PeopleFigures) -> dict[str, Any]:
    shots = np.array(figures.shots)
    interval = bootstrap(
        list(range(len(shots))), lambda rows: float(np.maximum(shots[rows] - 1, 0).mean())
    )
    counts = {name: value for name, value in asdict(figures).items() if name != "shots"}
    return {
        **counts,
        "purity": figures.purity,
        "surplus_interval": [interval.low, interval.high],
    }


def _names() -> list[str]:
    return [f"{kind.name} {rate:g}" for kind in _KINDS for rate in kind.rates]


def _read_rows(path: Path, scenes: int) -> dict[str, Any]:
    if not path.exists():
        return {}
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    rows: dict[str, Any] = results["rows"]
    return rows if results["asked"] == scenes else {}
