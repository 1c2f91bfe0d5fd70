"""`streamgate calibrate`: fit the quality scale on which thresholds are set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click

from streamgate.cli import options

__all__ = ["command"]

_FILE = click.Path(path_type=Path)


@click.command("calibrate")
@click.option(
    "--images", type=_FILE, help="Folder or tar archive of aligned 112×112 crops; its index.csv "
    "is used.",
)  # fmt: skip
@click.option(
    "--split", help="Use only the crops that have this value in the column `split` of the index."
)
@click.option(
    "--identity-split",
    help="Learn how alike two people are from the crops with this value of `split` instead; best "
    "from people that the network was not trained on.",
)
@click.option(
    "--full-crops",
    is_flag=True,
    help="Use each crop a second time with its black border filled and, if it is grey, in colour.",
)
@click.option(
    "--spoiled",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of the crops to degrade as cameras do, so that the scale distinguishes poor faces.",
)
@click.option(
    "--non-faces",
    is_flag=True,
    help="Write instead what pictures without a face look like to the network; the gate then "
    "rejects what the detector took for a face.",
)
@click.option("--from-sketch", type=_FILE, help="File that a daemon writes as quality.sketch.")
@options.weights
@options.group
@options.device
@click.option(
    "--errors/--no-errors",
    default=False,
    help="Also learn which recognition error a quality stands for; needs identities.",
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
@options.recogniser("An independent recogniser (ONNX); default: the network's own embeddings.")
@click.option(
    "--source", help="A description of the faces for readers; default: the name of the set."
)
@click.option("--out", type=_FILE, help="File to write; default: beside the weights.")
def command(
    *,
    images: Path | None,
    split: str | None,
    identity_split: str | None,
    full_crops: bool,
    spoiled: float,
    non_faces: bool,
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
    """Fit quality 0-100: the percentage of a set of faces that scores worse.

    The set is a folder or archive of crops (--images), or a camera's own scores (--from-sketch).
    Where it is known who is seen, the file also says how alike faces must be to be of one person.
    The file belongs to the weights; name it in quality.calibration unless it lies beside them.
    Exit code 1 if a crop could not be read; the scale is then fitted to the others.
    """
    if (images is None) == (from_sketch is None):
        raise click.UsageError("give either --images or --from-sketch")
    if non_faces:
        if images is None or errors or labels:
            raise click.UsageError("--non-faces needs --images, and neither --errors nor --labels")
        _learn_non_faces(images, split, weights=weights, device=device, source=source, out=out)
        return
    target = _target(weights, out)
    if from_sketch is not None and (errors or labels):
        raise click.UsageError("--errors needs --images: a sketch knows no faces")
    from streamgate.lab.fitting import Judging, Reference, fit_crops, fit_sketch, save
    from streamgate.lab.recogniser import OnnxRecogniser, Preprocessing
    from streamgate.quality import Scorer

    scorer = Scorer.load(weights, group=group, device=device)
    if from_sketch is not None:
        save(fit_sketch(scorer, from_sketch, source), target, click.echo)
        return
    assert images is not None
    judging = None
    if errors:
        preprocessing = Preprocessing(
            recogniser_size, recogniser_color, recogniser_mean, recogniser_std
        )
        judge = None if recogniser is None else OnnxRecogniser(recogniser, preprocessing)
        judging = Judging(fmr, judge)
    reference = Reference(
        images, split, labels, full_crops, spoiled, source, identity_split=identity_split
    )
    skipped: list[str] = []

    def skip(text: str) -> None:
        skipped.append(text)
        click.echo(f"left out: {text}", err=True)

    fitted = fit_crops(scorer, reference, judging, skip=skip)
    save(fitted.calibration, target, click.echo)
    fitted.tell(click.echo)
    if fitted.doubt is not None:
        click.echo(f"warning: {fitted.doubt}", err=True)
    if skipped:
        click.echo(f"{len(skipped)} crops were left out", err=True)
        sys.exit(1)


def _target(weights: str, out: Path | None) -> Path:
    if out is not None:
        return out
    if weights == "default":
        raise click.UsageError(
            "give --out FILE: what lies beside the default weights belongs to the package"
        )
    from streamgate.quality.calibration import calibration_path

    return calibration_path(Path(weights))


def _learn_non_faces(
    images: Path,
    split: str | None,
    *,
    weights: str,
    device: str,
    source: str | None,
    out: Path | None,
) -> None:
    if out is None:
        _target(weights, out)
    from streamgate.lab.crops import read_crops
    from streamgate.lab.non_faces import learn_non_faces
    from streamgate.quality import Scorer
    from streamgate.quality.non_faces import non_faces_path, save_non_faces

    target = out or non_faces_path(weights)
    scorer = Scorer.load(weights, device=device, calibration=None)
    crops = read_crops(images, split=split, skip=lambda text: click.echo(f"left out: {text}"))
    centre, count = learn_non_faces(scorer, crops)
    save_non_faces(
        centre, target, weights_sha256=scorer.model_hash, count=count,
        source=source or f"pictures made without a face, some from pieces of {images.name}",
    )  # fmt: skip
    click.echo(f"wrote {target}, from {count} pictures without a face")
