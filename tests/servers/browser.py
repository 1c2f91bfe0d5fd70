"""Debian's Chromium, headless, with a camera that plays a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import cv2
from playwright.async_api import Browser, async_playwright

from streamgate.demo.scene import Scene, load_portraits
from streamgate.models.registry import path_of
from tests import needs

__all__ = ["chromium", "film_scene"]

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
)


@asynccontextmanager
async def chromium(camera: Path | None) -> AsyncIterator[Browser]:
    """Run the browser; without a film its machine has no camera."""
    program = needs.program("chromium")
    flags = [*_FLAGS]
    if camera is not None:
        flags.append("--use-fake-device-for-media-stream")
        flags.append(f"--use-file-for-fake-video-capture={camera}")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=flags)
        try:
            yield browser
        finally:
            await browser.close()


def film_scene(path: Path, seconds: float) -> Path:
    """Film the demo's two people in 1280×720 as Motion JPEG, which Chromium plays for ever."""
    photographs = {name: path_of(f"photo-{name}") for name in ("astronaut", "hopper")}
    scene = Scene(load_portraits(photographs), seconds)
    with path.open("wb") as film:
        for image in scene.frames():
            bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
            bgr = cv2.resize(bgr, (1280, 720), interpolation=cv2.INTER_CUBIC)
            film.write(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    return path
