"""The HTTP sink against a real server: what is sent, and what each answer means."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from aiohttp import BodyPartReader, web

from streamgate.config import HttpSinkSection
from streamgate.delivery.payload import payload_schema
from streamgate.delivery.sinks.http import HttpSink
from streamgate.delivery.sinks.proxy import proxy_for
from streamgate.errors import DeliveryError, SinkFault
from tests.delivery import post
from tests.delivery.daemon import until
from tests.delivery.shots import real_shot
from tests.servers.broker import free_port
from tests.servers.tls import Authority

SECRET = "hunter2-never-shown"


class Server:
    """Notes what is posted and answers as it is told."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = ""
        self.requests: list[web.BaseRequest] = []
        self.parts: list[dict[str, tuple[str, str | None, bytes]]] = []
        self.port = 0

    async def take(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        parts = {}
        reader = await request.multipart()
        while (part := await reader.next()) is not None:
            assert isinstance(part, BodyPartReader)
            kind = part.headers["Content-Type"]
            parts[str(part.name)] = kind, part.filename, bytes(await part.read())
        self.parts.append(parts)
        return web.Response(status=self.status, headers=self.headers, text=self.body)


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_post("/secret-hook/faces", server.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        server.port = runner.addresses[0][1]
        yield server
    finally:
        await runner.cleanup()


@asynccontextmanager
async def sink_to(server: Server, scheme: str = "http", **settings: Any) -> AsyncIterator[HttpSink]:
    url = f"{scheme}://127.0.0.1:{server.port}/secret-hook/faces"
    data = {"kind": "http", "url": url, "timeout_s": 5, **settings}
    sink = HttpSink(HttpSinkSection.model_validate(data))
    try:
        yield sink
    finally:
        await sink.close()


async def fault_of(sink: HttpSink) -> DeliveryError:
    with pytest.raises(DeliveryError) as raised:
        await sink.deliver(real_shot())
    return raised.value


async def test_a_post_holds_metadata_and_pictures() -> None:
    """Metadata is a form field that fits the published schema; pictures are files."""
    shot = real_shot(context=True)
    async with serving() as server, sink_to(server, token=SECRET) as sink:
        await sink.deliver(shot)
        [parts], [request] = server.parts, server.requests
    assert shot.context is not None
    assert parts["metadata"][:2] == ("application/json", None)
    assert parts["metadata"][2] == shot.metadata
    assert parts["crop"] == ("image/jpeg", "crop.jpg", shot.crop.data)
    assert parts["context"] == ("image/jpeg", "context.jpg", shot.context.data)
    assert request.headers["Idempotency-Key"] == shot.key
    assert request.headers["Authorization"] == f"Bearer {SECRET}"
    jsonschema.validate(json.loads(parts["metadata"][2]), payload_schema())


async def test_parts_can_be_renamed_and_left_out() -> None:
    """Only the wider crop, under the name that a recognition service wants."""
    names: dict[str, Any] = {"metadata_part": None, "crop_part": None, "context_part": "file"}
    async with serving() as server, sink_to(server, **names, headers={"x-api-key": "k"}) as sink:
        await sink.deliver(real_shot(context=True))
        assert list(server.parts[0]) == ["file"]
        assert server.requests[0].headers["x-api-key"] == "k"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_acknowledges(status: int) -> None:
    """No error is raised."""
    async with serving() as server, sink_to(server) as sink:
        server.status = status
        await sink.deliver(real_shot())


@pytest.mark.parametrize(
    ("status", "permanent"),
    [
        (301, True), (307, True), (400, True), (401, False), (403, False), (404, True), (409, True),
        (413, True), (415, True), (422, True), (408, False), (425, False), (429, False),
        (500, False), (502, False), (503, False), (504, False), (507, False),
    ],
)  # fmt: skip
async def test_what_an_answer_means(status: int, permanent: bool) -> None:
    """4xx and redirects refuse, except those that ask for another time or keep us out."""
    async with serving() as server, sink_to(server) as sink:
        server.status, server.headers = status, {"Location": "http://127.0.0.1:1/elsewhere"}
        fault = await fault_of(sink)
        assert fault.permanent is permanent
        assert str(status) in str(fault)
        assert len(server.requests) == 1, "a redirect was followed"


async def test_a_wish_to_wait_is_read() -> None:
    """`Retry-After` comes with the fault, for 429 and for 503."""
    async with serving() as server, sink_to(server) as sink:
        for status in (429, 503):
            server.status, server.headers = status, {"Retry-After": "17"}
            assert (await fault_of(sink)).retry_after_s == 17


async def test_no_secret_shows_in_a_fault() -> None:
    """A server that repeats what it was sent does not make us tell it on."""
    async with serving() as server, sink_to(server, token=SECRET) as sink:
        server.status, server.body = 403, f"bad token {SECRET} for /secret-hook/faces\x00\x1b[31m"
        told = str(await fault_of(sink))
    assert SECRET not in told
    assert "secret-hook" not in told
    assert told.isprintable()
    assert "bad token" in told


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    """After timeout_s it is a passing fault."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = Server()
        server.port = silent.getsockname()[1]
        async with sink_to(server, timeout_s=0.3) as sink:
            fault = await fault_of(sink)
    assert not fault.permanent
    assert "within 0.3 s" in str(fault)


async def test_the_server_must_prove_who_it_is(tmp_path: Path) -> None:
    """Signed by the configured authority: delivered. By another: a passing fault, nothing sent."""
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(theirs.certificate("127.0.0.1"))
    async with serving(tls) as server:
        async with sink_to(server, "https", ca_file=theirs.ca_file) as sink:
            await sink.deliver(real_shot())
        async with sink_to(server, "https", ca_file=ours.ca_file) as sink:
            fault = await fault_of(sink)
        assert not fault.permanent
        assert "certificate" in str(fault).lower()
        assert len(server.requests) == 1


async def test_a_server_may_ask_for_our_certificate(tmp_path: Path) -> None:
    """With the client certificate it delivers, without it does not."""
    authority = Authority(tmp_path / "ca")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.ca_file))
    tls.load_cert_chain(authority.certificate("127.0.0.1"))
    tls.verify_mode = ssl.CERT_REQUIRED
    ours = {"ca_file": authority.ca_file, "client_cert_file": authority.certificate("door")}
    async with serving(tls) as server:
        async with sink_to(server, "https", **ours) as sink:
            await sink.deliver(real_shot())
        async with sink_to(server, "https", ca_file=authority.ca_file) as sink:
            assert not (await fault_of(sink)).permanent
        assert len(server.requests) == 1


async def test_answers_are_kept_with_the_key(tmp_path: Path) -> None:
    """JSON as JSON, text as text; a refusal is no answer."""
    path = tmp_path / "answers.jsonl"
    async with serving() as server, sink_to(server, answers={"path": path}) as sink:
        server.body = '{"result": [{"subjects": [{"subject": "Ada"}]}]}'
        await sink.deliver(real_shot(1))
        server.body = "taken"
        await sink.deliver(real_shot(2))
        server.status = 400
        await fault_of(sink)
    first, second = [json.loads(line) for line in path.read_text().splitlines()]
    assert first["key"] == "door-b00t-1-1"
    assert first["answer"]["result"][0]["subjects"][0]["subject"] == "Ada"
    assert (second["key"], second["answer"], second["status"]) == ("door-b00t-2-1", "taken", 200)


async def test_an_answer_that_cannot_be_kept_is_still_an_answer(tmp_path: Path) -> None:
    """The best shot was taken: sending it again would not mend the disk."""
    (tmp_path / "file").touch()
    answers = {"path": tmp_path / "file" / "answers.jsonl"}
    async with serving() as server, sink_to(server, answers=answers) as sink:
        await sink.deliver(real_shot(1))
        assert len(server.requests) == 1


# The status decides


@asynccontextmanager
async def answering(answer: bytes, *, hang: bool = False) -> AsyncIterator[Server]:
    """A server that reads a post and then writes these bytes, whatever they are."""
    server = Server()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        server.parts.append({})
        if b"content-length" in head.lower():
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        else:
            await reader.readuntil(b"0\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if hang:
            await ended.wait()
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    async def noted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.append(task)
        await serve(reader, writer)

    ended, serving = asyncio.Event(), list[asyncio.Task[Any]]()
    listening = await asyncio.start_server(noted, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server
        ended.set()
        if serving:
            await asyncio.wait(serving)


CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"
CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"


@pytest.mark.parametrize("hang", [False, True], ids=["cut", "slow"])
@pytest.mark.parametrize("answer", [CUT, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("kept", [False, True], ids=["dropped", "kept"])
async def test_a_2xx_whose_body_never_ends_has_acknowledged(
    answer: bytes, hang: bool, kept: bool, tmp_path: Path
) -> None:
    """Cut short or never ending: taken, once."""
    settings: dict[str, Any] = {}
    if kept:
        settings = {"answers": {"path": tmp_path / "answers.jsonl"}}
    async with (
        answering(answer, hang=hang) as server,
        sink_to(server, timeout_s=1, **settings) as sink,
    ):
        await sink.deliver(real_shot())
        assert len(server.parts) == 1


async def test_a_refusal_whose_body_never_ends_is_a_refusal() -> None:
    """400 and then silence."""
    cut = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 1000\r\n\r\nno face"
    async with answering(cut, hang=True) as server, sink_to(server) as sink:
        fault = await fault_of(sink)
    assert fault.fault is SinkFault.REFUSED
    assert "no face" in str(fault)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"token": SECRET}, "token"),
        ({"username": "cam", "password": SECRET}, "password"),
        ({"headers": {"x-api-key": SECRET}}, "headers"),
        ({}, "token"),
    ],
)
async def test_credentials_that_are_refused_name_their_setting(
    status: int, settings: dict[str, Any], setting: str
) -> None:
    """It keeps us out: no best shot is to count_failure."""
    async with serving() as server, sink_to(server, **settings) as sink:
        server.status = status
        fault = await fault_of(sink)
    assert (fault.fault, fault.setting) == (SinkFault.CREDENTIALS, setting)


async def test_nobody_there_is_away_and_a_closed_connection_is_not() -> None:
    """Refused connections concern all; one that is closed may be about this best shot."""
    server = Server()
    server.port = free_port()
    async with sink_to(server) as sink:
        assert (await fault_of(sink)).fault is SinkFault.AWAY
    async with answering(b"") as closing, sink_to(closing) as sink:
        assert (await fault_of(sink)).fault is SinkFault.UNCLEAR


# Proxies


class Proxy(Server):
    """Answers for every host, and says who asked for what."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str | None]] = []

    async def take_any(self, request: web.BaseRequest) -> web.Response:
        self.asked.append((str(request.raw_path), request.headers.get("Proxy-Authorization")))
        await request.read()
        return web.Response(status=self.status)


@asynccontextmanager
async def proxying() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    runner = web.ServerRunner(web.Server(proxy.take_any))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        proxy.port = runner.addresses[0][1]
        yield proxy
    finally:
        await runner.cleanup()


def http_sink(**settings: Any) -> HttpSink:
    data = {"kind": "http", "url": "http://faces.example/hook", "timeout_s": 5, **settings}
    return HttpSink(HttpSinkSection.model_validate(data))


async def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY takes it; NO_PROXY and an empty `proxy` do not."""
    async with proxying() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        sink = http_sink()
        await sink.deliver(real_shot())
        await sink.close()
        assert proxy.asked == [("http://faces.example/hook", None)]
        async with serving() as server:
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            async with sink_to(server) as direct:
                await direct.deliver(real_shot())
            monkeypatch.delenv("NO_PROXY")
            async with sink_to(server, proxy="") as direct:
                await direct.deliver(real_shot())
            assert len(server.requests) == 2
        assert len(proxy.asked) == 1


async def test_a_sinks_own_proxy_hides_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes before the environment; its user is told to it and shown to nobody."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with proxying() as proxy:
        sink = http_sink(proxy=f"http://us%40er:{SECRET}@127.0.0.1:{proxy.port}")
        await sink.deliver(real_shot())
        wanted = base64.b64encode(f"us@er:{SECRET}".encode()).decode()
        assert proxy.asked == [("http://faces.example/hook", f"Basic {wanted}")]
        proxy.status = 407
        fault = await fault_of(sink)
        await sink.close()
    assert (fault.fault, fault.setting) == (SinkFault.CREDENTIALS, "proxy")
    gone = http_sink(proxy=f"http://user:{SECRET}@127.0.0.1:{proxy.port}")
    said = await fault_of(gone)
    await gone.close()
    assert said.fault is SinkFault.AWAY
    assert SECRET not in str(said)
    assert SECRET not in repr(gone.__dict__["_section"])


@pytest.mark.parametrize(
    ("url", "environment", "wanted"),
    [
        ("http://h/", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("http://h/", {"http_proxy": "p:1"}, "http://p:1"),
        ("https://h/", {"HTTP_PROXY": "http://p:1"}, None),
        ("https://h/", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "other"}, "http://p:1"),
        ("https://a.h:8443/", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "x, .h"}, None),
        ("https://h/", {"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ("https://h/", {"HTTPS_PROXY": "http://p:1", "no_proxy": "*"}, None),
        ("http://h/", {"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, None),
        ("http://h/", {"HTTP_PROXY": "http://p:1", "http_proxy": ""}, None),
    ],
)
def test_the_environment_is_read_as_by_others(
    url: str, environment: dict[str, str], wanted: str | None
) -> None:
    """Names in both cases, lists with blanks, domains with a dot, ports."""
    assert proxy_for(url, environment) == wanted


async def test_more_at_once_than_at_the_start_are_served() -> None:
    """A reload raises at_once; the sink that stays does not hold them back."""
    async with serving() as server, sink_to(server, at_once=1) as sink:
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            for track in range(16):
                group.create_task(sink.deliver(real_shot(track)))
        assert len(server.requests) == 16


# The sink and its worker


@pytest.mark.parametrize("poison", ["500", "closed", "403", "hang", "400"])
async def test_a_server_that_chokes_on_one_key_gets_all_others(poison: str, tmp_path: Path) -> None:
    """It is asked for the others at once, told of as one best shot's fault, and kept at last."""
    key, keys, tries = "door-b00t-3-1", set[str](), 0

    async def take(request: web.Request) -> web.Response:
        nonlocal tries
        await request.read()
        if request.headers["Idempotency-Key"] != key:
            keys.add(request.headers["Idempotency-Key"])
            return web.Response()
        tries += 1
        if poison == "closed":
            assert request.transport is not None
            request.transport.abort()
        if poison == "hang":
            await asyncio.sleep(2)
        return web.Response(status=int(poison) if poison.isdigit() else 200)

    app = web.Application()
    app.router.add_post("/secret-hook/faces", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server = Server()
    server.port = runner.addresses[0][1]
    try:
        async with (
            sink_to(server, timeout_s=0.3) as sink,
            post.running(tmp_path / "door.outbox", sink) as delivery,
        ):
            for track in range(1, 21):
                await delivery.dispatcher.accept_encoded(real_shot(track))
            await until(lambda: len(keys) == 19, 5)
            assert delivery.metric("outbox_dead_letters", sink="http") == 0
            for track in range(21, 400):
                await delivery.dispatcher.accept_encoded(real_shot(track))
                await until(lambda: len(keys) >= track - 2, 5)  # noqa: B023 # awaited in the loop
                if delivery.metric("outbox_dead_letters", sink="http"):
                    break
                await asyncio.sleep(0.05)
            assert tries >= (5 if poison == "400" else 12)
            assert delivery.metric("sink_up", sink="http") == 1
            await until(lambda: delivery.outbox.waiting("http") == 0, 5)
    finally:
        await runner.cleanup()
