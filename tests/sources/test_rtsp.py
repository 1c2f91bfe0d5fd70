"""RTSP cameras, against a real server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from structlog.testing import capture_logs

from streamgate.config.source import ReconnectSection, RtspSection
from streamgate.sources.rtsp import RtspSource
from streamgate.telemetry.metrics import Metrics
from tests.servers.rtsp import RtspServer, read_stamp
from tests.servers.tls import Authority
from tests.sources.viewer import SystemClock, reach, value, watching

pytestmark = pytest.mark.live

PASSWORD = "p@ss:w/rd#1%? ä"
AT_ONCE = ReconnectSection(initial_s=0.1, max_s=0.2)

Codec = Literal["h264", "h265", "mjpeg"]


def source(url: str, metrics: Metrics | None = None, **settings: Any) -> RtspSource:
    config = RtspSection(kind="rtsp", url=url, **{"reconnect": AT_ONCE, **settings})
    return RtspSource(config, metrics or Metrics(), SystemClock())


@pytest.mark.parametrize(
    ("codec", "transport"),
    [("h264", "tcp"), ("h264", "udp"), ("h265", "tcp"), ("h265", "udp"), ("mjpeg", "tcp")],
)
async def test_pictures_arrive_with_the_time_of_their_capture(
    clip: Path, codec: Codec, transport: str
) -> None:
    """Every codec and transport gives RGB pictures whose capture time is right to 0.25 s."""
    with RtspServer(clip, codec=codec, stamp_time=True) as server:
        async with watching(source(server.url, transport=transport)) as viewer:
            frames = await viewer.frames(30)
    assert {frame.image.shape for frame in frames} == {(360, 640, 3)}
    assert not any(frame.image.flags.writeable for frame in frames)
    errors = [frame.captured_at - read_stamp(frame.image) for frame in frames]
    assert -0.05 < min(errors) <= max(errors) < 0.25
    ages = [frame.decoded_at - frame.captured_at for frame in frames]
    assert min(ages) >= 0
    assert [f.captured_at for f in frames] == sorted(f.captured_at for f in frames)


async def test_colours_are_those_of_the_clip(clip: Path) -> None:
    """The red square of the scene is red, not blue, and of the right shade."""
    with RtspServer(clip) as server:
        async with watching(source(server.url)) as viewer:
            (frame,) = await viewer.frames(1)
    image = frame.image.astype(int)
    wanted = np.array([230, 60, 40])
    near = (np.abs(image - wanted).max(axis=2) < 30).sum()
    assert near > 0.8 * 64 * 64


@pytest.mark.parametrize("digest", [False, True], ids=["basic", "digest"])
async def test_a_password_of_any_characters_opens_the_stream(clip: Path, digest: bool) -> None:
    """User and password reach the camera whole, by Basic and by Digest."""
    with RtspServer(clip, user="door man", password=PASSWORD, digest=digest) as server:
        settings: dict[str, Any] = {"username": "door man", "password": PASSWORD}
        async with watching(source(server.url, **settings)) as viewer:
            assert await viewer.frames(1)


async def test_a_wrong_password_is_said_once_and_never_shown(
    clip: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The log says what to check, once, without the secret; the right password then works."""
    metrics = Metrics()
    with RtspServer(clip, user="u", password="another") as server, capture_logs() as events:
        wrong = source(server.url, metrics, username="u", password=PASSWORD)
        async with watching(wrong) as viewer:
            await reach(metrics, "source_faults_total", 3, reason="unauthorized")
            server.set_password(PASSWORD)
            server.restart()
            assert await viewer.frames(1)
    said = [e for e in events if e["log_level"] == "warning" and e["reason"] == "unauthorized"]
    assert len(said) == 1
    assert "check source.username and source.password" in said[0]["error"]
    everything = f"{events} {capfd.readouterr()}"
    for secret in (PASSWORD, "p%40ss", "w%2Frd", "another"):
        assert secret not in everything


async def test_a_trusted_rtsps_camera_is_seen(clip: Path, tmp_path: Path) -> None:
    """RTSPS works with the authority's file, with a password inside."""
    authority = Authority(tmp_path / "trusted")
    certificate = authority.certificate("127.0.0.1")
    with RtspServer(clip, certificate=certificate, user="u", password="p", digest=True) as server:
        settings: dict[str, Any] = {"ca_file": authority.ca_file, "username": "u", "password": "p"}
        async with watching(source(server.url, **settings)) as viewer:
            assert await viewer.frames(1)


