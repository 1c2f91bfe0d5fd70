"""One camera with two streams, against real servers that draw the time into each picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from streamgate.config.source import ReconnectSection, RtspSection
from streamgate.sources import two_streams
from streamgate.sources.convert import RgbConverter, VideoPixels
from streamgate.sources.live import LiveCamera
from streamgate.sources.main_stream import TOLERANCE_S, MainStream, TakenPicture
from streamgate.sources.opening import Opening
from streamgate.sources.rtsp import RtspSource
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Discontinuity, Frame
from streamgate.values.reasons import DetailOutcome
from tests.servers.rtsp import RtspServer, read_stamp
from tests.sources.clips import make_clip, picture
from tests.sources.viewer import SystemClock, Viewer, reach, until, value, watching

pytestmark = pytest.mark.live

AT_ONCE = ReconnectSection(initial_s=0.1, max_s=0.2)


@pytest.fixture(scope="module")
def large_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another rate than the small one's, and another interval of keyframes."""
    path = tmp_path_factory.mktemp("clips") / "large.mp4"
    return make_clip(path, count=20, rate=10, size=(1024, 576))


@contextmanager
def two(small: Path, large: Path) -> Iterator[tuple[RtspServer, RtspServer]]:
    with RtspServer(small, stamp_time=True) as sub, RtspServer(large, stamp_time=True) as main:
        yield sub, main


def source(sub: RtspServer, main: RtspServer, metrics: Metrics, **more: Any) -> RtspSource:
    config = RtspSection(kind="rtsp", url=main.url, detect_url=sub.url, reconnect=AT_ONCE, **more)
    return RtspSource(config, metrics, SystemClock())


async def matched(viewer: Viewer) -> tuple[Frame, TakenPicture]:
    """A frame, and the picture of the main stream that belongs to it."""
    while True:
        (frame,) = await viewer.frames(1)
        assert frame.detail is not None
        if frame.detail.picture() is not None:
            found = frame.detail._found  # type: ignore[attr-defined]
            assert isinstance(found, TakenPicture)
            return frame, found


async def test_both_pictures_are_of_one_instant(clip: Path, large_clip: Path) -> None:
    """Other frame rates and other timestamps: both are timed by one clock, and matched by it.

    The servers draw their clock into the pictures. On a busy machine their encoders take so
    differently long that no more than their order of magnitude can be asked for.
    """
    metrics = Metrics()
    with two(clip, large_clip) as (sub, main):
        async with watching(source(sub, main, metrics)) as viewer:
            await reach(metrics, "main_stream_up", 1)
            pairs = [await matched(viewer) for _ in range(10)]
    assert {frame.image.shape[:2] for frame, _ in pairs} == {(360, 640)}
    assert {taken.pixels.size for _, taken in pairs} == {(1024, 576)}
    apart = [abs(frame.captured_at - taken.captured_at) for frame, taken in pairs]
    assert max(apart) <= TOLERANCE_S
    drawn = [abs(read_stamp(f.image) - read_stamp(taken.pixels.rgb())) for f, taken in pairs]
    assert np.median(drawn) < 3.0


@pytest.mark.parametrize(
    ("asked_at", "wanted"),
    [(10.0, 10.0), (10.03, 10.04), (10.01, 10.0), (9.9, 10.0), (10.15, 10.08), (10.3, None),
     (9.8, None)],
)  # fmt: skip
def test_the_nearest_picture_is_taken_and_none_that_is_too_far(
    asked_at: float, wanted: float | None
) -> None:
    """Within the tolerance; a picture that is not there is late, a stream that is not is away."""
    config = RtspSection(kind="rtsp", url="rtsp://camera.example/1")
    camera = LiveCamera("camera", lambda: Opening(""), False, config.reconnect, config)
    stream = MainStream(camera, Metrics(), SystemClock(), lambda: 0.5)
    assert stream.near(asked_at) is DetailOutcome.AWAY
    stream._open = True
    pixels = VideoPixels(av.VideoFrame(16, 16, "yuv420p"), RgbConverter())
    stream._pictures.extend(TakenPicture(at, pixels) for at in (10.0, 10.04, 10.08))
    found = stream.near(asked_at)
    if wanted is None:
        assert found is DetailOutcome.LATE
    else:
        assert isinstance(found, TakenPicture)
        assert found.captured_at == wanted


async def test_nothing_of_the_main_stream_is_decoded_before_somebody_asks(
    clip: Path, large_clip: Path
) -> None:
    """It is read, and its packets are kept from the last keyframe on."""
    metrics = Metrics()
    with two(clip, large_clip) as (sub, main):
        camera = source(sub, main, metrics)
        async with watching(camera) as viewer:
            await reach(metrics, "main_stream_up", 1)
            await viewer.frames(30)
            stream = camera._source._main  # type: ignore[union-attr]
            assert not stream._pictures
            assert 0 < len(stream._coded) <= 60
            await matched(viewer)
            assert stream._pictures


async def test_without_the_main_stream_there_is_still_the_other(
    clip: Path, large_clip: Path
) -> None:
    """It is told and counted; once it is back it is used again, and no frame is lost meanwhile."""
    metrics = Metrics()
    with two(clip, large_clip) as (sub, main):
        async with watching(source(sub, main, metrics)) as viewer:
            await matched(viewer)
            main.kill()
            await until(lambda: value(metrics, "main_stream_up") == 0)
            (frame,) = await viewer.frames(1)
            assert frame.detail is not None
            assert frame.detail.size is None
            assert value(metrics, "detail_faces_total", outcome="away") >= 1
            main.restart()
            await matched(viewer)
    assert value(metrics, "source_connects_total") == 1


async def test_without_the_substream_the_main_stream_is_looked_at(
    clip: Path, large_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while, as another connection; and the other way round once it is back."""
    monkeypatch.setattr(two_streams, "_MISSED_S", -2.0)
    metrics = Metrics()
    with two(clip, large_clip) as (sub, main):
        async with watching(source(sub, main, metrics)) as viewer:
            await matched(viewer)
            sub.kill()
            large = await viewer.frame_where(lambda frame: frame.pixels.size == (1024, 576))
            await until(lambda: value(metrics, "substream_up") == 0)
            assert large.detail is None
            sub.restart()
            kinds = []
            while True:
                item = await viewer.next()
                if isinstance(item, Discontinuity):
                    kinds.append(item.reason)
                elif item.pixels.size == (640, 360):
                    break
    assert "streams_changed" in kinds
    assert item.connection > large.connection
    assert item.index > large.index


def test_a_window_is_what_the_whole_picture_shows_there() -> None:
    """To the bit inside; at its edges colours are interpolated, and may differ a little."""
    taken = av.VideoFrame.from_ndarray(picture(7, 640, 360), format="rgb24").reformat(
        format="yuv420p"
    )
    pixels = VideoPixels(taken, RgbConverter())
    window, (left, top) = pixels.window(101, 51, 301, 251)
    whole = pixels.rgb()[top : top + window.shape[0], left : left + window.shape[1]]
    assert (left, top) == (100, 50)
    assert np.array_equal(window[4:-4, 4:-4], whole[4:-4, 4:-4])
    assert pixels.window(-50, -50, 40, 30)[0].shape == (30, 40, 3)
    assert pixels.window(700, 0, 800, 50)[0].size == 0
