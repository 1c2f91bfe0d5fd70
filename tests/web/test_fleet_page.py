"""The overview of a fleet in a real browser, with answers made by hand."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.async_api import Browser, expect

from streamgate.config import WebSection
from streamgate.web.app import serve
from tests import needs
from tests.web.test_page import DESKTOP, PHONE, TABLET, browser, grave, opened, picture_folder

try:
    from streamgate.fleet.overview import overview_app
except ModuleNotFoundError:
    overview_app = None  # type: ignore[assignment] # told where it is needed

__all__ = ["browser"]

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(120)]

NAMES = ("door", "hall-of-the-northern-building-beside-the-lift", "garage")


def processes() -> list[dict[str, Any]]:
    """Cameras that are well, one that is away, one that dies again and again, and a scorer."""
    well = {
        "kind": "camera", "state": "running", "host": "192.0.2.7", "place": "north", "live": True,
        "target": "127.0.0.1:9301", "scheme": "http", "frame_age_s": 0.12, "rate": 25.0,
        "quality": 54.3, "outbox": 12, "dead_letters": 0, "alive": True, "lease": True, "starts": 2,
    }  # fmt: skip
    return [
        *({**well, "name": name} for name in NAMES),
        {"kind": "camera", "name": "roof", "state": "not placed, or its machine is away"},
        {
            "kind": "camera", "name": "cellar", "state": "crash loop", "host": "192.0.2.8",
            "detail": "cellar.yaml:3: source.url: got a word; wanted an address of a camera",
        },
        {"kind": "scorer", "name": "gpu-1", "state": "running", "address": "grpc://192.0.2.9:8001"},
    ]  # fmt: skip


@asynccontextmanager
async def overview() -> AsyncIterator[str]:
    if overview_app is None:
        needs.missing("Ray", "pip install 'streamgate[fleet]'")
    settings = WebSection(port=0)
    async with serve(overview_app(settings, "site", processes), settings) as port:
        yield f"http://127.0.0.1:{port}/"


async def test_it_fits_and_everybody_can_use_it(browser: Browser, axe: str, tmp_path: Path) -> None:
    """Nothing overflows, and the accessibility checker finds nothing grave."""
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    async with overview() as url:
        for scheme, size in itertools.product(schemes, (PHONE, TABLET, DESKTOP)):
            async with opened(browser, url, size=size, scheme=scheme, token=None) as page:
                await expect(page.locator("#rows tr")).to_have_count(6)
                widths = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
                assert widths[0] <= widths[1], size
                path = picture_folder(tmp_path) / f"fleet-{size[0]}-{scheme}.png"
                await page.screenshot(path=path, full_page=True)
                assert await grave(page, axe) == [], (size, scheme)


async def test_a_keyboard_narrows_the_list_and_keeps_its_place(browser: Browser) -> None:
    """What needs attention comes first; a link stays in focus while the figures change."""
    async with overview() as url, opened(browser, url, token=None) as page:
        await expect(page.locator("#rows tr").first).to_contain_text("cellar")
        await page.keyboard.press("Tab")
        await page.keyboard.type("north")
        await expect(page.locator("#rows tr")).to_have_count(len(NAMES))
        await page.keyboard.press("Tab")
        await page.keyboard.press("Tab")
        await expect(page.locator("#rows a").first).to_be_focused()
        async with page.expect_response("**/fleet.json"):
            pass
        await expect(page.locator("#rows a").first).to_be_focused()
        assert await page.locator("#rows a").first.get_attribute("href") == "http://127.0.0.1:9301/"
