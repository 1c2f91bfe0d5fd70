"""`streamgate calibrate`: a scale that people can set thresholds on."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Literal

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from streamgate.errors import DataError, ModelError
from streamgate.lab.calibrate import fit_errors, realised_discards
from streamgate.lab.crops import CropSet, read_crops
from streamgate.lab.distill.augment import augment_some
from streamgate.lab.distill.border_augment import with_full_crops
from streamgate.lab.recogniser import OnnxRecogniser, Preprocessing
from streamgate.quality import GROUPS, Calibration, Scorer, fit_percentile
from streamgate.quality.calibration import calibration_path
from streamgate.quality.score_sketch import ScoreSketch
from streamgate.quality.weights import DEFAULT_WEIGHTS
from streamgate.values import Scores

__all__ = ["command"]

_FILE = click.Path(path_type=Path)
_BATCHES = 8
_SEED = 3


@click.command("calibrate")
@click.option(
    "--images", type=_FILE, help="Folder or tar archive of aligned 112×112 crops; its index.csv "
    "is used.",
)  # fmt: skip
@click.option("--split", help="Take only the crops with this `split` of the index.")
@click.option(
    "--full-crops",
    is_flag=True,
    help="Take each crop once more with its black border filled and, where it is grey, in colour.",
)
@click.option(
    "--spoiled",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of the crops to spoil as cameras do, so that the scale tells poor faces apart.",
)
@click.option("--from-sketch", type=_FILE, help="File that a daemon keeps as quality.sketch.")
@click.option("--weights", default=DEFAULT_WEIGHTS, show_default=True, help="default, or a file.")
@click.option(
    "--group",
    type=click.Choice([str(group) for group in GROUPS]),
    default="block4",
    show_default=True,
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda:N.")
@click.option(
    "--errors/--no-errors",
    default=False,
    help="Also learn the recognition error that a quality stands for; needs identities.",
)
@click.option(
    "--labels", type=_FILE, help="CSV with the columns file and identity, instead of the index."
)
@click.option(
    "--fmr",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=1e-3,
    show_default=True,
    help="False match rate that the recogniser's threshold is set for.",
)
@click.option("--recogniser", type=_FILE, help="An independent recogniser (ONNX); default: own.")
@click.option("--recogniser-size", type=int, default=112, show_default=True)
@click.option(
    "--recogniser-color", type=click.Choice(["rgb", "bgr"]), default="rgb", show_default=True
)
@click.option("--recogniser-mean", type=float, default=127.5, show_default=True)
@click.option("--recogniser-std", type=float, default=127.5, show_default=True)
@click.option("--source", help="What the faces are, for people; default: the name of the set.")
@click.option("--out", type=_FILE, help="File to write; default: beside the weights.")
def command(
    *,
    images: Path | None,
    split: str | None,
    full_crops: bool,
    spoiled: float,
    from_sketch: Path | None,
    weights: str,
    group: str,
    device: str,
    errors: bool,
    labels: Path | None,
    fmr: float,
    recogniser: Path | None,
    recogniser_size: int,
    recogniser_color: Literal["rgb", "bgr"],
    recogniser_mean: float,
    recogniser_std: float,
    source: str | None,
    out: Path | None,
) -> None:
    """Fit quality 0-100, the percentage of a set of faces that scores worse.

    The set is a folder or archive of crops, or what a camera has seen: --images or --from-sketch.
    The file belongs to the weights; name it in quality.calibration unless it lies beside them.
    """
    if (images is None) == (from_sketch is None):
        raise click.UsageError("give either --images or --from-sketch")
    target = _target(weights, out)
    scorer = Scorer.load(weights, group=group, device=device)
    if from_sketch is not None:
        if errors or labels:
            raise click.UsageError("--errors needs --images: a sketch knows no faces")
        calibration = _from_sketch(from_sketch, scorer, source)
        _save(calibration, target)
        return
    assert images is not None
    crops = _labelled(read_crops(images, split=split), labels)
    if full_crops:
        crops = with_full_crops(crops)
    if spoiled:
        crops = replace(crops, images=augment_some(crops.images, spoiled, _SEED))
    scores = _score(scorer, crops)
    calibration = fit_percentile(
        scores.raw, weights_sha256=scorer.model_hash, group=group, source=source or crops.source
    )
    if errors:
        embeddings, judge = scores.embedding, "own embedding"
        if recogniser is not None:
            preprocessing = Preprocessing(
                recogniser_size, recogniser_color, recogniser_mean, recogniser_std
            )
            embeddings = OnnxRecogniser(recogniser, preprocessing)(crops.images)
            judge = recogniser.name
        quality = calibration(scores.raw)
        calibration = calibration.with_errors(
            fit_errors(quality, embeddings, crops.identities, fmr=fmr, recogniser=judge)
        )
    _save(calibration, target)
    _tell(calibration, crops, scores.raw)


def _target(weights: str, out: Path | None) -> Path:
    if out is not None:
        return out
    if weights == DEFAULT_WEIGHTS:
        raise click.UsageError(
            "give --out FILE: what lies beside the default weights belongs to the package"
        )
    return calibration_path(Path(weights))


def _from_sketch(path: Path, scorer: Scorer, source: str | None) -> Calibration:
    sketch = ScoreSketch.load(path)
    if (sketch.weights_sha256, sketch.group) != (scorer.model_hash, str(scorer.group)):
        raise ModelError(
            f"{path}: scores of weights {sketch.weights_sha256[:12]}… and group {sketch.group}, "
            f"but these are {scorer.model_hash[:12]}… and {scorer.group}; give --weights and "
            "--group of the daemon that kept it"
        )
    return sketch.calibration(source or f"live traffic, {path.name}")


def _labelled(crops: CropSet, labels: Path | None) -> CropSet:
    if labels is None:
        return crops
    try:
        with labels.open(encoding="utf-8-sig", newline="") as file:
            known = {row["file"]: row["identity"] for row in csv.DictReader(file)}
    except OSError as error:
        raise DataError(f"{labels}: cannot be read: {error.strerror}") from None
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{labels}: expected a CSV with the columns file and identity ({error!r})"
        ) from None
    identities = tuple(known.get(name) or "" for name in crops.names)
    if not any(identities):
        raise DataError(f"{labels}: names none of the files of {crops.source}")
    return CropSet(
        crops.images, crops.names, {**crops.columns, "identity": identities}, crops.source
    )


def _score(scorer: Scorer, crops: CropSet) -> Scores:
    size = _BATCHES * scorer.batch_size
    parts = [
        scorer.score(crops.images[start : start + size])
        for start in track(
            range(0, len(crops), size), "scoring", console=Console(stderr=True), transient=True
        )
    ]
    return Scores(
        raw=np.concatenate([part.raw for part in parts]),
        quality=np.concatenate([part.quality for part in parts]),
        embedding=np.concatenate([part.embedding for part in parts]),
    )


def _save(calibration: Calibration, target: Path) -> None:
    try:
        calibration.save(target)
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error.strerror}; give --out") from None
    click.echo(
        f"{target}: group {calibration.group}, {calibration.count} faces of {calibration.source}"
    )


def _tell(calibration: Calibration, crops: CropSet, raw: NDArray[np.float64]) -> None:
    try:
        held_out = realised_discards(crops, raw)
    except (DataError, ModelError):
        click.echo("too few people: what a threshold discards of others was not measured")
    else:
        shares = ", ".join(f"{h.setting:.0f} % → {h.realised:.1f} %" for h in held_out)
        click.echo(f"fitted on one half of the people, discarded of the other: {shares}")
    if calibration.errors is not None:
        curve = calibration.errors
        for target in (0.2, 0.1, 0.05, 0.02, 0.01):
            quality = curve.quality_for(target)
            bar = "not reached" if quality is None else f"quality {quality:.1f}"
            click.echo(f"target_fnmr {target:g} at FMR {curve.fmr:g}: {bar}")
