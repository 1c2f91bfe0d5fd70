"""The page that publishes, and the report of a replay: fit for phones, for the dark, for all."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Literal, cast

import pytest
from aiohttp import web
from playwright.async_api import Browser

from streamgate.config import WhipSection
from streamgate.lab.replay.plots import need_plots
from streamgate.lab.replay.report import as_html
from streamgate.ports import WebRtcIngest
from streamgate.telemetry.metrics import Metrics
from streamgate.web.whip import add_whip_routes
from tests.lab.replay.tables import recording, walk
from tests.lab.replay.test_report import findings
from tests.web.parts import Stage, served
from tests.web.test_page import DESKTOP, PHONE, TABLET, browser, grave, opened, picture_folder

__all__ = ["browser"]

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def report() -> str:
    need_plots()
    name = "a-recording-with-a-rather-long-name-2026-11-28T00-00-00.mkv"
    return as_html(findings(recording({1: walk(1, 64)}, name=name), budget=True))


@pytest.mark.parametrize("name", ["publish", "report"])
async def test_they_fit_and_everybody_can_use_them(
    browser: Browser, report: str, axe: str, tmp_path: Path, name: str
) -> None:
    """Nothing overflows, the accessibility checker finds nothing grave, no other host is asked."""
    stage = Stage()
    # Nobody publishes here: the page alone is looked at.
    nobody = cast(WebRtcIngest, None)
    add_whip_routes(stage.app, nobody, WhipSection(kind="whip"), Metrics("door"))

    async def show_report(_: web.Request) -> web.Response:
        policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        headers = {"Content-Security-Policy": policy}
        return web.Response(text=report, content_type="text/html", headers=headers)

    stage.app.router.add_get("/report", show_report)
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    async with served(stage) as url:
        for scheme, size in itertools.product(schemes, (PHONE, TABLET, DESKTOP)):
            async with opened(
                browser, f"{url}/{name}", size=size, scheme=scheme, token=None
            ) as page:
                widths = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
                assert widths[0] <= widths[1], size
                ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
                levels = [int(level) for level in re.findall(r"\d+", ground)[:3]]
                assert (min(levels) > 200) == (scheme == "light"), ground
                path = picture_folder(tmp_path) / f"{name}-{size[0]}-{scheme}.png"
                await page.screenshot(path=path, full_page=True)
                assert await grave(page, axe) == [], (size, scheme)
