"""Debian's Chromium opens /publish of a real daemon; best shots come out.

STREAMGATE_SCREENSHOTS names a folder in which to leave pictures of the page, for people to see.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, ViewportSize

from tests.servers.browser import chromium, film_scene
from tests.servers.daemon import Daemon

pytestmark = [pytest.mark.live, pytest.mark.slow]

TOKEN = "s3cret-of-the-door"
PATIENCE_S = 90.0
DESKTOP = ViewportSize(width=1000, height=860)
PHONE = ViewportSize(width=390, height=844)


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of two people in a room."""
    return film_scene(tmp_path_factory.mktemp("film") / "scene.mjpeg", seconds=6.0)


@asynccontextmanager
async def page_of(
    daemon: Daemon, browser: Browser, token: str = TOKEN
) -> AsyncIterator[tuple[Page, list[str]]]:
    """Open the page; what the browser complains of is collected."""
    complaints: list[str] = []
    context = await browser.new_context(viewport=DESKTOP)
    page = await context.new_page()
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(f"{daemon.url}/publish#token={token}")
    yield page, complaints
    await context.close()


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for what a process brings about."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while not await asyncio.to_thread(holds):
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.2)


async def state(page: Page, wanted: str) -> None:
    await page.wait_for_selector(f"#state[data-state={wanted}]", timeout=PATIENCE_S * 1000)


async def picture(page: Page, name: str) -> None:
    folder = os.environ.get("STREAMGATE_SCREENSHOTS")
    if folder:
        await page.screenshot(path=Path(folder) / f"{name}.png")


async def fits(page: Page) -> bool:
    """Whether nothing sticks out to the side."""
    return bool(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_a_browser_publishes_and_best_shots_come_out(
    film: Path, tmp_path: Path, codec: str
) -> None:
    """Both codecs: preview, state and figures are shown; a larger picture is taken on the way."""
    with Daemon(tmp_path, {"kind": "whip", "token": TOKEN}) as daemon:
        async with chromium(film) as browser, page_of(daemon, browser) as (page, complaints):
            await page.select_option("#resolution", "640x360")
            await page.select_option("#codec", codec)
            await page.click("#start")
            await state(page, "live")
            await until(lambda: len(daemon.shots()) >= 1, "a best shot")
            assert await page.evaluate("document.getElementById('preview').videoWidth") == 640
            assert "Mbit/s" in await page.inner_text("#bitrate")
            assert "640×360" in await page.inner_text("#picture")
            assert await page.inner_text("#sent-codec") == codec
            await picture(page, f"publish-{codec}-desktop")

            await page.select_option("#resolution", "1280x720")
            await page.wait_for_selector("#picture:has-text('1280×720')")
            # A face of the larger picture is larger than any of the smaller one.
            await until(lambda: max(s["face"]["size_px"] for s in daemon.shots()) > 130, "larger")
            assert await fits(page)
            await page.set_viewport_size(PHONE)
            assert await fits(page)
            await picture(page, f"publish-{codec}-phone")

            await page.click("#stop")
            await until(lambda: daemon.metric("webrtc_state", state="waiting") == 1, "waiting")
            assert await page.inner_text("#state") == "Stopped"
            assert daemon.metric("webrtc_decode_errors_total", codec=codec) == 0
            assert daemon.metric("source_connects_total") == 1
            assert daemon.metric("webrtc_received_bytes_total") > 0
        # Browsers log each refused request, such as a candidate that comes after its session's end.
        assert [text for text in complaints if "404" not in text] == []
        assert daemon.metric("frame_age_seconds_bucket", le="1.0") == daemon.metric(
            "frame_age_seconds_count"
        )
        assert daemon.stop() in {0, 1}
        assert TOKEN not in daemon.log


async def test_the_page_says_what_is_wrong(film: Path, tmp_path: Path) -> None:
    """Every failure that a person can meet is told in words, and publishing works after it."""
    with Daemon(tmp_path, {"kind": "whip", "token": TOKEN}) as daemon:
        async with chromium(None) as browser, page_of(daemon, browser) as (page, _):
            await page.click("#start")
            await state(page, "failed")
            assert "No camera was found" in await page.inner_text("#message")
        async with (
            chromium(film) as browser,
            page_of(daemon, browser, token="wrong") as (page, _),
        ):
            await page.select_option("#resolution", "640x360")
            await page.click("#start")
            await state(page, "failed")
            assert "The token is missing or wrong" in await page.inner_text("#message")
            await picture(page, "publish-refused")
            await page.fill("#token", TOKEN)
            await page.click("#start")
            await state(page, "live")
            async with page_of(daemon, browser) as (second, _):
                await second.select_option("#resolution", "640x360")
                await second.click("#start")
                await state(second, "failed")
                assert "Another publisher is connected" in await second.inner_text("#message")
            daemon.stop()
            await page.wait_for_selector("#message:has-text('Trying again')")
            await picture(page, "publish-reconnecting")
            await page.click("#stop")
            await state(page, "idle")
