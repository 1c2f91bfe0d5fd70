"""Damage: what is held back, and that real decoders show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from streamgate.config.source import FileSection
from streamgate.sources.file import FileSource
from streamgate.sources.keyframe_gate import KeyframeGate
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Frame
from streamgate.values.reasons import FrameDrop
from tests.sources.clips import damaged, make_clip, number_in, picture
from tests.sources.viewer import SystemClock, value, watching

SOUND: dict[str, Any] = {"is_keyframe": False, "is_corrupt": False, "now": 0.0}
KEYFRAME: dict[str, Any] = {**SOUND, "is_keyframe": True}
CORRUPT: dict[str, Any] = {**SOUND, "is_corrupt": True}


def test_nothing_passes_before_the_first_keyframe() -> None:
    """A stream that is joined in the middle is looked at from its first keyframe on."""
    gate = KeyframeGate()
    assert gate.verdict(**SOUND) is FrameDrop.WAITING_FOR_KEYFRAME
    assert gate.verdict(**KEYFRAME) is None
    assert gate.verdict(**SOUND) is None


def test_after_damage_only_a_sound_keyframe_opens() -> None:
    """Pictures after a corrupt one, and a corrupt keyframe, are dropped."""
    gate = KeyframeGate()
    gate.verdict(**KEYFRAME)
    assert gate.verdict(**CORRUPT) is FrameDrop.CORRUPT
    assert gate.verdict(**SOUND) is FrameDrop.WAITING_FOR_KEYFRAME
    assert gate.verdict(**{**CORRUPT, "is_keyframe": True}) is FrameDrop.CORRUPT
    assert gate.verdict(**SOUND) is FrameDrop.WAITING_FOR_KEYFRAME
    assert gate.verdict(**KEYFRAME) is None


def test_the_wait_for_a_keyframe_is_known() -> None:
    """Time runs from the first damage until a sound keyframe."""
    gate = KeyframeGate()
    gate.damaged(10.0)
    gate.damaged(15.0)
    assert gate.waited_s(20.0) == 10.0
    gate.verdict(**{**KEYFRAME, "now": 21.0})
    assert gate.waited_s(30.0) == 0.0


@pytest.mark.parametrize(("slices", "pace"), [(1, "realtime"), (4, "realtime"), (4, "fast")])
async def test_no_smeared_picture_of_h264_passes(
    tmp_path: Path, slices: int, pace: Literal["realtime", "fast"]
) -> None:
    """With a packet's middle overwritten, every frame that passes is the encoder's own."""
    options = {"crf": "18", "x264-params": f"slices={slices}"}
    clip = make_clip(tmp_path / "sound.mp4", count=75, rate=100, options=options)
    source = FileSource(
        FileSection(kind="file", path=damaged(clip, tmp_path / "bad.mp4", 30), pace=pace),
        metrics := Metrics(),
        SystemClock(),
    )
    async with watching(source) as viewer:
        frames = [item for item in await viewer.everything() if isinstance(item, Frame)]
    for frame in frames:
        difference = frame.image.astype(int) - picture(number_in(frame.image))
        assert np.abs(difference).mean() < 8
    numbers = [number_in(frame.image) for frame in frames]
    assert not set(numbers) & set(range(30, 50))
    assert max(numbers) > 70
    assert value(metrics, "frames_dropped_total", reason="corrupt") >= 1
    assert value(metrics, "frames_dropped_total", reason="waiting_for_keyframe") >= 15
