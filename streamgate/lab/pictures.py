"""Picture files as the commands read them: found in order, decoded, and named when they are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import track

from streamgate.errors import DataError, StreamgateError
from streamgate.faces.photographs import read_photograph
from streamgate.values import Image

__all__ = ["SUFFIXES", "Picture", "PictureReader", "find", "shown", "watched"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded file; `image` is RGB uint8 [H, W, 3]."""

    path: Path
    image: Image


@dataclass(slots=True)
class PictureReader:
    """Decodes pictures one by one and counts those that cannot be.

    Attributes:
        tell: called with each picture that is skipped, and why.
        skipped: how many were.
    """

    tell: Callable[[str], None]
    skipped: int = field(default=0)

    def read(self, paths: Iterable[Path]) -> Iterator[Picture]:
        """Yield the pictures that can be read."""
        for path in paths:
            try:
                image = read_photograph(path)
            except DataError as error:
                self.skipped += 1
                self.tell(f"{shown(path)}: skipped, {error}")
                continue
            yield Picture(path, image)


def shown(path: Path) -> str:
    """A path for people: bytes that are not UTF-8 are escaped, so that every terminal takes them.

    Python keeps such bytes of a file's name as lone surrogates, which no text file can hold.
    """
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def find(places: Iterable[Path], *, suffixes: tuple[str, ...], recursive: bool) -> list[Path]:
    """Return the files among `places` and the pictures in the folders among them, sorted within.

    Raises:
        StreamgateError: there is none.
    """
    paths: list[Path] = []
    for place in places:
        if place.is_dir():
            inside = place.rglob("*") if recursive else place.glob("*")
            paths += sorted(p for p in inside if p.suffix.lower() in suffixes and p.is_file())
        else:
            paths.append(place)
    if not paths:
        deeper = "" if recursive else "; folders below are read with --recursive"
        raise StreamgateError(
            f"no pictures ({', '.join(suffixes)}) in {', '.join(map(shown, places))}{deeper}"
        )
    return paths


def watched(paths: list[Path], what: str) -> Iterable[Path]:
    """Show progress on standard error where a person is watching."""
    console = Console(stderr=True)
    return track(paths, what, total=len(paths), console=console, disable=not console.is_terminal)
