"""Who may look at the live page, asked over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import ValidationError

from streamgate.config import WebSection
from streamgate.web.auth import Guard
from streamgate.web.hosts import Hosts, certificate_names
from tests.servers.tls import Authority
from tests.web.parts import TOKEN, Stage, served

# These tell nothing of what the camera sees, or are the way in.
OPEN = {
    "/metrics", "/healthz", "/readyz", "/live.css", "/favicon.ico", "/login", "/logout",
}  # fmt: skip


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


def addresses(app: web.Application) -> list[str]:
    """An address for each route that may be read."""
    found = []
    for route in app.router.routes():
        info = route.resource.get_info() if route.resource is not None else {}
        address = str(info.get("path") or info.get("formatter"))
        if route.method == "GET":
            found.append(address.format(index=1, track=1, key="door-b00t-1-1"))
    return found


async def test_without_the_token_nothing_is_shown(client: aiohttp.ClientSession) -> None:
    """Every route but those that tell nothing refuses, and what it answers shows nothing."""
    stage = Stage(token=TOKEN)
    key = stage.release()
    async with served(stage) as url:
        refused = [address for address in addresses(stage.app) if address not in OPEN]
        assert f"/live/shot/{key}.jpg" in refused
        assert {"/", "/live.js", "/live/events"} <= set(refused)
        for address in refused:
            async with client.get(url + address) as answer:
                body = await answer.text()
                assert answer.status == 401, address
                assert key not in body
                assert TOKEN not in body
                assert "no-store" in answer.headers["Cache-Control"]


async def test_a_bearer_token_opens_every_route(client: aiohttp.ClientSession) -> None:
    """With the token in the Authorization header each route answers."""
    stage = Stage(token=TOKEN)
    stage.view.enter()
    stage.release()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with served(stage) as url:
        for address in ("/", "/live.js", "/live/shot/door-b00t-1-1.jpg", "/live/events"):
            async with client.get(url + address, headers=headers) as answer:
                assert answer.status == 200, address
        for wrong in ("Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "é"):
            async with client.get(url + "/live.js", headers={"Authorization": wrong}) as answer:
                assert answer.status == 401, wrong


async def test_the_form_gives_a_cookie_that_is_not_the_token(
    client: aiohttp.ClientSession,
) -> None:
    """A login gives a cookie that no script and no other site can use; logging out ends it."""
    stage = Stage(token=TOKEN)
    async with served(stage) as url:
        async with client.get(url + "/") as answer:
            assert answer.status == 401
            assert 'type="password"' in await answer.text()
        async with client.post(
            url + "/login", data={"token": TOKEN}, allow_redirects=False
        ) as answer:
            assert answer.status == 303
            cookie = answer.cookies["streamgate_door"]
        assert cookie["httponly"]
        assert cookie["samesite"] == "Strict"
        assert TOKEN not in cookie.value
        async with client.get(url + "/") as answer:
            assert answer.status == 200
        async with client.post(url + "/logout"):
            pass
        async with client.get(url + "/live.js") as answer:
            assert answer.status == 401


async def test_a_wrong_token_is_told_and_guessing_is_slowed(
    client: aiohttp.ClientSession,
) -> None:
    """The form comes back with a message that does not show the guess; two at once are too many."""
    stage = Stage(token=TOKEN)
    async with served(stage) as url:
        async with client.post(url + "/login", data={"token": "<b>guess"}) as answer:
            body = await answer.text()
            assert answer.status == 401
            assert 'role="alert"' in body
            assert "guess" not in body
        async with stage.guard._penalty, client.post(url + "/login", data={"token": "x"}) as answer:
            assert answer.status == 429


@pytest.mark.parametrize("case", ["expired", "forged", "other camera", "other token", "nonsense"])
async def test_a_cookie_is_worth_nothing_elsewhere(
    client: aiohttp.ClientSession, case: str
) -> None:
    """A cookie ends with its time and holds for one camera and one token."""
    wall = 1_000_000.0 if case == "expired" else 4_000_000_000.0
    token = "another token, long enough" if case == "other token" else TOKEN
    name = "back" if case == "other camera" else "door"
    other = Guard(WebSection.model_validate({"token": token}), name, wall=lambda: wall)
    expires = int(wall)
    value = f"{expires}.{other._signature(expires)}"
    if case == "forged":
        value = f"{expires + 1}.{other._signature(expires)}"
    if case == "nonsense":
        value = "²." + "0" * 64
    async with served(Stage(token=TOKEN)) as url:
        headers = {"Cookie": f"streamgate_door={value}"}
        async with client.get(url + "/live.js", headers=headers) as answer:
            assert answer.status == 401


async def test_without_a_token_only_this_machines_names_are_answered(
    client: aiohttp.ClientSession,
) -> None:
    """A page whose name was pointed at this machine gets nothing."""
    async with served(Stage()) as url:
        for host, status in [
            ("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:80", 200),
            ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("", 403),
        ]:  # fmt: skip
            async with client.get(url + "/", headers={"Host": host}) as answer:
                assert answer.status == status, host


@pytest.mark.parametrize("protect", [False, True])
async def test_metrics_ask_for_the_token_where_they_are_told_to(
    client: aiohttp.ClientSession, protect: bool
) -> None:
    """Scraping stays possible either way, and health never asks."""
    async with served(Stage(token=TOKEN, protect_metrics=protect)) as url:
        async with client.get(url + "/metrics") as answer:
            assert answer.status == (401 if protect else 200)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        for address in ("/metrics", "/healthz", "/readyz"):
            async with client.get(url + address, headers=headers) as answer:
                assert answer.status == 200
        async with client.get(url + "/healthz") as answer:
            assert answer.status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "camera.example", ""])
def test_off_loopback_the_page_needs_a_token(host: str) -> None:
    """The configuration is refused, and says both ways out."""
    with pytest.raises(ValidationError, match=r"web\.token.*live_page: false"):
        WebSection.model_validate({"host": host})
    assert WebSection.model_validate({"host": host, "live_page": False}).token is None
    assert WebSection.model_validate({"host": host, "token": TOKEN}).live_page
    for local in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert WebSection.model_validate({"host": local}).is_local


def test_a_short_token_is_refused() -> None:
    """A token that could be guessed is none."""
    with pytest.raises(ValidationError, match="16 characters"):
        WebSection.model_validate({"token": "short"})


@pytest.mark.parametrize(
    "address", ["/metrics", "/healthz", "/readyz", "/live.css", "/", "/nowhere"]
)
async def test_a_name_that_anybody_may_have_is_answered_nothing(
    client: aiohttp.ClientSession, address: str
) -> None:
    """With a token or without, on every route; the token makes any name good."""
    for stage in (Stage(), Stage(token=TOKEN)):
        async with served(stage) as url:
            headers = {"Host": "evil.example"}
            async with client.get(url + address, headers=headers) as answer:
                assert answer.status == 403
                assert "web.allowed_hosts" in await answer.text()
            if stage.settings.token is not None:
                headers["Authorization"] = f"Bearer {TOKEN}"
                async with client.get(url + address, headers=headers) as answer:
                    assert answer.status != 403


@pytest.mark.parametrize(
    ("settings", "host", "allowed"),
    [
        ({}, "192.0.2.7:9109", False),
        ({}, "door", False),
        ({}, "localhost.", True),
        ({}, "LOCALHOST", True),
        ({}, "[::ffff:127.0.0.1]:80", True),
        ({"host": "0.0.0.0"}, "192.0.2.7:9109", True),
        ({"host": "0.0.0.0"}, "[2001:db8::1]:9109", True),
        ({"host": "0.0.0.0"}, "door:9109", True),
        ({"host": "0.0.0.0"}, "door.example", False),
        ({"host": "0.0.0.0", "allowed_hosts": ["Door.example"]}, "door.Example:9109", True),
        ({"host": "0.0.0.0", "allowed_hosts": ["*.door.example"]}, "a.b.door.example", True),
        ({"host": "0.0.0.0", "allowed_hosts": ["*.door.example"]}, "evildoor.example", False),
        ({"host": "door.example"}, "door.example", True),
        ({"host": "door.example"}, "", False),
        ({"host": "door.example"}, "[", False),
    ],
)
def test_names_that_are_this_server(settings: dict[str, Any], host: str, allowed: bool) -> None:
    """Addresses and names without a dot cannot be pointed here by somebody on the internet."""
    hosts = Hosts(WebSection.model_validate({"token": TOKEN, **settings}))
    assert hosts.allow(host) == allowed


def test_a_certificates_names_are_this_server(tmp_path: Path) -> None:
    """Browsers refuse any other, so that nothing need be configured for them."""
    path = Authority(tmp_path).certificate("door.example")
    assert certificate_names(path) == ["door.example"]
    assert certificate_names(None) == certificate_names(tmp_path / "none") == []


@pytest.mark.parametrize("address", ["/login", "/logout"])
async def test_a_form_from_another_site_is_refused(
    client: aiohttp.ClientSession, address: str
) -> None:
    """Else any page could log people in or out."""
    stage = Stage(token=TOKEN, allowed_hosts=["door.example"])
    async with served(stage) as url:
        for headers, status in [
            ({}, 303),
            ({"Origin": url}, 303),
            ({"Origin": "https://door.example"}, 303),
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "http://localhost"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": ""}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "same-origin", "Origin": url}, 303),
        ]:
            async with client.post(
                url + address, data={"token": TOKEN}, headers=headers, allow_redirects=False
            ) as answer:
                assert answer.status == status, headers


@pytest.mark.parametrize(
    ("proxies", "proto", "secure"),
    [
        (["127.0.0.0/8"], "https", True),
        (["127.0.0.1"], "http, https", True),
        (["127.0.0.1"], "https, http", False),
        (["127.0.0.1"], "http", False),
        (["192.0.2.0/24"], "https", False),
        ([], "https", False),
    ],
)
async def test_the_cookie_is_for_tls_alone_where_a_trusted_proxy_speaks_it(
    client: aiohttp.ClientSession, proxies: list[str], proto: str, secure: bool
) -> None:
    """What an untrusted client says of itself changes nothing."""
    async with served(Stage(token=TOKEN, trusted_proxies=proxies)) as url:
        headers = {"X-Forwarded-Proto": proto}
        async with client.post(
            url + "/login", data={"token": TOKEN}, headers=headers, allow_redirects=False
        ) as answer:
            assert bool(answer.cookies["streamgate_door"]["secure"]) == secure


async def test_refused_logins_are_told_once_a_minute(
    client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever guesses fills no disk."""
    async with served(Stage(token=TOKEN)) as url:
        caplog.clear()
        guesses = [client.post(url + "/login", data={"token": str(n)}) for n in range(20)]
        for answer in await asyncio.gather(*guesses):
            answer.release()
    assert len([r for r in caplog.records if "refused" in r.getMessage()]) <= 1
