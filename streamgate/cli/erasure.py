"""Which best shots are somebody's: those of a track, in the outbox and in folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamgate.errors import DataError

if TYPE_CHECKING:
    from streamgate.delivery.durable.store import Row

__all__ = ["WantedTrack", "as_track", "erase_in", "of_track"]


@dataclass(frozen=True, slots=True)
class WantedTrack:
    """A track of a camera; of every run of it where `boot_id` is None."""

    camera: str
    boot_id: str | None
    track_id: int


def as_track(text: str) -> WantedTrack:
    """Read CAMERA/TRACK or CAMERA/BOOT/TRACK.

    Raises:
        click.UsageError: it is neither.
    """
    camera, _, rest = text.partition("/")
    *boot, track = rest.split("/")
    if not camera or len(boot) > 1 or not track.isascii() or not track.isdigit():
        raise click.UsageError(f"--track {text}: wanted CAMERA/TRACK or CAMERA/BOOT/TRACK")
    return WantedTrack(camera, boot[0] if boot else None, int(track))


def of_track(row: Row, wanted: Sequence[WantedTrack]) -> bool:
    """Whether a row of the outbox, damaged or not, is of one of the tracks."""
    return any(
        row.camera == one.camera
        and row.track_id == one.track_id
        and one.boot_id in (None, row.boot_id)
        for one in wanted
    )


def erase_in(folder: Path, keys: Sequence[str], wanted: Sequence[WantedTrack]) -> int:
    """Delete what a directory sink has written of some keys and tracks; return how many.

    Raises:
        DataError: a file cannot be deleted.
    """
    from streamgate.delivery.sinks.directory_files import erase

    def is_wanted(metadata: dict[str, Any]) -> bool:
        if metadata.get("key") in keys:
            return True
        return any(
            metadata.get("camera") == one.camera
            and metadata.get("track_id") == one.track_id
            and one.boot_id in (None, metadata.get("boot_id"))
            for one in wanted
        )

    try:
        return erase(folder, is_wanted).shots
    except OSError as error:
        raise DataError(f"{folder}: cannot be cleared: {error.strerror}") from None
