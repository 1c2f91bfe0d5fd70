"""Zones drawn in a real browser: by mouse, touch and keyboard they are those that were meant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from playwright.async_api import Browser, Page, expect

from streamgate.config import ZoneSection
from streamgate.config.zone_text import zones_text
from streamgate.daemon.zone_file import ZoneFile
from tests.web.parts import TOKEN, Stage, served
from tests.web.test_page import DESKTOP, PHONE, browser, grave, opened, picture_folder

__all__ = ["browser"]

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(120)]

Corners = Sequence[tuple[float, float]]
TRIANGLE: Corners = [(0.2, 0.2), (0.7, 0.25), (0.4, 0.8)]
TEXT = "# the door\ncamera: {name: door}\nsource: {kind: file, path: a.mkv} # a film\n"


def zone(name: str, kind: str, points: Corners, **more: Any) -> ZoneSection:
    return ZoneSection.model_validate({"name": name, "kind": kind, "points": points, **more})


@asynccontextmanager
async def editor(
    browser: Browser,
    stage: Stage,
    *,
    size: tuple[int, int] = DESKTOP,
    scheme: Literal["light", "dark"] = "light",
    token: str | None = None,
) -> AsyncIterator[Page]:
    """Open the page and its editor."""
    async with (
        served(stage) as url,
        opened(browser, url, size=size, scheme=scheme, token=token, touch=size == PHONE) as page,
    ):
        expect.set_options(timeout=20_000)
        await expect(page.get_by_role("status").first).to_have_text("Frames arrive")
        stage.show(1)
        await page.get_by_role("button", name="Zones", exact=True).click()
        await expect(page.locator("#zone-editor")).to_be_visible()
        yield page


async def drawn(page: Page) -> list[dict[str, Any]]:
    """What the YAML beside the picture says."""
    text = await page.locator("#zone-yaml").input_value()
    zones: list[dict[str, Any]] = yaml.safe_load(text)["zones"]
    return zones


async def at(page: Page, point: tuple[float, float]) -> tuple[float, float]:
    """Where a point of the picture is in the window."""
    await page.locator("#zone-layer").scroll_into_view_if_needed()
    box = await page.locator("#zone-layer").bounding_box()
    assert box is not None
    return box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"]


def near(points: Any, wanted: Corners) -> bool:
    """Whether each is within a pixel or two of what was meant."""
    return len(points) == len(wanted) and all(
        abs(x - u) < 0.008 and abs(y - v) < 0.008
        for (x, y), (u, v) in zip(points, wanted, strict=True)
    )


async def test_by_mouse(browser: Browser) -> None:
    """Corners are set, moved, added between two others, and removed; the first one closes."""
    async with editor(browser, Stage()) as page:
        await page.get_by_role("button", name="Add a zone").click()
        for corner in TRIANGLE:
            await page.mouse.click(*await at(page, corner))
        await page.mouse.click(*await at(page, TRIANGLE[0]))
        await expect(page.get_by_role("button", name="Finish the outline")).to_be_hidden()
        await page.get_by_label("Name").fill("clock")
        (found,) = await drawn(page)
        assert (found["name"], found["kind"]) == ("clock", "ignore")
        assert near(found["points"], TRIANGLE), found

        async def drag(start: tuple[float, float], end: tuple[float, float]) -> None:
            await page.mouse.move(*await at(page, start))
            await page.mouse.down()
            await page.mouse.move(*await at(page, end), steps=4)
            await page.mouse.up()

        await drag(TRIANGLE[1], (0.8, 0.1))
        # The dot between the second and the third corner.
        await drag(((0.8 + 0.4) / 2, (0.1 + 0.8) / 2), (0.9, 0.6))
        # Beyond the edge of the picture there is nothing.
        await drag(TRIANGLE[0], (-0.01, 0.2))
        (found,) = await drawn(page)
        assert near(found["points"], [(0, 0.2), (0.8, 0.1), (0.9, 0.6), (0.4, 0.8)]), found
        await page.get_by_label("Kind").select_option("watch")
        await page.get_by_label("Least quality").fill("42.5")
        await page.get_by_label("Least size").fill("60")
        (found,) = await drawn(page)
        assert (found["min_quality"], found["min_size_px"]) == (42.5, 60)
        await page.get_by_role("button", name="Remove the zone").click()
        assert await drawn(page) == []


async def test_by_touch(browser: Browser) -> None:
    """On a phone corners are tapped and dragged, and the page does not scroll meanwhile."""
    async with editor(browser, Stage(), size=PHONE) as page:
        await page.get_by_role("button", name="Add a zone").tap()
        for corner in TRIANGLE:
            await page.touchscreen.tap(*await at(page, corner))
        await page.touchscreen.tap(*await at(page, TRIANGLE[0]))
        await expect(page.get_by_role("button", name="Finish the outline")).to_be_hidden()
        (x, y), (u, v) = await at(page, TRIANGLE[2]), await at(page, (0.3, 0.5))
        finger = await page.context.new_cdp_session(page)
        scrolled = await page.evaluate("scrollY")

        async def touch(kind: str, *places: tuple[float, float]) -> None:
            points = [{"x": across, "y": down} for across, down in places]
            await finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        await touch("touchStart", (x, y))
        await touch("touchMove", ((x + u) / 2, (y + v) / 2))
        await touch("touchMove", (u, v))
        await touch("touchEnd")
        assert await page.evaluate("scrollY") == scrolled
        (found,) = await drawn(page)
        assert near(found["points"], [*TRIANGLE[:2], (0.3, 0.5)]), found
        dot = ((TRIANGLE[0][0] + 0.3) / 2, (TRIANGLE[0][1] + 0.5) / 2)
        await page.touchscreen.tap(*await at(page, dot))
        assert len((await drawn(page))[0]["points"]) == 4
        await page.touchscreen.tap(*await at(page, TRIANGLE[0]))
        await page.get_by_role("button", name="Remove the corner").tap()
        (found,) = await drawn(page)
        assert near(found["points"], [TRIANGLE[1], (0.3, 0.5), dot]), found


async def test_by_keyboard(browser: Browser) -> None:
    """The arrow keys lead to exact places; every change that a mouse makes can be made."""
    async with editor(browser, Stage()) as page:
        await page.get_by_role("button", name="Add a zone").press("Enter")
        layer = page.locator("#zone-layer")
        # From the middle: Shift is five parts of a hundred, an arrow one, Ctrl a tenth of one.
        for keys in (
            ["Shift+ArrowLeft"] * 4 + ["Shift+ArrowUp"] * 4,
            ["Shift+ArrowRight"] * 8 + ["Control+ArrowDown"] * 3,
            ["ArrowLeft"] * 2 + ["Shift+ArrowDown"] * 8,
        ):
            for key in keys:
                await layer.press(key)
            await layer.press("Enter")
        await layer.press("Escape")
        await expect(page.get_by_role("button", name="Finish the outline")).to_be_hidden()
        (found,) = await drawn(page)
        assert found["points"] == [[0.3, 0.3], [0.7, 0.303], [0.68, 0.703]]

        corner = page.get_by_role("button", name="Corner 2 of")
        await corner.press("ArrowUp")
        await corner.press("+")
        focused = await page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert focused == "Corner 3 of 4: 69 % across, 49.8 % down"
        await page.keyboard.press("ArrowRight")
        (found,) = await drawn(page)
        assert found["points"] == [[0.3, 0.3], [0.7, 0.293], [0.7, 0.498], [0.68, 0.703]]
        await page.get_by_role("button", name="Corner 1 of").press("Delete")
        (found,) = await drawn(page)
        assert found["points"] == [[0.7, 0.293], [0.7, 0.498], [0.68, 0.703]]
        await page.locator("#zone-copy").press("Enter")
        await expect(page.locator("#zone-told")).not_to_be_empty()
        await page.locator("#zone-close").focus()
        page.once("dialog", lambda asked: asked.accept())
        await page.keyboard.press("Enter")
        await expect(page.locator("#zone-editor")).to_be_hidden()
        assert await page.evaluate("document.activeElement.id") == "edit-zones"


async def test_faults_are_told_in_words_and_not_saved(browser: Browser, tmp_path: Path) -> None:
    """As `check` tells them; once they are mended, the zones are saved where they belong."""
    path = tmp_path / "camera.yaml"
    path.write_text(TEXT)
    zones = [zone("hall", "watch", [(0, 0), (0.5, 0), (0.5, 1), (0, 1)], min_quality=41)]

    async def reload() -> str:
        return "applied"

    stage = Stage(token=TOKEN, zones=zones, store=ZoneFile(path, reload))
    async with editor(browser, stage, token=TOKEN) as page:
        assert await page.locator("#zone-yaml").input_value() == zones_text(zones)
        await page.get_by_role("button", name="Add a zone").click()
        for corner in TRIANGLE:
            await page.mouse.click(*await at(page, corner))
        await page.get_by_role("button", name="Finish the outline").click()
        await page.get_by_label("Kind").select_option("watch")
        faults = page.locator("#zone-faults")
        await expect(faults).to_contain_text("a watch zone that overlaps 'hall'")
        await expect(page.get_by_role("button", name="Save")).to_be_disabled()
        await page.get_by_label("Name").fill("Hall!")
        await expect(faults).to_contain_text("Hall!, name: 'Hall!'")
        await page.get_by_label("Name").fill("door")
        await page.get_by_role("button", name="hall", exact=True).click()
        await page.get_by_role("button", name="Remove the zone").click()
        await expect(faults).to_be_empty()
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#zone-told")).to_contain_text("Saved.")
        written = await page.locator("#zone-yaml").input_value()
        assert path.read_text() == f"{TEXT}\n{written}" or stage.zones == tuple(zones)
        assert path.read_text().startswith(TEXT)
        assert near(yaml.safe_load(path.read_text())["zones"][0]["points"], TRIANGLE)

        path.write_text(TEXT + "# by somebody else\n")
        await page.get_by_label("Name").fill("gate")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#zone-told")).to_contain_text("Not saved: the camera's file was")
        assert path.read_text() == TEXT + "# by somebody else\n"


async def test_without_a_token_nothing_is_saved(browser: Browser, tmp_path: Path) -> None:
    """The page says why, and offers the YAML."""
    path = tmp_path / "camera.yaml"
    path.write_text(TEXT)

    async def reload() -> str:
        return "applied"

    async with editor(browser, Stage(store=ZoneFile(path, reload))) as page:
        await expect(page.locator("#zone-why-not")).to_contain_text("Saving needs web.token")
        await expect(page.get_by_role("button", name="Save")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
async def test_it_is_fit_for_everybody(
    browser: Browser,
    axe: str,
    tmp_path: Path,
    size: tuple[int, int],
    scheme: Literal["light", "dark"],
) -> None:  # fmt: skip
    """The accessibility checker finds nothing grave, and nothing overflows."""
    zones = [zone("hall", "watch", TRIANGLE), zone("clock", "ignore", [(0, 0), (0.1, 0), (0, 0.1)])]
    async with editor(browser, Stage(zones=zones), size=size, scheme=scheme) as page:
        widths = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert widths[0] <= widths[1]
        name = f"editor-{size[0]}-{scheme}.png"
        await page.screenshot(path=picture_folder(tmp_path) / name, full_page=True)
        assert await grave(page, axe) == []
