"""The quality of every face in photographs, as rows for people and programs."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from streamgate.faces.finder import FaceFinder, FoundFace
from streamgate.lab.pictures import SUFFIXES, Picture, PictureReader, find, shown, watched
from streamgate.quality import Scorer
from streamgate.quality.layout import INPUT_SIZE
from streamgate.values import Image

__all__ = ["LAYOUTS", "FaceRow", "PhotographScores", "score_photographs"]


@dataclass(frozen=True, slots=True)
class FaceRow:
    """What is reported about a face.

    Attributes:
        path: of its picture, bytes that are not UTF-8 escaped.
        face: its number in the picture, from 1.
        quality: 0-100.
        raw: GraFIQs, lower is better.
        box: x1, y1, x2, y2 in pixels; None for a crop.
        detector_score: 0-1; None for a crop.
        rejection: the precheck for which the gate would not score it, if any.
    """

    path: str
    face: int
    quality: float
    raw: float
    box: tuple[float, ...] | None
    detector_score: float | None
    rejection: str | None


@dataclass(frozen=True, slots=True)
class PhotographScores:
    """Rows of all faces, and how many pictures could not be read."""

    rows: Sequence[FaceRow]
    skipped: int


@dataclass(frozen=True, slots=True, eq=False)
class _Numbered:
    """A crop, and what is known of where it was found."""

    path: Path
    number: int
    crop: Image
    found: FoundFace | None


def score_photographs(  # noqa: PLR0913 # one name per choice of the command
    places: Sequence[Path],
    scorer: Scorer,
    finder: FaceFinder | None,
    *,
    tell: Callable[[str], None],
    recursive: bool = False,
    explain: Path | None = None,
) -> PhotographScores:
    """Score every face of the pictures in `places`.

    Args:
        places: files, and folders whose pictures are read.
        scorer: scores the crops.
        finder: finds the faces; None where the pictures are aligned crops already.
        tell: called with each picture that is skipped or shows no face.
        recursive: read the folders below too.
        explain: folder for each face's crop under a heat map of its score.

    Raises:
        StreamgateError: there are no pictures, or a model failed.
    """
    paths = find(places, suffixes=SUFFIXES, recursive=recursive)
    reader = PictureReader(tell)
    pictures = reader.read(watched(paths, "scoring"))
    faces = _aligned(pictures, tell) if finder is None else _found(pictures, finder, tell)
    rows: list[FaceRow] = []
    while batch := list(islice(faces, scorer.batch_size)):
        rows += _score(scorer, batch)
        if explain is not None:
            _explain(scorer, batch, explain)
    return PhotographScores(rows, reader.skipped)


def _aligned(pictures: Iterable[Picture], tell: Callable[[str], None]) -> Iterator[_Numbered]:
    for picture in pictures:
        if picture.image.shape == (INPUT_SIZE, INPUT_SIZE, 3):
            yield _Numbered(picture.path, 1, picture.image, None)
        else:
            height, width = picture.image.shape[:2]
            tell(f"{shown(picture.path)}: {width}×{height}, not a 112×112 crop")


def _found(
    pictures: Iterable[Picture], finder: FaceFinder, tell: Callable[[str], None]
) -> Iterator[_Numbered]:
    for picture in pictures:
        faces = finder.find(picture.image)
        for number, face in enumerate(faces, start=1):
            yield _Numbered(picture.path, number, face.crop, face)
        if not faces:
            tell(f"{shown(picture.path)}: no face found")


def _score(scorer: Scorer, batch: list[_Numbered]) -> list[FaceRow]:
    scores = scorer.score(np.stack([face.crop for face in batch]))
    return [
        _row(face, float(quality), float(raw))
        for face, quality, raw in zip(batch, scores.quality, scores.raw, strict=True)
    ]


def _row(numbered: _Numbered, quality: float, raw: float) -> FaceRow:
    found = numbered.found
    return FaceRow(
        path=shown(numbered.path),
        face=numbered.number,
        quality=round(quality, 2),
        raw=raw,
        box=None if found is None else tuple(found.face.box.round(1).tolist()),
        detector_score=None if found is None else round(found.face.detector_score, 3),
        rejection=None if found is None else found.rejection,
    )


def _explain(scorer: Scorer, batch: list[_Numbered], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for face in batch:
        overlay = scorer.explain(face.crop).overlay
        # Pictures of the same name from different folders must not overwrite each other.
        name = "_".join(part for part in face.path.with_suffix("").parts if part.strip("./"))
        encoded = cv2.imencode(".png", cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))[1]
        (folder / f"{name}-{face.number}.png").write_bytes(encoded.tobytes())


def _as_table(rows: Sequence[FaceRow]) -> str:
    table = Table("picture", "face", "quality", "raw", "box", "precheck")
    for row in rows:
        box = "" if row.box is None else " ".join(f"{value:.0f}" for value in row.box)
        precheck = row.rejection or ("" if row.box is None else "fit")
        table.add_row(
            row.path, str(row.face), f"{row.quality:.1f}", f"{row.raw:.5f}", box, precheck
        )
    text = io.StringIO()
    width = None if sys.stdout.isatty() else 160
    Console(file=text, width=width, markup=False).print(table)
    return text.getvalue()


def _as_csv(rows: Sequence[FaceRow]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["path", "face", "quality", "raw", "x1", "y1", "x2", "y2", "detector_score", "rejection"]
    )
    for row in rows:
        box = row.box or ("", "", "", "")
        score = "" if row.detector_score is None else row.detector_score
        writer.writerow(
            [row.path, row.face, row.quality, row.raw, *box, score, row.rejection or ""]
        )
    return text.getvalue()


def _as_json(rows: Sequence[FaceRow]) -> str:
    return json.dumps([asdict(row) for row in rows], indent=1) + "\n"


LAYOUTS = {"table": _as_table, "csv": _as_csv, "json": _as_json}
"""How rows are written, by name."""
