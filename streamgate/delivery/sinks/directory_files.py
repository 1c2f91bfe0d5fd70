"""What the files of the directory sink are called, and how they are deleted, and nothing else.

Whether files are ours is told by their JSON file, which names its own key: only it and the pictures
of the same name are deleted. It is put aside first, under a hidden name, so that no reader finds
pictures missing; what a crash has interrupted is finished the next time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamgate.delivery.payload import SCHEMA_NAME

__all__ = ["Swept", "erase", "file_stem", "sweep"]

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_STEM = 200
_PART = re.compile(r"\.[A-Za-z0-9_-]+(\.context)?\.(json|jpeg|jpg|png)\.part")
"""A file that is being written, or that a crash has left."""
_SUFFIX = ".json"
_ASIDE = ".gone"
_PICTURES = (".jpg", ".png", ".jpeg")
_LARGEST_MANIFEST = 1_048_576


def file_stem(key: str) -> str:
    """A file name that differs for every key and is safe on every file system."""
    safe = _UNSAFE.sub("_", key)
    if safe == key and len(key) <= _LONGEST_STEM:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return f"{safe[: _LONGEST_STEM - 17]}-{digest}"


@dataclass(frozen=True, slots=True)
class Swept:
    """What was done.

    Attributes:
        shots: best shots that were deleted.
        complete: whether none is left that should have been.
    """

    shots: int
    complete: bool


def sweep(folder: Path, before_wall: float, most: int) -> Swept:
    """Delete best shots that were written before a time, Unix seconds; at most so many.

    Raises:
        OSError: the folder cannot be read, or a file not be deleted.
    """

    def is_old(_: dict[str, Any], written_wall: float) -> bool:
        return written_wall < before_wall

    for name in _names(folder, ".part"):
        path = folder / name
        if _PART.fullmatch(name) and path.lstat().st_mtime < before_wall:
            path.unlink(missing_ok=True)
    return _delete(folder, is_old, most)


def erase(folder: Path, wanted: Callable[[dict[str, Any]], bool]) -> Swept:
    """Delete best shots whose metadata is wanted.

    Raises:
        OSError: see `sweep`.
    """
    return _delete(folder, lambda metadata, _: wanted(metadata), None)


def _delete(
    folder: Path, chosen: Callable[[dict[str, Any], float], bool], most: int | None
) -> Swept:
    shots = 0
    for path, metadata, written_wall in _manifests(folder):
        is_aside = path.name.endswith(_ASIDE)
        if not is_aside and not chosen(metadata, written_wall):
            continue
        if most is not None and shots == most:
            return Swept(shots, complete=False)
        aside = path
        if not is_aside:
            aside = folder / f".{path.name}{_ASIDE}"
            path.replace(aside)
        stem = file_stem(str(metadata["key"]))
        for suffix in _PICTURES:
            for name in (f"{stem}{suffix}", f"{stem}.context{suffix}"):
                (folder / name).unlink(missing_ok=True)
        aside.unlink(missing_ok=True)
        shots += 1
    return Swept(shots, complete=True)


def _manifests(folder: Path) -> Iterator[tuple[Path, dict[str, Any], float]]:
    """Every JSON file that was written by a directory sink, and when."""
    for name in _names(folder, _SUFFIX, _ASIDE):
        path = folder / name
        try:
            found = path.lstat()
            # No link: it may lead anywhere.
            if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_MANIFEST:
                continue
            metadata = json.loads(path.read_bytes())
        except (FileNotFoundError, PermissionError, ValueError, RecursionError):
            continue
        if _is_ours(name, metadata):
            yield path, metadata, found.st_mtime


def _names(folder: Path, *endings: str) -> list[str]:
    """All at once: a folder that changes while it is read may show a file twice."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.name.endswith(endings)]


def _is_ours(name: str, metadata: object) -> bool:
    if not isinstance(metadata, dict) or metadata.get("schema") != SCHEMA_NAME:
        return False
    own = f"{file_stem(str(metadata.get('key')))}{_SUFFIX}"
    return name in (own, f".{own}{_ASIDE}")
