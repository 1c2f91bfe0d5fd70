"""Pictures that claim more than they hold, and what is made of them."""

from __future__ import annotations

import resource
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamgate import FaceFinder, Scorer, crops_of, read_photograph
from streamgate.errors import DataError, ModelError
from streamgate.models.registry import path_of
from tests import needs


def _file(name: str) -> Path:
    try:
        return path_of(name)
    except ModelError as error:
        needs.missing(f"the photograph {name}", str(error))
        raise


def png_of(width: int, height: int, *, whole: bool = False) -> bytes:
    """A PNG file of a few kilobytes, whatever size it claims."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height)) if whole else b""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b""))
    )


@pytest.mark.parametrize("side", [12_000, 30_000, 50_000, 1_000_000])
def test_a_picture_that_claims_too_much_is_refused_before_it_takes_memory(
    side: int, tmp_path: Path
) -> None:
    """By its header: the process grows by less than its pixels would need."""
    path = tmp_path / "big.png"
    path.write_bytes(png_of(side, side))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="at most 128,000,000 are read"):
        read_photograph(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@pytest.mark.parametrize(
    "content", [b"", b"no picture", png_of(64, 64), b"\xff\xd8\xff\xe0", b"II*\0" + bytes(60)]
)
def test_what_is_no_picture_is_told_without_a_traceback(content: bytes, tmp_path: Path) -> None:
    """Whichever part of a decoder finds it out."""
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match="no picture that can be decoded"):
        read_photograph(path)


def test_a_missing_file_is_told_in_the_systems_words(tmp_path: Path) -> None:
    """And a folder likewise."""
    with pytest.raises(DataError, match="No such file"):
        read_photograph(tmp_path / "none.jpg")
    with pytest.raises(DataError, match="Is a directory"):
        read_photograph(tmp_path)


def test_colours_are_red_first(tmp_path: Path) -> None:
    """Whatever OpenCV keeps."""
    cv2.imwrite(str(tmp_path / "red.png"), np.full((8, 8, 3), (0, 0, 255), np.uint8))
    assert read_photograph(tmp_path / "red.png")[0, 0].tolist() == [255, 0, 0]


def test_the_library_scores_a_whole_photograph() -> None:
    """Find, align, score: the face of an astronaut is fit, and good."""
    photograph = _file("photo-astronaut")
    faces = FaceFinder.load().find(read_photograph(photograph))
    scores = Scorer.load(device="cpu").score(crops_of(faces))
    assert len(scores) == len(faces) >= 1
    assert faces[0].rejection is None
    x1, y1, x2, y2 = faces[0].box
    assert x1 < 225 < x2
    assert y1 < 115 < y2
    assert scores.quality[0] > 30


def test_a_face_that_the_gate_would_not_score_says_why() -> None:
    """It has a crop all the same."""
    photograph = read_photograph(_file("photo-astronaut"))
    small = cv2.resize(photograph, None, fx=0.2, fy=0.2, interpolation=cv2.INTER_AREA)
    (face, *_) = FaceFinder.load().find(np.asarray(small, np.uint8))
    assert face.rejection == "too_small"
    assert face.crop.shape == (112, 112, 3)


def test_crops_of_no_faces_are_none() -> None:
    """The scorer takes them."""
    assert crops_of([]).shape == (0, 112, 112, 3)


def test_the_finder_fetches_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library call that waits for a network would surprise; the message names the command."""
    monkeypatch.setenv("STREAMGATE_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="streamgate models pull yunet"):
        FaceFinder.load()
    with pytest.raises(ModelError, match="no model 'yunnet'"):
        path_of("yunnet")
