"""Recorded videos."""

from __future__ import annotations

import asyncio
import struct
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from structlog.testing import capture_logs

from streamgate.config.source import FileSection
from streamgate.errors import SourceError
from streamgate.pipeline.slot import LatestSlot
from streamgate.sources.file import FileSource
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Discontinuity, Frame
from tests.sources.clips import make_clip, number_in
from tests.sources.viewer import SystemClock, value, watching


def source(path: Path, metrics: Metrics | None = None, **settings: Any) -> FileSource:
    config = FileSection(kind="file", path=path, **settings)
    return FileSource(config, metrics or Metrics(), SystemClock())


async def seen(path: Path, **settings: Any) -> list[Frame | Discontinuity]:
    async with watching(source(path, **settings)) as viewer:
        return await viewer.everything()


UPRIGHT = (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
QUARTER_CLOCKWISE = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)


def with_matrix(clip: Path, into: Path, matrix: tuple[int, ...]) -> Path:
    """Copy an MP4 with another display matrix in its track header."""
    data = clip.read_bytes()
    old, new = (struct.pack(">9i", *numbers) for numbers in (UPRIGHT, matrix))
    place = data.index(old, data.index(b"tkhd"))
    into.write_bytes(data[:place] + new + data[place + len(new) :])
    return into


async def test_the_fast_pace_shows_every_frame_to_a_slow_reader(clip: Path) -> None:
    """A reader that takes its time gets all 50 frames in order, then the end."""
    numbers = []
    async with watching(source(clip, pace="fast")) as viewer:
        for _ in range(50):
            item = await viewer.next()
            assert isinstance(item, Frame)
            numbers.append(number_in(item.image))
            await asyncio.sleep(0.002)
        end = await viewer.next()
    assert numbers == list(range(50))
    assert isinstance(end, Discontinuity)
    assert end.ended


async def test_two_fast_runs_have_the_same_times(clip: Path) -> None:
    """Capture times and wall times come from the file, so that replays are equal to the bit."""
    runs = [await seen(clip, pace="fast") for _ in range(2)]
    times = [
        [(f.captured_at, f.captured_wall, f.index) for f in run if isinstance(f, Frame)]
        for run in runs
    ]
    assert times[0] == times[1]
    assert times[0][0][0] == 0.0
    assert times[0][-1][0] == pytest.approx(49 / 25)


@pytest.mark.live
async def test_the_realtime_pace_is_that_of_the_clip(clip: Path) -> None:
    """50 pictures at 25/s take two seconds, and each is as young as a camera's."""
    began_at = time.monotonic()
    frames = [item for item in await seen(clip) if isinstance(item, Frame)]
    assert 1.9 < time.monotonic() - began_at < 4.0
    steps = [b.captured_at - a.captured_at for a, b in pairwise(frames) if b.index == a.index + 1]
    assert np.median(steps) == pytest.approx(0.04, abs=1e-6)
    assert all(0 <= frame.decoded_at - frame.captured_at < 0.5 for frame in frames)


async def test_a_loop_goes_on_with_a_new_connection(small_clip: Path) -> None:
    """Each round is a connection of its own, behind an discontinuity, and time goes on."""
    async with watching(source(small_clip, pace="fast", loop=True)) as viewer:
        items = [await viewer.next() for _ in range(60)]
    frames = [item for item in items if isinstance(item, Frame)]
    assert [frame.connection for frame in frames[:51]] == [0] * 25 + [1] * 25 + [2]
    assert frames[25].captured_at == pytest.approx(1.0)
    assert isinstance(items[25], Discontinuity)
    assert [frame.index for frame in frames] == list(range(len(frames)))


async def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    """The error says which file and which setting."""
    with pytest.raises(SourceError, match=r"no file at .*gone\.mp4: check source\.path"):
        await source(tmp_path / "gone.mp4").run(LatestSlot())


