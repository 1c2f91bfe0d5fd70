"""The overview page and service discovery, with answers made by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession

from streamgate.config import WebSection
from tests import needs

try:
    from streamgate.fleet.overview import overview_app
except Exception:  # whatever is missing, the fixture says so
    overview_app = None  # type: ignore[assignment] # told by the fixture

from streamgate.web.app import serve

pytestmark = pytest.mark.live

TOKEN = "a-token-of-the-overview"
DOOR = {
    "kind": "camera", "name": "door", "state": "running", "host": "192.0.2.7", "place": "north",
    "target": "192.0.2.7:9301", "scheme": "https", "live": True, "frame_age_s": 0.1,
}  # fmt: skip
AWAY = {"kind": "camera", "name": "hall", "state": "not placed, or its machine is away"}


class Fleet:
    def __init__(self) -> None:
        self.asked = 0

    def ask(self) -> list[dict[str, Any]]:
        self.asked += 1
        return [dict(DOOR), dict(AWAY)]


@asynccontextmanager
async def served(fleet: Fleet, **settings: Any) -> AsyncIterator[tuple[ClientSession, str]]:
    if overview_app is None:
        needs.missing("Ray", "pip install 'streamgate[fleet]'")
    web = WebSection(port=0, **settings)
    async with serve(overview_app(web, "site", fleet.ask), web) as port, ClientSession() as session:
        yield session, f"http://127.0.0.1:{port}"


async def test_prometheus_finds_the_cameras_that_answer() -> None:
    """In the form of HTTP service discovery: targets and labels; one that is away is left out."""
    async with served(Fleet()) as (session, url), session.get(f"{url}/sd") as answer:
        assert answer.content_type == "application/json"
        assert await answer.json() == [
            {
                "targets": ["192.0.2.7:9301"],
                "labels": {"__scheme__": "https", "place": "north", "host": "192.0.2.7"},
            }
        ]


async def test_many_askers_cost_one_question() -> None:
    """Within a moment the same answers serve all."""
    fleet = Fleet()
    async with served(fleet) as (session, url):
        for path in ("/fleet.json", "/sd", "/fleet.json"):
            async with session.get(url + path) as answer:
                assert answer.status == 200
    assert fleet.asked == 1


async def test_the_token_guards_everything_that_tells_something() -> None:
    """Without it the page is a login form, and the rest 401; with it all is there."""
    async with served(Fleet(), token=TOKEN) as (session, url):
        for path in ("/", "/fleet.json", "/sd", "/fleet.js"):
            async with session.get(url + path) as answer:
                assert answer.status == 401, path
                assert "192.0.2.7" not in await answer.text()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with session.get(f"{url}/fleet.json", headers=headers) as answer:
            assert [one["name"] for one in (await answer.json())["processes"]] == ["door", "hall"]
        async with session.get(f"{url}/healthz") as answer:
            assert answer.status == 200


async def test_the_page_loads_nothing_from_elsewhere() -> None:
    """A strict policy, and no address in the page but its own."""
    async with served(Fleet()) as (session, url), session.get(f"{url}/") as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        text = await answer.text()
        assert "http://" not in text
        assert "https://" not in text
        assert 'lang="en"' in text
