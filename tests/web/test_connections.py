"""Many connections, slow ones, and those that say nothing."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from streamgate.web.connections import RESERVED_DESCRIPTORS, Limits
from tests.servers.tls import Authority
from tests.web.parts import TOKEN, Stage, served

FEW = Limits(most=4)
NONSENSE = (
    b"\x16\x03\x01\x02\x00",
    b"GET / HTTP/9.9\r\n\r\n",
    b"SSH-2.0-x\r\n",
    b"\0" * 99,
    b"GET /" + b"x" * 9999 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
)


@pytest.fixture(autouse=True)
def many_descriptors() -> Iterator[None]:
    """The test has the other ends of all connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


async def health(url: str) -> int:
    async with aiohttp.ClientSession() as client, client.get(url + "/healthz") as answer:
        return answer.status


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the server ends a connection within a second."""
    try:
        async with asyncio.timeout(1):
            return await reader.read() == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


async def test_health_answers_in_the_midst_of_silent_connections() -> None:
    """A newcomer takes the place of the one that has been silent longest."""
    stage = Stage(limits=FEW)
    async with asyncio.timeout(60), served(stage) as url:
        silent = [await asyncio.open_connection("127.0.0.1", port_of(url)) for _ in range(40)]
        assert await health(url) == 200
        assert await ended(silent[0][0])
        for _, writer in silent:
            writer.close()


async def test_an_open_page_stays_whoever_comes() -> None:
    """Who has proved that they may look is not put out by those who have not."""
    stage = Stage(token=TOKEN, limits=FEW)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        asyncio.timeout(60),
        served(stage) as url,
        aiohttp.ClientSession(headers=headers) as client,
        client.get(url + "/live/events") as page,
    ):
        await page.content.readany()
        silent = [await asyncio.open_connection("127.0.0.1", port_of(url)) for _ in range(20)]
        stage.show(1)
        assert await page.content.readany()
        for _, writer in silent:
            writer.close()


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"])
async def test_headers_have_a_deadline(sent: bytes) -> None:
    """Whoever sends nothing, or one byte after the other, is let go."""
    stage = Stage(limits=Limits(4, headers_s=0.5))
    async with asyncio.timeout(60), served(stage) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
        writer.write(sent)
        while not await ended(reader):
            writer.write(b"x")
        writer.close()


async def test_a_form_that_does_not_end_has_a_deadline() -> None:
    """A request that proves nothing may not last."""
    stage = Stage(token=TOKEN, limits=Limits(4, request_s=0.5))
    async with asyncio.timeout(60), served(stage) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
        writer.write(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\ntoken=")
        while not await ended(reader):
            writer.write(b"x")
        writer.close()


async def test_whoever_does_not_take_an_answer_is_let_go() -> None:
    """An answer that nobody reads keeps no connection open for ever."""
    stage = Stage(limits=Limits(4, idle_s=0.5))
    async with asyncio.timeout(60), served(stage) as url:
        sender = socket.create_connection(("127.0.0.1", port_of(url)))
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sender.setblocking(False)
        request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
        loop = asyncio.get_running_loop()
        with suppress(ConnectionError):
            while True:
                await loop.sock_sendall(sender, request * 10)
        sender.close()


@asynccontextmanager
async def without_descriptors() -> AsyncIterator[None]:
    """Leave this process no descriptor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open("/dev/null") as last:  # noqa: ASYNC230, PTH123
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno(), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (8192, hard))


async def test_accepts_that_fail_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """While the process has no descriptor left, one line says so, and later all goes on."""
    caplog.set_level(logging.WARNING)
    async with asyncio.timeout(60), served(Stage()) as url:
        clients = [socket.socket() for _ in range(50)]
        async with without_descriptors():
            for client in clients:
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", port_of(url)))
            await asyncio.sleep(1)
        assert await health(url) == 200
        for client in clients:
            client.close()
    assert len(caplog.records) < 5


async def test_nonsense_is_answered_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A scanner speaks other protocols to every port that it finds."""
    caplog.set_level(logging.INFO)
    async with asyncio.timeout(60), served(Stage()) as url:
        before = len(caplog.records)
        for nonsense in NONSENSE:
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
            writer.write(nonsense)
            writer.write_eof()
            await ended(reader)
            writer.close()
        assert await health(url) == 200
    assert caplog.records[before:] == []


async def test_tls_that_never_comes_has_a_deadline(tmp_path: Path) -> None:
    """A connection to the HTTPS port that says nothing is let go; others are served."""
    authority = Authority(tmp_path)
    stage = Stage(
        limits=Limits(4, headers_s=0.5), cert_file=str(authority.certificate("localhost"))
    )
    async with asyncio.timeout(60), served(stage) as url, AsyncExitStack() as stack:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(url))
        client = await stack.enter_async_context(aiohttp.ClientSession())
        trusted = ssl.create_default_context(cafile=str(authority.ca_file))
        address = f"https://localhost:{port_of(url)}/healthz"
        async with client.get(address, ssl=trusted) as answer:
            assert answer.status == 200
        while not await ended(reader):
            pass
        writer.close()


def test_descriptors_are_left_to_others() -> None:
    """Whatever is configured, so many stay for delivery and logs."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    assert Limits.within_descriptors(4096) == 256 - RESERVED_DESCRIPTORS
    assert Limits.within_descriptors(64) == 64


async def test_the_application_works_without_a_server_of_its_own() -> None:
    """As under another server, where nobody counts connections."""
    stage = Stage()
    runner = web.AppRunner(stage.app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    assert await health(f"http://127.0.0.1:{runner.addresses[0][1]}") == 200
    await runner.cleanup()
