"""`streamgate score`: the quality of the faces in any photographs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from streamgate.cli import options

__all__ = ["command"]


@click.command("score")
@click.argument(
    "places", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE|FOLDER..."
)
@click.option("--recursive", is_flag=True, help="Read the folders below each FOLDER too.")
@click.option(
    "--aligned", is_flag=True, help="The pictures are aligned 112×112 crops, so detect nothing."
)
@options.weights
@options.group
@options.device
@click.option("--precision", default="float32", show_default=True)
@options.batch_size
@click.option(
    "--calibration", type=click.Path(path_type=Path), help="File that maps raw scores to quality."
)
@click.option(
    "--format",
    "layout",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
)
@click.option(
    "--explain",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the crop of each face with a heat map of its score into this folder.",
)
def command(
    *,
    places: tuple[Path, ...],
    recursive: bool,
    aligned: bool,
    weights: str,
    group: str,
    device: str,
    precision: str,
    batch_size: int | None,
    calibration: Path | None,
    layout: str,
    explain: Path | None,
) -> None:
    """Detect, align and score every face of the pictures; quality 0-100, higher is better.

    Exit code 1 if a picture could not be read. A picture without a face is reported, not a failure.
    """
    from streamgate.faces.finder import FaceFinder
    from streamgate.lab.photographs import LAYOUTS, score_photographs
    from streamgate.models.registry import path_of
    from streamgate.quality import Scorer

    scorer = Scorer.load(
        weights,
        group=group,
        device=device,
        precision=precision,
        batch_size=batch_size,
        calibration=calibration,
    )
    if not aligned:
        # Somebody waits at a terminal: fetched once, where it is not there.
        path_of("yunet")
    scored = score_photographs(
        places,
        scorer,
        None if aligned else FaceFinder.load(),
        tell=lambda text: click.echo(text, err=True),
        recursive=recursive,
        explain=explain,
    )
    click.echo(LAYOUTS[layout](scored.rows), nl=False)
    if scored.rows and not scorer.calibrated:
        click.echo("these weights are not calibrated: quality only ranks faces faces", err=True)
    if scored.skipped:
        click.echo(f"{scored.skipped} pictures were skipped", err=True)
        sys.exit(1)
