"""Cameras are found on the network, and name their streams to who may know."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamgate.errors import SourceError
from streamgate.lab.setup.onvif import find_cameras, streams_of
from tests.servers.onvif import OnvifServer

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def camera() -> Iterator[OnvifServer]:
    streams = (
        ("sub", 640, 360, "rtsp://127.0.0.1:554/sub"),
        ("main", 1920, 1080, "rtsp://127.0.0.1:554/main"),
        ("odd", 320, 180, "http://127.0.0.1/picture"),
    )
    with OnvifServer(*streams) as server:
        yield server


def test_a_camera_is_found_with_its_name(camera: OnvifServer) -> None:
    """By its answer to a multicast question."""
    found = [one for one in find_cameras(1.0) if one.host == "127.0.0.1"]
    assert [one.name for one in found] == ["Front door"]


def test_its_streams_are_told_largest_first(camera: OnvifServer) -> None:
    """Those that are RTSP."""
    (found,) = [one for one in find_cameras(1.0) if one.host == "127.0.0.1"]
    streams = streams_of(found, "viewer", "secret")
    assert [(one.width, one.height, one.url) for one in streams] == [
        (1920, 1080, "rtsp://127.0.0.1:554/main"),
        (640, 360, "rtsp://127.0.0.1:554/sub"),
    ]


def test_a_wrong_password_is_told_as_such(camera: OnvifServer) -> None:
    """With the remedy, and without the password."""
    (found,) = [one for one in find_cameras(1.0) if one.host == "127.0.0.1"]
    with pytest.raises(SourceError, match="check user name and password") as caught:
        streams_of(found, "viewer", "wrong-one")
    assert "wrong-one" not in str(caught.value)
