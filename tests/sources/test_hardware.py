"""What decodes: a device where one works, else the CPU and the reason."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from av.codec.hwaccel import hwdevices_available
from structlog.testing import capture_logs

from streamgate.config.source import RtspSection
from streamgate.sources import hardware
from streamgate.sources.hardware import choose_decoder
from streamgate.sources.rtsp import RtspSource
from streamgate.telemetry.metrics import Metrics
from streamgate.values.reasons import DecoderChoice
from tests.servers.rtsp import RtspServer
from tests.sources.viewer import SystemClock, value, watching


def section(url: str = "rtsp://camera.example/1", **more: Any) -> RtspSection:
    return RtspSection(kind="rtsp", url=url, **more)


def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_device", lambda _kind: (None, "no such device"))


@pytest.mark.parametrize("wanted", ["auto", "cuda", "qsv"])
def test_without_a_device_the_cpu_decodes_and_says_why(
    wanted: Literal["auto", "cuda", "qsv"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each that was tried is named; it is a warning only where a device was asked for."""
    no_device(monkeypatch)
    metrics = Metrics()
    with capture_logs() as logged:
        RtspSource(section(decoder=wanted), metrics, SystemClock())
    (said,) = [entry for entry in logged if entry["event"] == "the CPU decodes"]
    tried = ["cuda", "qsv"] if wanted == "auto" else [wanted]
    assert said["reason"] == "; ".join(f"{kind}: no such device" for kind in tried)
    assert said["log_level"] == ("info" if wanted == "auto" else "warning")
    assert value(metrics, "decoder_info", decoder="cpu", wanted=wanted) == 1


def test_the_cpu_is_used_without_a_word_where_it_is_asked_for() -> None:
    """It is the default."""
    decoder = choose_decoder(section().decoder)
    assert (decoder.choice, decoder.acceleration, decoder.reason) == (DecoderChoice.CPU, None, "")


@pytest.mark.parametrize("kind", hardware.DEVICES)
def test_a_device_is_tried_for_real(kind: str) -> None:
    """Where there is none, this machine's own words say so, and nothing is raised."""
    acceleration, reason = hardware._device(kind)
    assert (acceleration is None) == bool(reason)


def test_a_device_that_this_build_does_not_know_is_no_device() -> None:
    """It is told apart from one that is not there."""
    assert "vdpau" not in hwdevices_available()
    assert hardware._device("vdpau") == (None, "this build of FFmpeg does not support it")


@pytest.mark.live
async def test_only_keyframes_are_decoded_where_that_is_asked_for(clip: Path) -> None:
    """By the bitstream's marks; the rest is counted. The clip's keyframes come once a second."""
    metrics = Metrics()
    with RtspServer(clip) as server:
        config = section(server.url, skip_frames="all_but_keyframes")
        async with watching(RtspSource(config, metrics, SystemClock())) as viewer:
            frames = await viewer.frames(3)
    apart = [b.captured_at - a.captured_at for a, b in pairwise(frames)]
    assert min(apart) > 0.5
    skipped = value(metrics, "frames_dropped_total", reason="skipped")
    assert skipped > 5 * len(frames)
    assert value(metrics, "frames_dropped_total", reason="corrupt") == 0
