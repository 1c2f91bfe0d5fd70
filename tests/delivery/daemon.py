"""The camera's daemon as a process that can be killed, a clip to feed it, and who it posts to."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from aiohttp import web

from streamgate.models.registry import path_of
from streamgate.sources.record import write_video
from streamgate.values import Image

FRAMES_PER_SECOND = 20
_FACE_FRAMES = 5
_SIZE = 110
_SPOTS = ((10, 60), (105, 60), (200, 60))


def make_clip(path: Path, seconds: float = 15.0, *, rate: int = FRAMES_PER_SECOND) -> Path:
    """A face that is at another spot every five pictures: four tracks a second, or fewer."""
    photograph = cv2.imread(str(path_of("photo-astronaut")), cv2.IMREAD_COLOR)
    assert photograph is not None
    x, y, side = 150, 20, 190
    cut = cv2.cvtColor(photograph[y : y + side, x : x + side], cv2.COLOR_BGR2RGB)
    face = np.asarray(cv2.resize(cut, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA), np.uint8)

    def frames() -> Iterator[Image]:
        for index in range(round(seconds * rate)):
            left, top = _SPOTS[index // _FACE_FRAMES % len(_SPOTS)]
            frame = np.full((240, 320, 3), 120, np.uint8)
            frame[top : top + _SIZE, left : left + _SIZE] = face
            yield frame

    write_video(path, frames(), rate)
    return path


def write_config(path: Path, clip: Path, **delivery: Any) -> Path:
    """A camera that plays a clip for ever, as fast as it can be judged."""
    config = {
        "camera": {"name": "door"},
        "source": {"kind": "file", "path": str(clip), "pace": "fast", "loop": True},
        "tracker": {"max_gap_s": 0.1},
        "gate": {"min_quality": 0, "min_age_s": 0, "visit_s": 0},
        "web": {"enabled": False},
        "log": {"format": "json"},
        "delivery": delivery,
    }
    path.write_text(yaml.safe_dump(config))
    return path


class Daemon:
    """`streamgate run CONFIG`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it has logged so far; a line that is being written is left out."""
        whole = self._log.read_bytes().rpartition(b"\n")[0].splitlines()
        return [json.loads(line) for line in whole if line.startswith(b"{")]

    @property
    def text(self) -> str:
        return self._log.read_text()

    def has_logged(self, event: str) -> bool:
        return any(line.get("event") == event for line in self.lines)

    async def runs(self) -> None:
        """Wait until the camera runs."""
        await until(lambda: self.has_logged("camera runs") or not self.alive)
        assert self.alive, self.text[-3000:]

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def kill(self) -> None:
        """`kill -9`."""
        if self.alive:
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM; return the exit code."""
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            return await self._process.wait()


@asynccontextmanager
async def running(config: Path, **environment: str) -> AsyncIterator[Daemon]:
    log = config.with_suffix(".log")
    with log.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "streamgate", "run", str(config),
            stdout=stream, stderr=stream, env={**os.environ, **environment},
        )  # fmt: skip
    daemon = Daemon(process, log)
    try:
        yield daemon
    finally:
        await daemon.kill()


async def until(condition: Any, limit_s: float = 120.0) -> None:
    """Wait for a condition that other processes bring about."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 # other processes set no events
            await asyncio.sleep(0.05)


def decisions(log: Path) -> list[dict[str, Any]]:
    """Every line of a decision log and of the files that were put aside, oldest first."""
    asides = sorted(log.parent.glob(f"{log.name}.*"), key=lambda path: -int(path.suffix[1:]))
    files = [*asides, log] if log.exists() else asides
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def accepted(log: Path) -> set[str]:
    """Keys of the best shots that a decision log calls accepted."""
    return {
        shot["key"]
        for line in decisions(log)
        for shot in line["shots"]
        if shot["state"] == "accepted"
    }


@dataclass(frozen=True, slots=True)
class Posted:
    key: str
    metadata: bytes
    crop: bytes

    def check(self) -> None:
        """Fail unless every part is what its metadata says."""
        said = json.loads(self.metadata)
        assert said["key"] == self.key
        assert hashlib.sha256(self.crop).hexdigest() == said["crop"]["sha256"]
        picture = cv2.imdecode(np.frombuffer(self.crop, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        assert picture.shape == (112, 112, 3)


class Receiver:
    """Takes posts at a fixed port while it is up."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.posted: list[Posted] = []
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/faces"

    @property
    def keys(self) -> set[str]:
        return {posted.key for posted in self.posted}

    async def up(self) -> None:
        app = web.Application()
        app.router.add_post("/faces", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def down(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        parts = await request.post()
        metadata, crop = parts["metadata"], parts["crop"]
        assert isinstance(metadata, bytes | bytearray)
        assert isinstance(crop, web.FileField)
        key = request.headers["Idempotency-Key"]
        self.posted.append(Posted(key, bytes(metadata), crop.file.read()))
        return web.Response()
