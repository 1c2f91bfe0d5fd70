"""`streamgate score`: the quality of the faces in any photographs."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import click
import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from streamgate.cli.pictures import SUFFIXES, Picture, find, read, watched
from streamgate.config import DetectorSection
from streamgate.faces.align import align, similarity_to_template
from streamgate.faces.detect import YuNetDetector
from streamgate.models.registry import path_of
from streamgate.quality import GROUPS, Scorer
from streamgate.quality.layout import INPUT_SIZE
from streamgate.values import Face, Image

__all__ = ["command"]


@click.command("score")
@click.argument(
    "places", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE|FOLDER..."
)
@click.option("--recursive", is_flag=True, help="Read the folders below each FOLDER too.")
@click.option("--aligned", is_flag=True, help="The pictures are 112×112 crops: detect nothing.")
@click.option("--weights", default="default", show_default=True, help="default, or a file.")
@click.option(
    "--group",
    type=click.Choice([str(group) for group in GROUPS]),
    default="block4",
    show_default=True,
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda:N.")
@click.option("--precision", default="float32", show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), help="Faces scored at once.")
@click.option("--calibration", type=click.Path(path_type=Path), help="Map from raw to quality.")
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
    help="Write into this folder, for each face, its crop under a heat map of the score.",
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

    Exit code 1 when a picture could not be read; one without a face is reported and is no failure.
    """
    scorer = Scorer.load(
        weights,
        group=group,
        device=device,
        precision=precision,
        batch_size=batch_size,
        calibration=calibration,
    )
    paths = find(places, suffixes=SUFFIXES, recursive=recursive)
    unreadable = 0

    def readable() -> Iterator[Picture]:
        nonlocal unreadable
        for picture in watched(read(paths), len(paths), "scoring"):
            unreadable += picture.image is None
            if picture.image is not None:
                yield picture

    faces = _aligned(readable()) if aligned else _detected(readable())
    rows: list[_Row] = []
    while batch := list(islice(faces, scorer.batch_size)):
        rows += _score(scorer, batch)
        if explain is not None:
            _explain(scorer, batch, explain)
    click.echo(_LAYOUTS[layout](rows), nl=False)
    if rows and not scorer.calibrated:
        click.echo("these weights are not calibrated: quality only ranks", err=True)
    if unreadable:
        sys.exit(1)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A face of a picture, aligned."""

    path: Path
    number: int
    face: Face | None
    crop: Image


@dataclass(frozen=True, slots=True)
class _Row:
    """What is printed of a face."""

    path: str
    face: int
    quality: float
    raw: float
    box: tuple[float, ...] | None
    detector_score: float | None


def _aligned(pictures: Iterable[Picture]) -> Iterator[_Found]:
    for picture in pictures:
        assert picture.image is not None
        if picture.image.shape == (INPUT_SIZE, INPUT_SIZE, 3):
            yield _Found(picture.path, 1, None, picture.image)
        else:
            height, width = picture.image.shape[:2]
            click.echo(f"{picture.path}: {width}×{height}, not a 112×112 crop", err=True)


def _detected(pictures: Iterable[Picture]) -> Iterator[_Found]:
    detector = YuNetDetector(DetectorSection(), path_of("yunet"))
    for picture in pictures:
        assert picture.image is not None
        number = 0
        for face in detector.detect(picture.image):
            similarity = similarity_to_template(face.landmarks)
            if similarity is not None:
                number += 1
                crop = align(picture.image, similarity).image
                yield _Found(picture.path, number, face, crop)
        if not number:
            click.echo(f"{picture.path}: no face found", err=True)


def _score(scorer: Scorer, batch: list[_Found]) -> list[_Row]:
    scores = scorer.score(np.stack([found.crop for found in batch]))
    return [
        _Row(
            path=str(found.path),
            face=found.number,
            quality=round(float(quality), 2),
            raw=float(raw),
            box=None if found.face is None else tuple(found.face.box.round(1).tolist()),
            detector_score=None if found.face is None else round(found.face.detector_score, 3),
        )
        for found, quality, raw in zip(batch, scores.quality, scores.raw, strict=True)
    ]


def _explain(scorer: Scorer, batch: list[_Found], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for found in batch:
        overlay = scorer.explain(found.crop).overlay
        # Pictures of the same name from different folders must not overwrite each other.
        name = "_".join(part for part in found.path.with_suffix("").parts if part.strip("./"))
        encoded = cv2.imencode(".png", cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))[1]
        (folder / f"{name}-{found.number}.png").write_bytes(encoded.tobytes())


def _as_table(rows: list[_Row]) -> str:
    table = Table("picture", "face", "quality", "raw", "box")
    for row in rows:
        box = "" if row.box is None else " ".join(f"{value:.0f}" for value in row.box)
        table.add_row(row.path, str(row.face), f"{row.quality:.1f}", f"{row.raw:.5f}", box)
    text = io.StringIO()
    width = None if sys.stdout.isatty() else 160
    Console(file=text, width=width).print(table)
    return text.getvalue()


def _as_csv(rows: list[_Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "face", "quality", "raw", "x1", "y1", "x2", "y2", "detector_score"])
    for row in rows:
        box = row.box or ("", "", "", "")
        score = "" if row.detector_score is None else row.detector_score
        writer.writerow([row.path, row.face, row.quality, row.raw, *box, score])
    return text.getvalue()


def _as_json(rows: list[_Row]) -> str:
    return json.dumps([asdict(row) for row in rows], indent=1) + "\n"


_LAYOUTS = {"table": _as_table, "csv": _as_csv, "json": _as_json}