@pytest.mark.parametrize(
    ("host", "trust"),
    [("127.0.0.1", "other"), ("127.0.0.1", None), ("camera.example", "trusted")],
    ids=["another authority", "system authorities", "another host"],
)
async def test_an_untrusted_rtsps_camera_is_refused(
    clip: Path, tmp_path: Path, host: str, trust: str | None
) -> None:
    """A certificate that cannot be verified, or names another host, lets no picture through."""
    authorities = {name: Authority(tmp_path / name) for name in ("trusted", "other")}
    metrics = Metrics()
    with RtspServer(clip, certificate=authorities["trusted"].certificate(host)) as server:
        ca_file = authorities[trust].ca_file if trust else None
        async with watching(source(server.url, metrics, ca_file=ca_file)):
            await reach(metrics, "source_faults_total", 2, reason="tls")
    assert value(metrics, "frames_received_total") == 0


async def test_a_killed_camera_is_an_interruption_and_comes_back(
    clip: Path, small_clip: Path
) -> None:
    """A clean end of stream is a loss; the next opening has its own number and size."""
    metrics = Metrics()
    with RtspServer(clip) as server:
        async with watching(source(server.url, metrics)) as viewer:
            (before,) = await viewer.frames(1)
            assert value(metrics, "source_up") == 1
            server.kill()
            lost = await viewer.discontinuity()
            await reach(metrics, "source_faults_total", 2, reason="refused")
            assert value(metrics, "source_up") == 0
            server.restart(small_clip)
            (after,) = await viewer.frames(1)
    assert not lost.ended
    assert (before.connection, after.connection) == (0, 1)
    assert (before.image.shape, after.image.shape) == ((360, 640, 3), (240, 320, 3))
    assert after.index > before.index
    assert value(metrics, "source_connects_total") == 2


async def test_a_frozen_camera_is_lost_after_the_read_timeout(clip: Path) -> None:
    """A camera that holds its connection open and is silent is given up, and found again."""
    with RtspServer(clip) as server:
        settings: dict[str, Any] = {"read_timeout_s": 1.0, "open_timeout_s": 2.0}
        async with watching(source(server.url, **settings)) as viewer:
            await viewer.frames(5)
            server.freeze()
            frozen_at = time.monotonic()
            lost = await viewer.discontinuity()
            server.thaw()
            (after,) = await viewer.frames(1)
    assert lost.reason == "timeout"
    assert 0.8 < lost.at - frozen_at < 2.5
    assert after.connection == 1


async def test_the_size_may_change_in_mid_stream(clip: Path, small_clip: Path) -> None:
    """A camera that changes its resolution goes on without a new opening."""
    with RtspServer(small_clip, clip) as server:
        async with watching(source(server.url)) as viewer:
            first = await viewer.frame_where(lambda frame: frame.image.shape[0] == 240)
            second = await viewer.frame_where(lambda frame: frame.image.shape[0] == 360)
    assert first.connection == second.connection == 0


async def test_decoding_does_not_wait_for_a_reader(clip: Path) -> None:
    """With nobody reading, frames are decoded at the camera's pace all the same."""
    metrics = Metrics()
    with RtspServer(clip) as server:
        async with watching(source(server.url, metrics)) as viewer:
            await reach(metrics, "source_up", 1)
            began = value(metrics, "frames_received_total")
            took_s = await reach(metrics, "frames_received_total", began + 25)
            (newest,) = await viewer.frames(1)
    assert took_s < 2.5
    assert newest.index >= began + 24


async def test_a_frame_is_never_older_than_the_slot(clip: Path) -> None:
    """A reader that takes a picture now and then gets the newest one, not a queue's oldest."""
    metrics = Metrics()
    with RtspServer(clip, stamp_time=True) as server:
        async with watching(source(server.url, metrics)) as viewer:
            ages = []
            for _ in range(4):
                seen = value(metrics, "frames_received_total")
                await reach(metrics, "frames_received_total", seen + 12)
                (frame,) = await viewer.frames(1)
                ages.append(time.monotonic() - read_stamp(frame.image))
    assert max(ages[1:]) < 0.5
