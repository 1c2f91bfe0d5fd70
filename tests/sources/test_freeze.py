"""Colours, orientation and frozen pictures."""

from __future__ import annotations

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from streamgate.sources.convert import RgbConverter
from streamgate.sources.freeze import FreezeDetector

BT601 = (0.299, 0.114)
BT709 = (0.2126, 0.0722)
LUMA, BLUE, RED = 120, 90, 170


def as_rgb(weights: tuple[float, float], full_range: bool) -> NDArray[np.float64]:
    """The definition of BT.601 and BT.709 for one colour."""
    red_weight, blue_weight = weights
    luma, blue, red = float(LUMA), BLUE - 128.0, RED - 128.0
    if not full_range:
        luma, blue, red = (luma - 16) * 255 / 219, blue * 255 / 224, red * 255 / 224
    r = luma + 2 * (1 - red_weight) * red
    b = luma + 2 * (1 - blue_weight) * blue
    g = (luma - red_weight * r - blue_weight * b) / (1 - red_weight - blue_weight)
    return np.array([r, g, b])


@pytest.mark.parametrize(
    ("pixels", "colorspace", "color_range", "weights", "full_range"),
    [
        ("yuv420p", 1, 1, BT709, False),
        ("yuv420p", 6, 1, BT601, False),
        ("yuv420p", 1, 2, BT709, True),
        ("yuv420p", 5, 2, BT601, True),
        ("yuvj420p", 5, 2, BT601, True),
        ("yuv420p", 2, 0, BT601, False),
    ],
    ids=["709", "601", "709 full", "601 full", "jpeg", "untagged"],
)
def test_colours_follow_the_tags_of_the_stream(
    pixels: str, colorspace: int, color_range: int, weights: tuple[float, float], full_range: bool
) -> None:
    """Matrix and range are those of the definition, within two levels."""
    frame = av.VideoFrame(64, 64, pixels)
    for plane, level in zip(frame.planes, (LUMA, BLUE, RED), strict=True):
        plane.update(bytes([level]) * plane.buffer_size)
    frame.colorspace, frame.color_range = colorspace, color_range
    image = RgbConverter().image(frame)
    assert image.shape == (64, 64, 3)
    assert not image.flags.writeable
    np.testing.assert_allclose(image[20, 20], as_rgb(weights, full_range), atol=2)


def test_pictures_of_changing_size_are_converted() -> None:
    """One converter serves a stream that changes its resolution."""
    converter = RgbConverter()
    shapes = [converter.image(av.VideoFrame(w, 48, "yuv420p")).shape for w in (64, 130, 64)]
    assert shapes == [(48, 64, 3), (48, 130, 3), (48, 64, 3)]


def test_a_picture_that_does_not_change_is_frozen() -> None:
    """Time runs while the picture is the very same, and starts anew with any change."""
    watch = FreezeDetector()
    still = np.zeros((64, 64, 3), np.uint8)
    moved = still.copy()
    moved[8, 8] = 1
    assert [watch.unchanged_s(image, at) for image, at in (
        (still, 1.0), (still, 5.0), (still, 12.0), (moved, 13.0), (moved, 14.0),
    )] == [0.0, 4.0, 11.0, 0.0, 1.0]  # fmt: skip


def test_a_picture_that_is_coded_anew_is_frozen() -> None:
    """An encoder's versions of one picture come again and again; that is no new picture."""
    noise = np.random.default_rng(1)
    still = noise.integers(0, 250, (64, 64, 3), dtype=np.uint8)
    versions = [still + np.uint8(1) * (noise.random(still.shape) < 0.3) for _ in range(50)]
    watch = FreezeDetector()
    ages = [watch.unchanged_s(versions[i % 50], i / 5) for i in range(100)]
    assert ages[49] == 0.0
    assert ages[99] == pytest.approx(10.0)


def test_a_still_scene_of_a_live_camera_is_not_frozen() -> None:
    """Its keyframes are new, although the pictures between them repeat."""
    noise = np.random.default_rng(2)
    scene = noise.integers(10, 240, (64, 64, 3), dtype=np.uint8)
    watch = FreezeDetector()
    for second in range(60):
        keyframe = scene + noise.integers(0, 2, scene.shape, dtype=np.uint8)
        assert watch.unchanged_s(keyframe, second) == 0.0
        assert watch.unchanged_s(keyframe, second + 0.9) == pytest.approx(0.9)


@pytest.mark.parametrize(("level", "noise_levels"), [(-2.5, 1.0), (257.0, 0.8)])
def test_a_camera_in_the_dark_or_in_the_glare_is_not_frozen(
    level: float, noise_levels: float
) -> None:
    """Black and white take a sensor's noise away, but for a pixel here and there."""
    noise = np.random.default_rng(3)
    watch = FreezeDetector()
    for number in range(500):
        picture = np.clip(noise.normal(level, noise_levels, (360, 640, 3)), 0, 255)
        assert watch.unchanged_s(picture.round().astype(np.uint8), number / 25) < 1.0


def test_a_short_film_that_is_looped_is_not_frozen() -> None:
    """Its pictures come again, but they are not one picture."""
    pictures = [np.full((64, 64, 3), 20 * n, np.uint8) for n in range(12)]
    watch = FreezeDetector()
    assert all(watch.unchanged_s(pictures[i % 12], i / 25) == 0.0 for i in range(1000))
