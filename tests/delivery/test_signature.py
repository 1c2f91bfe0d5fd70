"""Signed webhooks: what was changed, forged, late or sent twice is refused."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import web
from pydantic import ValidationError

from streamgate.config import HttpSinkSection
from streamgate.delivery.signature import SIGNATURE_HEADER, signature
from streamgate.delivery.sinks.http import HttpSink
from streamgate.errors import DataError, DeliveryError, SinkFault
from streamgate.recognise import Consumer, Gallery, Visitor
from streamgate.recognise.http import PATH, application
from streamgate.recognise.signature import SignatureCheck
from tests.delivery.shots import real_shot
from tests.needs import ROOT

SECRET, NEXT = "s3cret-of-the-webhook", "s3cret-of-next-year"
BODY = b'{"schema":"streamgate.best-shot"}'


class Receiver:
    """The included recogniser behind a server that notes what it is sent."""

    def __init__(self) -> None:
        self.url = ""
        self.named: list[Visitor] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []


@asynccontextmanager
async def receiving(*secrets: str) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    gallery = Gallery(("Ann",), np.eye(1, 512, dtype=np.float32), "a" * 64)

    @web.middleware
    async def note(request: web.Request, handler: Any) -> web.StreamResponse:
        receiver.requests.append((dict(request.headers), await request.read()))
        answer: web.StreamResponse = await handler(request)
        return answer

    with ThreadPoolExecutor(1) as thread:
        consumer = Consumer(
            gallery, lambda crop: crop.astype(np.float32), thread, tell=receiver.named.append
        )
        app = application(consumer, signatures=SignatureCheck(secrets))
        app.middlewares.append(note)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
            yield receiver
        finally:
            await runner.cleanup()


@asynccontextmanager
async def sink_to(receiver: Receiver, **settings: Any) -> AsyncIterator[HttpSink]:
    sink = HttpSink(
        HttpSinkSection.model_validate(
            {"kind": "http", "url": receiver.url, "timeout_s": 5, **settings}
        )
    )
    try:
        yield sink
    finally:
        await sink.close()


async def posted(receiver: Receiver, headers: dict[str, str], body: bytes) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.post(receiver.url, data=body, headers=headers) as answer,
    ):
        return answer.status


@pytest.mark.parametrize("envelope", ["none", "cloudevents"])
@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_a_signed_best_shot_is_taken_once_and_again_when_it_is_sent_again(
    envelope: str, mode: str
) -> None:
    """Whatever its body is; each attempt is signed anew, so that a retry is no replay."""
    signed = {"signature": {"secret": SECRET}, "envelope": envelope, "mode": mode}
    async with receiving(SECRET) as receiver, sink_to(receiver, **signed) as sink:
        await sink.deliver(real_shot())
        await sink.deliver(real_shot())
        first, second = (headers[SIGNATURE_HEADER] for headers, _ in receiver.requests)
    assert first != second
    assert len(receiver.named) == 1


async def test_a_changed_or_replayed_webhook_is_refused() -> None:
    """A byte of the body, the time, or the whole request once more."""
    async with receiving(SECRET) as receiver:
        async with sink_to(receiver, signature={"secret": SECRET}) as sink:
            await sink.deliver(real_shot())
        headers, body = receiver.requests[0]
        kept = {name: headers[name] for name in ("Content-Type", SIGNATURE_HEADER)}
        assert await posted(receiver, kept, body) == 401
        changed = body.replace(b'"quality":71.5', b'"quality":99.5')
        assert changed != body
        assert await posted(receiver, kept, changed) == 401
        later = re.sub(r"t=\d+", f"t={int(time.time()) + 9}", kept[SIGNATURE_HEADER])
        assert await posted(receiver, {**kept, SIGNATURE_HEADER: later}, body) == 401
        del kept[SIGNATURE_HEADER]
        assert await posted(receiver, kept, body) == 401
    assert len(receiver.named) == 1


async def test_a_wrong_secret_is_the_credentials_fault() -> None:
    """The log names the setting, and not the secret."""
    signed = {"secret": SECRET}
    async with receiving(NEXT) as receiver, sink_to(receiver, signature=signed) as sink:
        with pytest.raises(DeliveryError) as raised:
            await sink.deliver(real_shot())
    assert (raised.value.fault, raised.value.setting) == (SinkFault.CREDENTIALS, "signature")
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("known", [SECRET, NEXT])
async def test_a_secret_can_be_replaced_without_a_gap(known: str) -> None:
    """Both sign for a while; a receiver needs to know one of them."""
    both = {"secret": SECRET, "next_secret": NEXT}
    async with receiving(known) as receiver, sink_to(receiver, signature=both) as sink:
        await sink.deliver(real_shot())
    assert len(receiver.named) == 1


def test_a_short_secret_is_refused() -> None:
    """With a remedy."""
    with pytest.raises(ValidationError, match="16 characters"):
        HttpSinkSection.model_validate(
            {"kind": "http", "url": "http://127.0.0.1/", "signature": {"secret": "short"}}
        )


def test_what_is_too_old_or_too_new_is_refused() -> None:
    """Both ways, since clocks differ."""
    for age_s, taken in ((299, True), (301, False), (-299, True), (-301, False)):
        check = SignatureCheck([SECRET], wall=lambda: 1_790_000_000.0)
        header = signature(BODY, 1_790_000_000.0 - age_s, [SECRET.encode()])
        if taken:
            check.check(header, BODY)
        else:
            with pytest.raises(DataError, match="compare the clocks"):
                check.check(header, BODY)


def test_what_is_forgotten_is_too_old_rather_than_new() -> None:
    """The memory is bounded, and a replay of what fell out of it is refused all the same."""
    now = 1_790_000_000.0
    check = SignatureCheck([SECRET], wall=lambda: now, remembered=3)
    headers = [signature(BODY, now + number, [SECRET.encode()]) for number in range(5)]
    for header in headers:
        check.check(header, BODY)
    for header in headers:
        with pytest.raises(DataError, match="has come before"):
            check.check(header, BODY)


@pytest.mark.parametrize(
    "header",
    ["", "t=1", "v1=aa", "t=x,v1=aa", "t=nan,v1=aa", "t=1,t=2,v1=aa", "t=1,v1=é", "t=١,v1=a"],
)
def test_a_header_that_makes_no_sense_is_refused(header: str) -> None:
    """Never an error of the program's own."""
    with pytest.raises(DataError):
        SignatureCheck([SECRET]).check(header, BODY)


def test_the_lines_of_the_documentation_verify_a_signature() -> None:
    """As printed: genuine passes; changed, forged and old do not."""
    page = (ROOT / "docs" / "delivery.md").read_text()
    [code] = re.findall(r"```python\n(import hmac.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # it is ours
    is_genuine = names["is_genuine"]
    header = signature(BODY, time.time(), [NEXT.encode(), SECRET.encode()])
    assert is_genuine(header, BODY, SECRET.encode())
    assert not is_genuine(header, BODY + b" ", SECRET.encode())
    assert not is_genuine(header, BODY, b"another")
    old = signature(BODY, time.time() - 400, [SECRET.encode()])
    assert not is_genuine(old, BODY, SECRET.encode())
