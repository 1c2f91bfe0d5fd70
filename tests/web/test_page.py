"""The live page in a real browser, while a real daemon follows people in a film."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, Route, expect

from streamgate.config import GateSection
from streamgate.web.app import Health
from tests.builders import scored
from tests.servers.browser import chromium
from tests.servers.daemon import Daemon
from tests.web.parts import TOKEN, Stage, served

PATIENCE_MS = 60_000
SCORED = re.compile(r"Quality of track \d+: now [\d.]+, best [\d.]+, wanted 20")
PHONE, TABLET, DESKTOP = (390, 844), (800, 1100), (1400, 900)

# How many points of the picture are not empty.
LIT = (
    "() => { const c = document.getElementById('canvas'); const all = c.getContext('2d');"
    " return all.getImageData(0, 0, c.width, c.height).data.filter((value) => value).length; }"
)

# The part of the window that is neither a card nor the head nor a margin, in a grid of points.
BARE = """() => {
  const main = document.querySelector('main').getBoundingClientRect();
  const bottom = Math.min(innerHeight, main.bottom);
  let bare = 0, all = 0;
  for (let x = 5; x < innerWidth; x += 10) for (let y = 70; y < bottom; y += 10) {
    all += 1;
    if (!document.elementFromPoint(x, y)?.closest('section')) bare += 1;
  }
  return bare / all;
}"""

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium(None) as running:
        yield running


@asynccontextmanager
async def opened(
    browser: Browser,
    url: str,
    *,
    size: tuple[int, int] = DESKTOP,
    scheme: Literal["light", "dark"] = "light",
    token: str | None = TOKEN,
    touch: bool = False,
) -> AsyncIterator[Page]:
    """Open the page, log in by the form, and see that nothing is complained of meanwhile."""
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, has_touch=touch
    )
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    hosts: set[str] = set()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        # A refused login, a frame that has passed and a reconnect are told by their status.
        lambda line: (
            complaints.append(line.text)
            if line.type in ("error", "warning")
            and "Failed to load resource" not in line.text
            # It is these tests that look into the canvas.
            and "willReadFrequently" not in line.text
            else None
        ),
    )
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    await page.goto(url)
    if token is not None:
        await page.get_by_label("Token").fill(token)
        await page.get_by_role("button", name="Show the camera").click()
    try:
        yield page
    finally:
        await context.close()
    assert complaints == []
    assert hosts == {urlsplit(url).netloc}


async def until(page: Page, expression: str, argument: str | None = None) -> None:
    """Wait until a script says so; the page's policy forbids playwright's own way of waiting."""
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while not await page.evaluate(expression, argument):  # noqa: ASYNC110 - it is the browser's
            await asyncio.sleep(0.1)


async def shown(page: Page) -> None:
    """Wait until there is a frame, a best shot with its heat map, and an event."""
    expect.set_options(timeout=PATIENCE_MS)
    await expect(page.get_by_role("status")).to_have_text("Frames arrive")
    await expect(page.locator("#shots .shot").first).to_be_visible()
    await until(
        page,
        "[...document.querySelectorAll('#shots img')].some((i) => i.complete && i.naturalWidth)",
    )
    await until(page, "document.getElementById('canvas').width > 100")


def picture_folder(tmp_path: Path) -> Path:
    """Where screenshots go; STREAMGATE_SCREENSHOTS keeps them for people to look at."""
    folder = Path(os.environ.get("STREAMGATE_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, TABLET, DESKTOP], ids=["phone", "tablet", "desktop"])
async def test_it_fits_and_everybody_can_use_it(  # noqa: PLR0917 - fixtures and two parameters
    browser: Browser,
    camera: Daemon,
    axe: str,
    tmp_path: Path,
    size: tuple[int, int],
    scheme: Literal["light", "dark"],
) -> None:
    """Nothing overflows, the accessibility checker finds nothing grave, no other host is asked."""
    async with opened(browser, camera.url, size=size, scheme=scheme) as page:
        await shown(page)
        widths = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert widths[0] <= widths[1]
        faces = await page.evaluate(
            "[...document.querySelectorAll('#shots img, #tracks img')]"
            ".filter((i) => i.offsetParent)"
            ".map((i) => i.getBoundingClientRect()).map((r) => [r.width, r.height])"
        )
        assert faces
        assert all(abs(width - height) < 1 for width, height in faces), faces
        lines = await page.evaluate(
            "[...document.querySelectorAll('#events .event')].map((e) => e.offsetHeight)"
        )
        assert lines
        assert max(lines) < 40
        name = f"{size[0]}-{scheme}.png"
        await page.screenshot(path=picture_folder(tmp_path) / name, full_page=True)
        assert await grave(page, axe) == []
        empty = await page.evaluate(BARE)
        assert size != DESKTOP or empty < 0.1, empty


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_login_form_is_fit_for_everybody(
    browser: Browser, axe: str, tmp_path: Path, scheme: Literal["light", "dark"]
) -> None:
    """A wrong token is told; the form passes the accessibility checker before and after."""
    async with (
        served(Stage(token=TOKEN)) as url,
        opened(browser, url, size=PHONE, scheme=scheme, token="not this one") as page,
    ):
        await expect(page.get_by_role("alert")).to_have_text("This is not the token.")
        await page.screenshot(path=picture_folder(tmp_path) / f"login-{scheme}.png")
        assert await grave(page, axe) == []
        assert await page.locator("canvas").count() == 0


async def test_values_change_while_one_looks(browser: Browser, camera: Daemon) -> None:
    """Frames, tracks, their quality, rejections and best shots come and go on the page."""
    async with opened(browser, camera.url) as page:
        await shown(page)
        picture = await page.evaluate("document.getElementById('canvas').toDataURL()")
        await until(
            page, "(before) => document.getElementById('canvas').toDataURL() !== before", picture
        )
        await expect(page.locator("#tracks .track").first).to_be_visible()
        chart = page.locator("#tracks svg[role=img]").first
        await expect(chart).to_have_attribute("aria-label", SCORED)
        assert await page.locator("#tracks .chart-threshold").count() > 0
        await expect(page.locator("#boxes .box span").first).to_contain_text("#")
        await expect(page.locator("#tally li").first).to_be_visible()
        await expect(page.locator("#shots").get_by_text("disk: delivered").first).to_be_visible()
        # The longer the sink is away, the rarer the attempts: the newest may not have had one.
        away = page.locator("#shots").get_by_text(re.compile("recogniser: (failing|waiting)")).first
        await expect(away).to_be_visible()
        newest = await page.locator("#events .event").first.get_attribute("data-key")
        await until(
            page,
            "(before) => document.querySelector('#events .event').dataset.key !== before",
            newest,
        )


async def test_a_hidden_or_paused_page_lets_the_stream_go(browser: Browser, camera: Daemon) -> None:
    """The camera allows one viewer: a second page is shown once the first is hidden or paused."""
    async with opened(browser, camera.url) as first, opened(browser, camera.url) as second:
        await expect(first.get_by_role("status")).to_have_text("Frames arrive")
        await expect(second.locator("#message")).to_contain_text("Too many live pages")
        await first.evaluate(
            "Object.defineProperty(document, 'hidden', { value: true, configurable: true });"
            "document.dispatchEvent(new Event('visibilitychange'))"
        )
        await expect(second.get_by_role("status")).to_have_text("Frames arrive")
        await second.get_by_role("button", name="Pause").press("Enter")
        await expect(second.get_by_role("status")).to_have_text("Paused")
        await first.evaluate(
            "delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))"
        )
        await expect(first.get_by_role("status")).to_have_text("Frames arrive")


async def test_it_is_used_by_keyboard_alone(browser: Browser, camera: Daemon) -> None:
    """Tab leads from the way past the head to its buttons and the log; each shows its focus."""
    async with opened(browser, camera.url) as page:
        await expect(page.get_by_role("status")).to_have_text("Frames arrive")
        reached = []
        await page.locator("body").press("Tab")
        for _ in range(5):
            reached.append(await page.evaluate("document.activeElement.textContent.trim()"))
            outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid", reached
            await page.keyboard.press("Tab")
        assert reached[:4] == ["Skip to the picture", "Zones", "Pause", "Log out"]


async def test_logging_out_shows_nothing_any_more(browser: Browser, camera: Daemon) -> None:
    """After the log-out the form is there again."""
    async with opened(browser, camera.url) as page:
        await page.get_by_role("button", name="Log out").click()
        await expect(page.get_by_label("Token")).to_be_visible()
        assert await page.locator("canvas").count() == 0


async def test_best_shots_are_a_table_that_is_paged(browser: Browser) -> None:
    """Eight rows at a time, the newest first; an older page stays when newer ones come."""
    stage = Stage()
    stage.view.enter()
    for track in range(1, 21):
        stage.release(track)

    async with served(stage) as url, opened(browser, url, token=None) as page:
        tracks = page.locator("#shots tr > :nth-child(3)")
        await expect(tracks).to_have_text([f"#{number}" for number in range(20, 12, -1)])
        await page.get_by_role("button", name="Older").press("Enter")
        await expect(tracks).to_have_text([f"#{number}" for number in range(12, 4, -1)])
        stage.release(21)
        await expect(page.locator("#page")).to_have_text("10 to 17 of the last 21")
        await expect(tracks).to_have_text([f"#{number}" for number in range(12, 4, -1)])
        await page.get_by_role("button", name="Older").press("Enter")
        await expect(page.get_by_role("button", name="Older")).to_be_disabled()
        for _ in range(2):
            await page.get_by_role("button", name="Newer").press("Enter")
        await page.get_by_role("button", name="Newer").press("Enter")
        await expect(tracks.first).to_have_text("#21")
        assert await page.locator("#shots-table").get_attribute("class") == "one-zone"


async def test_a_sparkline_uses_its_height(browser: Browser) -> None:
    """Qualities of 41 to 44, of which 40 are wanted, are no flat line."""
    stage = Stage()
    stage.gate = GateSection(min_quality=40)
    async with served(stage) as url, opened(browser, url, token=None) as page:
        for index, quality in enumerate((41, 44, 42)):
            stage.view.scored(scored(1, float(index), quality))
        line = page.locator("#tracks .chart-line")
        await expect(line).to_have_count(1)
        drawn = (await line.get_attribute("points") or "").split()
        heights = [float(point.split(",")[1]) for point in drawn]
        assert max(heights) - min(heights) > 20, drawn


async def test_without_leave_boxes_are_shown_and_no_picture(
    browser: Browser, axe: str, tmp_path: Path
) -> None:
    """With pictures off the page says so, asks for none, and still shows where faces are."""
    stage = Stage(show_pictures=False)
    key = stage.release(1)
    async with served(stage) as url, opened(browser, url, size=PHONE, token=None) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await expect(page.get_by_text("Pictures are off")).to_be_visible()
        stage.show(1)
        await expect(page.locator("#boxes .box")).to_have_count(1)
        assert key.startswith("door")
        await page.screenshot(path=picture_folder(tmp_path) / "no-pictures.png", full_page=True)
        assert await grave(page, axe) == []
        assert not [address for address in asked if address.endswith(".jpg")]


async def test_pictures_go_from_open_pages_when_they_are_forbidden(browser: Browser) -> None:
    """From one that looks on and from one that is paused, and nothing of them is kept."""
    stage = Stage(max_viewers=4)
    async with served(stage) as url, opened(browser, url, token=None) as looks:
        await expect(looks.locator("#shots")).to_be_attached()
        async with asyncio.timeout(20):
            while not stage.view.viewers:  # noqa: ASYNC110 - the browser connects
                await asyncio.sleep(0.05)
        stage.show(40)
        stage.release(1)
        async with opened(browser, url, token=None) as paused:
            for page in (looks, paused):
                await expect(page.locator("#shots img").first).to_be_visible()
                await expect(page.locator("#tracks img").first).to_be_visible()
                await until(page, f"({LIT})() > 0")
            await paused.get_by_role("button", name="Pause").click()
            stage.view.show_pictures(False)
            for page in (looks, paused):
                await expect(page.locator("img")).to_have_count(0, timeout=5000)
                await until(page, f"({LIT})() === 0")


async def test_behind_a_slow_network_the_newest_frame_is_shown(browser: Browser) -> None:
    """Though each answer takes longer than a frame is the newest."""
    stage = Stage()

    async def slow(route: Route) -> None:
        await asyncio.sleep(0.6)
        await route.continue_()

    async with served(stage) as url, opened(browser, url, token=None) as page:
        await page.route("**/live/frame*", slow)
        async with asyncio.timeout(40):
            index = 60
            while await page.evaluate(f"({LIT})()") == 0:
                index += 1
                stage.show(index)
                await asyncio.sleep(0.1)


async def test_why_there_is_no_picture_is_said(browser: Browser, tmp_path: Path) -> None:
    """In the words of the log, in the place of the picture; no empty card fills the screen."""
    stage = Stage()
    reason = "the camera refuses these credentials: check source.username and source.password"
    stage.health = Health("door", None, ready=False, alive=True, detail=reason)
    async with served(stage) as url, opened(browser, url, token=None) as page:
        await expect(page.locator("#placeholder")).to_contain_text("refuses these credentials")
        await expect(page.locator("#message")).to_contain_text("source.password")
        await page.screenshot(path=picture_folder(tmp_path) / "no-frame.png", full_page=True)
        cards = await page.evaluate(
            "[...document.querySelectorAll('section')].map((s) => s.offsetWidth * s.offsetHeight)"
        )
        assert max(cards) < DESKTOP[0] * DESKTOP[1] / 3


async def grave(page: Page, axe: str) -> list[str]:
    """What axe-core finds that is serious or critical, each with the elements that it means."""
    # Evaluated by the debugger, which the page's policy does not bind.
    await page.evaluate(axe)
    found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{rule['id']}: {[node['html'] for node in rule['nodes']]}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
    ]
