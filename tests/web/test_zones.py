"""What the routes of the zone editor take, and from whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest

from streamgate.config import ZoneSection
from streamgate.errors import ConfigError
from streamgate.web.zones import FileChangedError
from tests.web.parts import TOKEN, Stage, served

CLOCK = {"name": "clock", "kind": "ignore", "points": [[0, 0], [0.5, 0], [0.5, 0.5]]}
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Store:
    """Keeps zones in memory; fails as it is told."""

    def __init__(self, error: Exception | None = None, outcome: str = "applied") -> None:
        self.error = error
        self.outcome = outcome
        self.kept: tuple[ZoneSection, ...] | None = None

    async def version(self) -> str | None:
        return "v1"

    async def save(self, zones: Sequence[ZoneSection], version: str) -> str:
        if self.error is not None:
            raise self.error
        if version != "v1":
            raise FileChangedError
        self.kept = tuple(zones)
        return self.outcome


async def ask(
    stage: Stage, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    async with asyncio.timeout(20), served(stage) as url, aiohttp.ClientSession() as client:
        sent = {"json": body} if body is not None else {}
        method = client.post if body is not None else client.get
        async with method(url + path, headers=headers or {}, **sent) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            is_json = answer.content_type == "application/json"
            return answer.status, await (answer.json() if is_json else answer.text())


async def test_who_has_the_token_saves() -> None:
    """The zones are kept and taken into use; an older version is not the file any more."""
    store = Store()
    stage = Stage(token=TOKEN, store=store)
    body = {"zones": [CLOCK], "version": "v1"}
    assert await ask(stage, "/live/zones", body, BEARER) == (200, {"outcome": "applied"})
    assert store.kept == (ZoneSection.model_validate(CLOCK),)
    status, told = await ask(Stage(token=TOKEN, store=store), "/live/zones",
                             {**body, "version": "v0"}, BEARER)  # fmt: skip
    assert (status, "was changed meanwhile" in told["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 401), ({**BEARER, "Origin": "https://example.org"}, 403), (BEARER, 200)],
)
async def test_pages_of_others_save_nothing(headers: dict[str, str], status: int) -> None:
    """Neither who has no token, nor a foreign page in the browser of one who has it."""
    store = Store()
    body = {"zones": [CLOCK], "version": "v1"}
    found, _ = await ask(Stage(token=TOKEN, store=store), "/live/zones", body, headers)
    assert found == status
    assert (store.kept is not None) == (status == 200)


async def test_without_a_token_nothing_is_saved() -> None:
    """Also on this machine, where the page is open to every user and program."""
    store = Store()
    status, _ = await ask(Stage(store=store), "/live/zones", {"zones": [], "version": "v1"})
    assert (status, store.kept) == (403, None)
    status, told = await ask(Stage(store=store), "/live/zones")
    assert (status, told["zones"], "web.token" in told["why_not"]) == (200, [], True)


@pytest.mark.parametrize(
    ("error", "outcome", "told"),
    [
        (ConfigError("door.yaml:3: gate.min_quality: got 400"), "", "got 400"),
        (ConfigError("rtsp://viewer:secret-of-it@door/1 cannot be read"), "", "[redacted]"),
        (None, "refused", "not taken into use"),
    ],
)
async def test_what_goes_wrong_is_told_without_secrets(
    error: Exception | None, outcome: str, told: str
) -> None:
    """In the words of the file, of the disk, or of the reload."""
    stage = Stage(token=TOKEN, store=Store(error, outcome))
    body = {"zones": [CLOCK], "version": "v1"}
    status, answer = await ask(stage, "/live/zones", body, BEARER)
    assert status == 422
    assert told in answer["detail"]
    assert "secret-of-it" not in answer["detail"]


async def test_zones_are_judged_as_the_file_would_be() -> None:
    """Each fault with its place, what was found and what is wanted."""
    status, told = await ask(Stage(), "/live/zones/check", {"zones": [{**CLOCK, "name": "A"}]})
    assert status == 200
    (fault,) = told["faults"]
    assert (fault["place"], fault["got"]) == ("zones[0].name", "'A'")


async def test_bodies_are_bounded_and_of_one_kind() -> None:
    """64 KiB of JSON at most; what a form can send is none."""
    status, _ = await ask(Stage(), "/live/zones/check", {"zones": ["x" * 70_000]})
    assert status == 413
    async with served(Stage()) as url, aiohttp.ClientSession() as client:
        for data, kind, wanted in (("{", "application/json", 400), ("{}", "text/plain", 415)):
            address = url + "/live/zones/check"
            async with client.post(address, data=data, headers={"Content-Type": kind}) as answer:
                assert answer.status == wanted
