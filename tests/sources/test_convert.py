"""Square pixels: any aspect ratio, tagged or by the setting, and its changes in mid-stream."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from streamgate.sources.convert import RgbConverter, VideoPixels, square_size
from streamgate.values import Frame
from tests.sources.clips import picture
from tests.sources.test_file import seen

WIDE = 640, 360
MOST = 7680 * 4320
ASPECTS = [Fraction(2), Fraction(16, 15), Fraction(40, 33), Fraction(1, 2)]


def squeezed(path: Path, *aspects: Fraction, tagged: bool = True, codec: str = "libx264") -> Path:
    """Encode a scene with pixels of these shapes in turn; shown right, each is 640×360."""
    with av.open(str(path), "w", format="h264" if path.suffix == ".h264" else None) as container:
        stream: VideoStream | None = None
        for aspect in aspects:
            size = (round(WIDE[0] / aspect), WIDE[1])
            part = av.CodecContext.create(codec, "w")
            assert isinstance(part, av.VideoCodecContext)
            part.width, part.height = size
            part.pix_fmt, part.time_base, part.max_b_frames = "yuv420p", Fraction(1, 25), 0
            if tagged:
                part.sample_aspect_ratio = aspect
            if stream is None:
                added = container.add_stream(codec, rate=25)
                assert isinstance(added, VideoStream)
                stream = added
                stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
                if tagged:
                    stream.codec_context.sample_aspect_ratio = aspect
            for number in range(10):
                shown = av.VideoFrame.from_ndarray(picture(number, *WIDE), format="rgb24")
                frame = shown.reformat(*size, format="yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                for packet in part.encode(frame):
                    packet.stream = stream
                    container.mux(packet)
            for packet in part.encode(None):
                packet.stream = stream
                container.mux(packet)
    return path


async def shown(path: Path, **settings: object) -> list[Frame]:
    return [item for item in await seen(path, pace="fast", **settings) if isinstance(item, Frame)]


@pytest.mark.parametrize(
    "aspect", [Fraction(2), Fraction(16, 15), Fraction(40, 33), Fraction(1, 2)]
)
@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".h264"])
async def test_tagged_pixels_become_square(tmp_path: Path, aspect: Fraction, suffix: str) -> None:
    """The scene is shown as it was, whatever shape its pixels have and wherever that is tagged."""
    frames = await shown(squeezed(tmp_path / f"clip{suffix}", aspect))
    height, width, _ = frames[0].image.shape
    assert width / height == pytest.approx(16 / 9, rel=0.01)
    assert min(width / WIDE[0], height / WIDE[1]) > 0.99
    if (width, height) == WIDE:
        assert np.abs(frames[0].image.astype(int) - picture(0, *WIDE)).mean() < 12


async def test_the_setting_tells_what_a_device_does_not(tmp_path: Path) -> None:
    """An untagged stream is square by itself, and what the setting says with it."""
    clip = squeezed(tmp_path / "clip.mkv", Fraction(4, 3), tagged=False)
    assert (await shown(clip))[0].image.shape == (360, 480, 3)
    assert (await shown(clip, pixel_aspect="4:3"))[0].image.shape == (360, 640, 3)


async def test_the_shape_may_change_in_mid_stream(tmp_path: Path) -> None:
    """A recorder that switches to another camera says so in the bitstream alone."""
    frames = await shown(squeezed(tmp_path / "clip.h264", Fraction(2), Fraction(4, 3), Fraction(1)))
    assert [frame.image.shape[:2] for frame in frames] == [(360, 640)] * 30


def test_no_detail_is_lost_unless_the_picture_grew_too_large() -> None:
    """Wide pixels widen a picture, tall ones heighten it; at the limit the other way round."""
    assert square_size(720, 576, Fraction(16, 15), MOST) == (768, 576)
    assert square_size(1920, 540, Fraction(1, 2), MOST) == (1920, 1080)
    assert square_size(4000, 4000, 2.0, MOST) == (8000, 4000)
    assert square_size(4000, 4000, 2.0, 16_000_000) == (4000, 2000)


@pytest.mark.parametrize("aspect", [None, 0, 1, Fraction(0), Fraction(1, 100), Fraction(400)])
def test_no_aspect_and_absurd_ones_are_square(aspect: Fraction | float | None) -> None:
    """A tag that cannot be is none."""
    assert square_size(640, 360, aspect, MOST) == (640, 360)
    converted = RgbConverter().image(av.VideoFrame(64, 48, "yuv420p"), aspect)
    assert converted.shape == (48, 64, 3)


async def test_a_sample_shows_what_the_picture_shows(tmp_path: Path) -> None:
    """One pixel of eight in each direction, alike in colour up to the rounding of chroma."""
    frame = (await shown(squeezed(tmp_path / "clip.mkv", Fraction(1))))[0]
    assert isinstance(frame.pixels, VideoPixels)
    few = frame.pixels.sampled(8)
    near = frame.image[: 8 * few.shape[0], : 8 * few.shape[1]].astype(np.int16)
    blocks = near.reshape(few.shape[0], 8, few.shape[1], 8, 3)
    assert few.shape == (45, 80, 3)
    below, above = blocks.min((1, 3)) - 8, blocks.max((1, 3)) + 8
    assert float(((few >= below) & (few <= above)).mean()) > 0.99
