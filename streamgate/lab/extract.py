"""Score files in the published format: a line "path score" for every picture of a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from streamgate.lab.pictures import Picture, PictureReader, watched
from streamgate.lab.resize import resized
from streamgate.models.registry import MODELS
from streamgate.quality import Group, GroupScores, Scorer

__all__ = ["Color", "Extracted", "PathNames", "color_for", "extract"]

Color = Literal["rgb", "bgr"]


@dataclass(frozen=True, slots=True)
class PathNames:
    """How paths are called in the score files.

    Attributes:
        replaced: part of each path that is replaced; nothing where it is None or empty.
        replacement: what stands there instead.
    """

    replaced: str | None = None
    replacement: str = ""

    def of(self, path: Path) -> str:
        """The path, with what is to be replaced replaced wherever it stands, as published."""
        return str(path).replace(self.replaced, self.replacement) if self.replaced else str(path)


@dataclass(frozen=True, slots=True)
class Extracted:
    """How many pictures were scored and skipped."""

    scored: int
    skipped: int


def color_for(scorer: Scorer, asked: Color | None, tell: Callable[[str], None]) -> Color:
    """Return the order of colours that the network is shown.

    The published scores were taken of pictures as OpenCV reads them, blue first, which is right for
    networks that were trained so. The default weights were trained on RGB, and blue for red moves
    their scores by up to a tenth, without a sign of it in any number.

    Args:
        asked: what the user has said, if anything.
        tell: told where a guess or a doubt should be known.
    """
    wants_rgb = scorer.model_hash == MODELS["default"].sha256
    if asked is None:
        if wants_rgb:
            tell("the default weights want RGB and are shown RGB")
            return "rgb"
        tell("these weights are shown BGR, as published; --color rgb where they want RGB")
        return "bgr"
    if wants_rgb and asked == "bgr":
        tell("warning: the default weights want RGB; shown BGR, their scores mean little")
    return asked


def extract(  # noqa: PLR0913 # one name per choice of the command
    paths: Sequence[Path],
    scorer: Scorer,
    groups: Sequence[Group],
    out: Path,
    *,
    color: Color,
    tell: Callable[[str], None],
    names: PathNames | None = None,
    embeddings: Path | None = None,
) -> Extracted:
    """Write `GraFIQs_<group>.txt` for each group into the folder `out`; lower is better.

    Names of files that are no UTF-8 are written byte by byte as they are.

    Args:
        paths: of the pictures, of any size.
        scorer: scores them.
        groups: which scores.
        out: made where it does not exist.
        color: the order of colours that the network is shown.
        tell: called with each picture that is skipped, and why.
        names: how paths are called in the files.
        embeddings: also write `paths` and `embeddings` into this .npz file.

    Raises:
        StreamgateError: the device failed.
    """
    names = names or PathNames()
    reader = PictureReader(tell)
    scored = 0
    collected: list[NDArray[np.float32]] = []
    written: list[str] = []
    with ExitStack() as stack:
        out.mkdir(parents=True, exist_ok=True)
        files = {group: stack.enter_context(_opened(out, group)) for group in groups}
        for batch in _batches(reader.read(watched(list(paths), "scoring")), scorer.batch_size):
            scores = scorer.score_groups(_crops(batch, color), groups)
            labels = [names.of(picture.path) for picture in batch]
            _write(files, labels, scores)
            scored += len(batch)
            if embeddings is not None:
                collected.append(scores.embedding)
                written += labels
    if embeddings is not None:
        joined = np.concatenate(collected) if collected else np.empty((0, scorer.embedding_size))
        np.savez(embeddings, paths=np.array(written), embeddings=joined)
    return Extracted(scored, reader.skipped)


def _opened(folder: Path, group: Group) -> TextIO:
    path = folder / f"GraFIQs_{group}.txt"
    return path.open("w", encoding="utf-8", errors="surrogateescape")


def _batches(pictures: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    pictures = iter(pictures)
    while batch := list(islice(pictures, size)):
        yield batch


def _crops(batch: list[Picture], color: Color) -> NDArray[np.uint8]:
    crops = np.stack([resized(picture.image) for picture in batch])
    return crops if color == "rgb" else crops[..., ::-1]


def _write(files: Mapping[Group, TextIO], labels: list[str], scores: GroupScores) -> None:
    for group, file in files.items():
        raw = scores.raw[group].tolist()
        file.writelines(f"{label} {value!r}\n" for label, value in zip(labels, raw, strict=True))
