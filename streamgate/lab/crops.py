"""Aligned face crops from a folder or a tar archive, with what is known about them.

An archive is read in place and never unpacked: a set of crops stays one file, and nothing in an
archive can choose where it is written.
"""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from streamgate.errors import DataError
from streamgate.faces.photographs import decode_photograph
from streamgate.quality.layout import INPUT_SIZE

__all__ = ["CropSet", "hold_out", "read_crops", "split_crops"]

INDEX = "index.csv"
# A crop has 38 KB of pixels; what editors add to it is seldom more than a preview.
_MOST_CROP_BYTES = 1 << 22
_MOST_INDEX_BYTES = 1 << 28
# Bigger pictures are refused as such; there is no need to decode them for it.
_MOST_PIXELS = 1 << 20
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


def read_crops(
    path: Path, *, split: str | None = None, skip: Callable[[str], None] | None = None
) -> CropSet:
    """Read the crops of a folder (with its subfolders) or of a tar archive.

    Args:
        path: the folder or archive. An `index.csv` in it names the files (column `file`) and what
            is known about them; without one, every picture is read, and the name of its folder
            is its identity.
        split: take only the crops with this text in the index' column `split`.
        skip: called with each picture that is damaged or not a crop, and is left out.

    Raises:
        DataError: there is nothing to read, or a picture is damaged or of another size and there
            is no `skip`.
    """
    files = dict(_read_archive(path) if path.is_file() else _read_folder(path))
    rows = _rows(files.pop(INDEX, None), files, path)
    if split is not None:
        rows = [row for row in rows if row.get("split") == split]
    if not rows:
        suffix = "" if split is None else f" with the split {split!r} in {INDEX}"
        raise DataError(f"{path}: no pictures{suffix}")
    images = np.empty((len(rows), INPUT_SIZE, INPUT_SIZE, 3), dtype=np.uint8)
    read: list[Mapping[str, str]] = []
    for row in rows:
        try:
            images[len(read)] = _decode(files.get(row["file"]), row["file"], path)
        except DataError as error:
            if skip is None:
                raise
            skip(str(error))
        else:
            read.append(row)
    if not read:
        raise DataError(f"{path}: no picture in it is a crop")
    images, rows = images[: len(read)], read
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
            with file.open("rb") as opened:
                yield file.relative_to(folder).as_posix(), opened.read(_most(file.name) + 1)


def _read_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None and _wanted(member.name):
                    yield member.name.removeprefix("./"), content.read(_most(member.name) + 1)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as a tar archive: {error}") from error


def _most(name: str) -> int:
    """Bytes that a file may have; one more is read, so that a bigger one shows."""
    return _MOST_INDEX_BYTES if PurePosixPath(name).name == INDEX else _MOST_CROP_BYTES


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
    if len(content) > _MOST_CROP_BYTES:
        raise DataError(f"{path}: {name} has more than {_MOST_CROP_BYTES:,} bytes; no crop has")
    try:
        picture = decode_photograph(content, max_pixels=_MOST_PIXELS)
    except DataError as error:
        raise DataError(f"{path}: {name} is no crop: {error}") from None
    if picture.shape[:2] != (INPUT_SIZE, INPUT_SIZE):
        raise DataError(
            f"{path}: {name} is {picture.shape[1]}×{picture.shape[0]}; expected aligned crops of "
            f"{INPUT_SIZE}×{INPUT_SIZE} pixels"
        )
    return picture


def hold_out(crops: CropSet, share: float, seed: int) -> tuple[CropSet, CropSet]:
    """Split crops in two, keeping the pictures of each person together.

    Args:
        crops: to be split.
        share: of the people that the second part gets.
        seed: of the choice.

    Raises:
        DataError: there are too few people to split.
    """
    identities = crops.identities
    # A face without an identity counts as a person of its own.
    people = np.where(identities == "", np.array(crops.names), identities)
    names = np.unique(people)
    count = max(round(share * len(names)), 1)
    if len(names) - count < 1:
        raise DataError(f"{crops.source}: one person only; none can be held out")
    chosen = np.random.default_rng(seed).choice(names, count, replace=False)
    held = np.isin(people, chosen)
    return crops.take(np.flatnonzero(~held)), crops.take(np.flatnonzero(held))


def split_crops(
    path: Path,
    *,
    split: str | None,
    held_out: str | None,
    seed: int,
    skip: Callable[[str], None] | None = None,
) -> tuple[CropSet, CropSet]:
    """Read crops to learn from and others to examine on.

    Args:
        path: folder or archive, see `read_crops`.
        split: of the index, for the first part; None takes all.
        held_out: of the index, for the second part; None holds out one person in ten.
        seed: of that choice.
        skip: see `read_crops`.

    Raises:
        DataError: as `read_crops` and `hold_out`.
    """
    taught = read_crops(path, split=split, skip=skip)
    if held_out is not None:
        return taught, read_crops(path, split=held_out, skip=skip)
    return hold_out(taught, 0.1, seed)