async def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    """Text, and sound without pictures, end the source with a clear error."""
    text = tmp_path / "notes.mp4"
    text.write_text("no video at all" * 100)
    with pytest.raises(SourceError, match=r"notes\.mp4 cannot be read as video"):
        await source(text).run(LatestSlot())
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        samples.sample_rate = 8000
        container.mux(stream.encode(samples))
    with pytest.raises(SourceError, match="has no video stream"):
        await source(sound).run(LatestSlot())


async def test_a_truncated_file_gives_what_it_has(clip: Path, tmp_path: Path) -> None:
    """A recording that was cut off plays to the cut and ends."""
    whole = make_clip(tmp_path / "whole.mkv")
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    items = await seen(cut, pace="fast")
    assert isinstance(items[-1], Discontinuity)
    assert 5 < len(items) < 45


async def test_a_phone_s_portrait_video_stands_upright(clip: Path, tmp_path: Path) -> None:
    """The display matrix is obeyed: what a phone marks so is turned by a quarter, clockwise."""
    turned = with_matrix(clip, tmp_path / "turned.mp4", QUARTER_CLOCKWISE)
    frames = [item for item in await seen(turned, pace="fast") if isinstance(item, Frame)]
    originals = [item for item in await seen(clip, pace="fast") if isinstance(item, Frame)]
    np.testing.assert_array_equal(frames[3].image, np.rot90(originals[3].image, -1))


@pytest.mark.live
@pytest.mark.parametrize("pace", ["fast", "realtime"])
async def test_a_recording_of_two_parts_goes_on_after_the_first(
    clip: Path, tmp_path: Path, pace: str
) -> None:
    """Two streams joined byte by byte show all their pictures, one after the other, told once."""
    part = make_clip(tmp_path / "part.ts", count=25)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(part.read_bytes() * 3)
    metrics = Metrics()
    began_at = time.monotonic()
    with capture_logs() as events:
        async with watching(source(joined, metrics, pace=pace)) as viewer:
            frames = [item for item in await viewer.everything() if isinstance(item, Frame)]
    assert frames[-1].captured_at - frames[0].captured_at == pytest.approx(74 / 25, abs=0.2)
    if pace == "fast":
        assert len(frames) >= 71
        assert [f.captured_at for f in frames] == sorted(f.captured_at for f in frames)
    else:
        assert 2.5 < time.monotonic() - began_at < 6.0
    assert len([e for e in events if e["event"] == "file timestamps not believed"]) == 1
    assert value(metrics, "source_faults_total", reason="clock") == 1
    assert value(metrics, "clock_trusted") == 0


async def test_a_file_of_bare_pictures_is_played_at_its_rate(clip: Path, tmp_path: Path) -> None:
    """A stream without a container has no times at all."""
    bare = tmp_path / "bare.h264"
    with av.open(str(clip)) as container:
        video = container.streams.video[0]
        to_start_codes = BitStreamFilterContext("h264_mp4toannexb", video)
        packets = [p for read in container.demux(video) for p in to_start_codes.filter(read)]
        bare.write_bytes(b"".join(bytes(packet) for packet in packets))
    frames = [item for item in await seen(bare, pace="fast") if isinstance(item, Frame)]
    assert [f.captured_at for f in frames] == pytest.approx([n / 25 for n in range(len(frames))])
    assert len(frames) >= 49


async def test_pictures_that_are_too_large_are_refused(clip: Path) -> None:
    """The error names their size and the setting, before a picture is decoded."""
    metrics = Metrics()
    with pytest.raises(SourceError, match=r"640×360.*200000 pixels of source\.max_pixels"):
        await source(clip, metrics, max_pixels=200_000).run(LatestSlot())
    assert value(metrics, "frames_received_total") == 0


@pytest.mark.live
async def test_cancelling_ends_a_file_at_once(clip: Path) -> None:
    """A source whose reader has stopped reading can be cancelled."""
    metrics = Metrics()
    began_at = time.monotonic()
    async with watching(source(clip, metrics, pace="fast")) as viewer:
        await viewer.next()
    assert time.monotonic() - began_at < 2.0
    assert value(metrics, "source_up") == 0
