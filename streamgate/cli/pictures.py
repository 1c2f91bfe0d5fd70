"""Picture files as the commands read them: found in order, decoded, and named when they are not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from streamgate.errors import StreamgateError
from streamgate.values import Image

__all__ = ["SUFFIXES", "Picture", "find", "read", "watched"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded file; `image` is RGB uint8 [H, W, 3], or None where it could not be read."""

    path: Path
    image: Image | None


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
            f"no pictures ({', '.join(suffixes)}) in {', '.join(map(str, places))}{deeper}"
        )
    return paths


def read(paths: Iterable[Path]) -> Iterator[Picture]:
    """Decode pictures one by one, and say on standard error which cannot be."""
    for path in paths:
        try:
            encoded = np.frombuffer(path.read_bytes(), np.uint8)
            bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
            reason = "no picture that can be decoded"
        except OSError as error:
            bgr, reason = None, error.strerror or "cannot be read"
        if bgr is None:
            click.echo(f"{path}: skipped, {reason}", err=True)
            yield Picture(path, None)
        else:
            yield Picture(path, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8))


def watched(pictures: Iterator[Picture], total: int, what: str) -> Iterator[Picture]:
    """Show progress on standard error where a person is watching."""
    console = Console(stderr=True)
    yield from track(pictures, what, total=total, console=console, disable=not console.is_terminal)
