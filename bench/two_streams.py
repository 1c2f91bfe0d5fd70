"""What reading a camera costs with two streams: the CPU time of its source, without detection.

    python -m bench.two_streams [--seconds 20] [--out two-streams.json]

Streams are made beforehand and sent by another process without encoding, as a camera would. Four
cases: the substream alone, both while nobody is there, both while somebody is looked at eight times
a second, and the main stream alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from streamgate.config.source import RtspSection
from streamgate.pipeline import SystemClock
from streamgate.pipeline.slot import LatestSlot
from streamgate.ports import FrameSource
from streamgate.sources.live import LiveCamera, LiveSource
from streamgate.sources.opening import Opening
from streamgate.sources.two_streams import TwoStreamSource
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Discontinuity

_RATE = 25
_SUB = (640, 360)
_MAINS = {"1080p": (1920, 1080), "4K": (3840, 2160)}
_ASKS_PER_S = 8.0
_CONFIG = RtspSection(kind="rtsp", url="rtsp://bench/1", detect_url="rtsp://bench/2")


def _film(path: Path, size: tuple[int, int]) -> Path:
    """Two seconds of noise and motion, which begin with a keyframe."""
    width, height = size
    noise = np.random.default_rng(0).integers(0, 40, (height, width, 3), np.uint8)
    across = np.linspace(0, 200, width, dtype=np.uint8)[None, :, None]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_RATE, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 2 * _RATE, 0
        stream.bit_rate = width * height * 2
        stream.time_base = Fraction(1, _RATE)
        for number in range(2 * _RATE):
            image = across + np.roll(noise, 4 * number, axis=1)
            left = (number * width // 120) % (width - width // 6)
            image[height // 3 : 2 * height // 3, left : left + width // 6] //= 2
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


class _Sender:
    """Sends a film over TCP again and again, in real time."""

    def __init__(self, film: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self._process = subprocess.Popen(  # noqa: S603 - its own words alone
            ["ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", film, "-c", "copy",  # noqa: S607
             "-f", "mpegts", f"{self.address}?listen=1"],
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def camera(self) -> LiveCamera:
        return LiveCamera(
            address=self.address,
            opening=lambda: Opening(self.address, container_format="mpegts", open_timeout_s=20,
                                    read_timeout_s=10),
            encrypted=False,
            reconnect=_CONFIG.reconnect,
            pictures=_CONFIG,
        )  # fmt: skip

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


async def _cost(source: FrameSource, seconds: float, *, asks: bool) -> tuple[float, dict[str, int]]:
    """CPU seconds a second, and what came of the questions."""
    slot = LatestSlot()
    running = asyncio.create_task(source.run(slot))
    outcomes: dict[str, int] = {}
    began: tuple[float, float] | None = None
    asked_at = 0.0
    try:
        async for item in slot.frames():
            now = time.monotonic()
            if isinstance(item, Discontinuity):
                continue
            if began is None:
                # What an opening costs is not of interest.
                began = (now + 4.0, 0.0)
            elif began[1] == 0.0 and now > began[0]:
                began = (now, time.process_time())
            elif began[1] and now - began[0] > seconds:
                break
            if asks and item.detail is not None and now - asked_at > 1 / _ASKS_PER_S:
                asked_at = now
                picture = await asyncio.to_thread(item.detail.picture)
                if picture is not None:
                    await asyncio.to_thread(picture.window, 300, 200, 500, 400)
                name = "picture" if picture is not None else "late or away"
                outcomes[name] = outcomes.get(name, 0) + 1
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert began is not None
    return (time.process_time() - began[1]) / (time.monotonic() - began[0]), outcomes


def _measure(
    films: list[Path], make: Callable[[list[LiveCamera]], FrameSource], seconds: float, *,
    asks: bool = False,
) -> dict[str, object]:  # fmt: skip
    senders = [_Sender(film) for film in films]
    try:
        time.sleep(1.0)
        cost, outcomes = asyncio.run(
            _cost(make([sender.camera() for sender in senders]), seconds, asks=asks)
        )
    finally:
        for sender in senders:
            sender.stop()
    result = {"cpu_share": round(cost, 4), **outcomes}
    print([film.stem for film in films], asks, result, flush=True)  # noqa: T201
    return result


def main() -> None:
    """Measure, and print or write the result."""
    parser = argparse.ArgumentParser(prog="python -m bench.two_streams", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    seconds: float = arguments.seconds
    results: dict[str, object] = {}

    def alone(cameras: list[LiveCamera]) -> FrameSource:
        return LiveSource(cameras[0], Metrics(), SystemClock())

    def both(cameras: list[LiveCamera]) -> FrameSource:
        return TwoStreamSource(_CONFIG, cameras[0], cameras[1], Metrics(), SystemClock())

    with tempfile.TemporaryDirectory() as folder:
        sub = _film(Path(folder) / "sub.mp4", _SUB)
        results["substream alone"] = _measure([sub], alone, seconds)
        for name, size in _MAINS.items():
            film = _film(Path(folder) / f"{name}.mp4", size)
            results[f"{name}: both, nobody there"] = _measure([sub, film], both, seconds)
            results[f"{name}: both, somebody there"] = _measure(
                [sub, film], both, seconds, asks=True
            )
            results[f"{name}: main stream alone"] = _measure([film], alone, seconds)
    text = json.dumps(results, indent=1)
    print(text)  # noqa: T201
    if arguments.out is not None:
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
