"""Settings of sources that would only fail at the camera."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from streamgate.config import load_config
from streamgate.config.source import RtspSection
from streamgate.config.webrtc_source import WhepSection

HEAD = "camera:\n  name: door\nsource:\n  kind: device\n"


def rtsp(**settings: Any) -> RtspSection:
    return RtspSection(kind="rtsp", **{"url": "rtsp://camera.example/stream", **settings})


@pytest.mark.parametrize(
    ("text", "aspect"),
    [
        ("16:15", 16 / 15), ("64:45", 64 / 45), ("12:11", 12 / 11), ("4:3", 4 / 3), ("1:2", 0.5),
        ("118:81", 118 / 81), ('"16:15"', 16 / 15), ("16/15", 16 / 15), ("1.0667", 1.0667),
        ("2", 2.0), ("null", None),
    ],
)  # fmt: skip
def test_the_shape_of_pixels_is_written_as_people_write_it(
    tmp_path: Path, text: str, aspect: float | None
) -> None:
    """YAML's own idea of 16:15, a quarter past four, does not stand in the way."""
    path = tmp_path / "door.yaml"
    path.write_text(f"{HEAD}  pixel_aspect: {text}\n")
    found = load_config(path).config.source.pixel_aspect
    assert found == (None if aspect is None else pytest.approx(aspect))


@pytest.mark.parametrize("text", ["16:0", "wide", "0", "-1", "17", "1:40", "true", "[16, 15]"])
def test_other_shapes_are_refused(tmp_path: Path, text: str) -> None:
    """The error says what is wanted."""
    path = tmp_path / "door.yaml"
    path.write_text(f"{HEAD}  pixel_aspect: {text}\n")
    with pytest.raises(Exception, match=r"source\.pixel_aspect"):
        load_config(path)


def test_credentials_that_would_be_cut_are_refused() -> None:
    """127 percent-encoded characters reach the camera; a token of more is no wrong password."""
    assert rtsp(username="u", password="p" * 125).quoted_credentials() == "u:" + "p" * 125
    token = base64.b64encode(bytes(range(120))).decode()
    for username, password in (("u", "p" * 126), ("u", "ä" * 22), ("jwt", token), ("u" * 128, "")):
        with pytest.raises(ValidationError, match=r"too long together: \d+ .*127") as caught:
            rtsp(username=username, password=password)
        assert password == "" or password not in str(caught.value.errors(include_input=False))


@pytest.mark.parametrize(
    "url",
    ["rtsp://camera/a path", "rtsp://camera /path", "rtsp://camera/path\t", "rtsp://camera/\x7f"],
)
def test_addresses_with_spaces_are_refused(url: str) -> None:
    """FFmpeg would cut them or ask for another path."""
    with pytest.raises(ValidationError, match="space"):
        rtsp(url=url)
    with pytest.raises(ValidationError, match="space"):
        WhepSection(kind="whep", url=url.replace("rtsp", "https"))


def test_addresses_that_would_be_cut_are_refused() -> None:
    """A token in the path or the query may be too long as well."""
    assert rtsp(url="rtsp://camera/" + "p" * 1022)
    for url in ("rtsp://camera/" + "p" * 1023, "rtsp://" + "c" * 500 + "/path"):
        with pytest.raises(ValidationError, match="would be cut"):
            rtsp(url=url)
