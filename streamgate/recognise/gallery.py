"""Who is known: embeddings of photographs, and the nearest of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamgate.errors import DataError
from streamgate.faces.align import align, similarity_to_template
from streamgate.faces.photographs import read_photograph
from streamgate.ports import FaceDetector
from streamgate.quality import Scorer
from streamgate.values import Image

__all__ = ["THRESHOLD", "Gallery", "Match", "enrol", "photographs_in"]

THRESHOLD = 0.4
"""Least cosine similarity that counts as the same person, for the default network.

Of 393,048 pairs of different people among 900 aligned photographs, one in a thousand is more
similar than 0.41; of 11,502 pairs of the same person, 74 % are. Another network needs another one.
"""

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_CROP_SIDE = 112


@dataclass(frozen=True, slots=True)
class Match:
    """Who a face looks like.

    Attributes:
        name: of whom it is, or None where nobody is similar enough.
        nearest: who comes nearest, whether near enough or not.
        similarity: cosine of the angle to the nearest photograph of `nearest`.
    """

    name: str | None
    nearest: str
    similarity: float


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """Enrolled people.

    Attributes:
        names: name of each photograph's person.
        embeddings: float32 [N, E], each of length 1.
        model_hash: sha256 of the network that made them.
        threshold: least similarity that counts as the same person.
    """

    names: tuple[str, ...]
    embeddings: NDArray[np.float32]
    model_hash: str
    threshold: float = THRESHOLD

    @property
    def people(self) -> tuple[str, ...]:
        """Every name once, sorted."""
        return tuple(sorted(set(self.names)))

    def match(self, embedding: NDArray[np.float32]) -> Match:
        """Find who a face is; its embedding [E] has length 1 and is by the same network."""
        similarities = self.embeddings @ embedding
        best = int(np.argmax(similarities))
        nearest, similarity = self.names[best], float(similarities[best])
        return Match(nearest if similarity >= self.threshold else None, nearest, similarity)


def photographs_in(folder: Path) -> dict[str, list[Path]]:
    """Photographs by name: FOLDER/NAME/*.jpg, or FOLDER/NAME.jpg for one of each.

    Raises:
        DataError: there are none.
    """
    found: dict[str, list[Path]] = {}
    try:
        places = sorted(folder.iterdir())
        for place in places:
            inside = sorted(place.iterdir()) if place.is_dir() else [place]
            pictures = [path for path in inside if path.suffix.lower() in _SUFFIXES]
            if pictures:
                found.setdefault(place.name if place.is_dir() else place.stem, []).extend(pictures)
    except OSError as error:
        raise DataError(f"gallery {folder}: cannot be read: {error.strerror}") from None
    if not found:
        raise DataError(
            f"gallery {folder}: holds no photographs; wanted NAME/*.jpg, or NAME.jpg for each"
        )
    return found


def enrol(
    photographs: Mapping[str, Sequence[Path]],
    detector: FaceDetector,
    scorer: Scorer,
    *,
    threshold: float = THRESHOLD,
    tell: Callable[[str], None] = lambda _text: None,
) -> Gallery:
    """Embed the largest face of each photograph, exactly as the gate does with its faces.

    A picture of 112×112 pixels is taken for an aligned crop, such as a best shot.

    Args:
        tell: called with each photograph that is left out, and why.

    Raises:
        DataError: no photograph is left.
    """
    names: list[str] = []
    crops: list[Image] = []
    for name, path in _each(photographs):
        crop = _crop_of(path, detector)
        if isinstance(crop, str):
            tell(f"{path}: left out, {crop}")
        else:
            names.append(name)
            crops.append(crop)
    if not crops:
        raise DataError("the gallery has no photograph with a face in it")
    # A few at a time: a gallery of thousands must not lie in memory as pictures for the network.
    size = scorer.batch_size
    batches = [
        scorer.score(np.stack(crops[at : at + size])).embedding for at in range(0, len(crops), size)
    ]
    return Gallery(tuple(names), np.concatenate(batches), scorer.model_hash, threshold)


def _each(photographs: Mapping[str, Iterable[Path]]) -> Iterator[tuple[str, Path]]:
    for name, paths in photographs.items():
        for path in paths:
            yield name, path


def _crop_of(path: Path, detector: FaceDetector) -> Image | str:
    """The aligned face, or the reason why there is none."""
    try:
        image = read_photograph(path)
    except DataError as error:
        return str(error)
    if image.shape[:2] == (_CROP_SIDE, _CROP_SIDE):
        return image
    faces = detector.detect(image)
    if not faces:
        return "no face is found in it"
    similarity = similarity_to_template(max(faces, key=lambda face: face.area).landmarks)
    return "its face cannot be aligned" if similarity is None else align(image, similarity).image
