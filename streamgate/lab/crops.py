"""Aligned face crops out of a folder or a tar archive, with what is known about them.

An archive is read as it is and never unpacked: a crop set travels as one file, and nothing in an
archive may choose where it lands on a disk.
"""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from streamgate.errors import DataError
from streamgate.quality.layout import INPUT_SIZE

__all__ = ["CropSet", "hold_out", "read_crops"]

INDEX = "index.csv"
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


@dataclass(frozen=True, slots=True, eq=False)
class CropSet:
    """Crops in the order of the index, or of their names where there is none.

    Attributes:
        images: RGB uint8 [N, 112, 112, 3].
        names: of the files, relative to the folder or archive.
        columns: of the index, each with N texts; empty where there is no index.
        source: name of the folder or archive.
    """

    images: NDArray[np.uint8]
    names: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    source: str

    def __len__(self) -> int:
        return len(self.names)

    @property
    def identities(self) -> NDArray[np.str_]:
        """Who is seen, [N]; empty where that is unknown."""
        return np.array(self.columns.get("identity", ("",) * len(self)), dtype=np.str_)

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return a column of numbers, [N]; NaN where one is missing.

        Raises:
            DataError: there is no such column, or it holds something else.
        """
        try:
            return np.array([float(text or "nan") for text in self.columns[column]])
        except KeyError:
            raise DataError(f"{self.source}: {INDEX} has no column {column!r}") from None
        except ValueError as error:
            raise DataError(f"{self.source}: {INDEX}, column {column!r}: {error}") from None

    def take(self, indices: NDArray[np.int64]) -> CropSet:
        """Return the crops at `indices`, in that order."""
        return CropSet(
            images=self.images[indices],
            names=tuple(self.names[i] for i in indices),
            columns={
                name: tuple(column[i] for i in indices) for name, column in self.columns.items()
            },
            source=self.source,
        )


def read_crops(path: Path, *, split: str | None = None) -> CropSet:
    """Read the crops of a folder (with its subfolders) or of a tar archive.

    Args:
        path: the folder or archive. An `index.csv` in it names the files (column `file`) and what
            is known of them; without one, every picture is read, and the folder that it lies in
            is taken for its identity.
        split: take only the crops with this text in the index' column `split`.

    Raises:
        DataError: there is nothing to read, or a picture is damaged or of another size.
    """
    files = dict(_read_archive(path) if path.is_file() else _read_folder(path))
    rows = _rows(files.pop(INDEX, None), files, path)
    if split is not None:
        rows = [row for row in rows if row.get("split") == split]
    if not rows:
        suffix = "" if split is None else f" with the split {split!r} in {INDEX}"
        raise DataError(f"{path}: no pictures{suffix}")
    images = np.empty((len(rows), INPUT_SIZE, INPUT_SIZE, 3), dtype=np.uint8)
    for image, row in zip(images, rows, strict=True):
        image[...] = _decode(files.get(row["file"]), row["file"], path)
    names = tuple(row["file"] for row in rows)
    columns = {
        name: tuple(row.get(name) or "" for row in rows) for name in rows[0] if name != "file"
    }
    return CropSet(images, names, columns, path.name)


def _read_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    if not folder.is_dir():
        raise DataError(f"{folder}: neither a folder nor a tar archive")
    for file in sorted(folder.rglob("*")):
        if file.is_file() and _wanted(file.name):
            yield file.relative_to(folder).as_posix(), file.read_bytes()


def _read_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None and _wanted(member.name):
                    yield member.name.removeprefix("./"), content.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as a tar archive: {error}") from error


def _wanted(name: str) -> bool:
    return PurePosixPath(name).name == INDEX or PurePosixPath(name).suffix.lower() in _SUFFIXES


def _rows(
    index: bytes | None, files: Mapping[str, bytes], path: Path
) -> Sequence[Mapping[str, str]]:
    if index is None:
        return [{"file": name, "identity": _parent(name)} for name in sorted(files)]
    try:
        rows = list(csv.DictReader(io.StringIO(index.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: {INDEX} cannot be read: {error}") from error
    if rows and "file" not in rows[0]:
        raise DataError(f"{path}: {INDEX} has no column 'file'")
    return rows


def _parent(name: str) -> str:
    parent = PurePosixPath(name).parent.name
    return parent if parent != "." else ""


def _decode(content: bytes | None, name: str, path: Path) -> NDArray[np.uint8]:
    if content is None:
        raise DataError(f"{path}: {name} is named in {INDEX} but is not there")
    picture = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise DataError(f"{path}: {name} is no picture, or a damaged one")
    if picture.shape[:2] != (INPUT_SIZE, INPUT_SIZE):
        raise DataError(
            f"{path}: {name} is {picture.shape[1]}×{picture.shape[0]}; expected aligned crops of "
            f"{INPUT_SIZE}×{INPUT_SIZE} pixels"
        )
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def hold_out(crops: CropSet, share: float, seed: int) -> tuple[CropSet, CropSet]:
    """Split crops in two, never parting the pictures of a person.

    Args:
        crops: to be split.
        share: of the people that the second part gets.
        seed: of the choice.

    Raises:
        DataError: there are too few people to part.
    """
    identities = crops.identities
    # A face of nobody known is taken for a person of its own.
    people = np.where(identities == "", np.array(crops.names), identities)
    names = np.unique(people)
    count = max(round(share * len(names)), 1)
    if len(names) - count < 1:
        raise DataError(f"{crops.source}: one person only; none can be held out")
    chosen = np.random.default_rng(seed).choice(names, count, replace=False)
    held = np.isin(people, chosen)
    return crops.take(np.flatnonzero(~held)), crops.take(np.flatnonzero(held))
