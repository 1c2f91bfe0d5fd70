"""Best shots by HTTP POST: the answer acknowledges, so it is given when the visitor was named."""

from __future__ import annotations

import hmac
from functools import partial

from aiohttp import web

from streamgate.recognise.consumer import Consumer
from streamgate.recognise.message import Message, message_from_document, message_from_parts
from streamgate.recognise.transport import Fenced, judged, left_out

__all__ = ["PATH", "application"]

PATH = "/best-shots"
_MOST_BYTES = 16_777_216


def application(consumer: Consumer, token: str | None = None) -> web.Application:
    """Serve `POST /best-shots` in the form that the http sink sends, or with one JSON document.

    A message that can never be taken is answered with 400, which the sink takes for a refusal. One
    of an earlier tenure is answered with 409 and `Streamgate-Fenced`: its sender keeps it.
    """

    async def take(request: web.Request) -> web.Response:
        if token is not None and not _is_signed(request, token):
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        try:
            parts = await _parts(request)
        except (ValueError, LookupError, AssertionError, RuntimeError) as error:
            # As forms are read, one that is malformed raises any of these.
            fault: str | None = left_out(consumer, "http", f"no such form ({type(error).__name__})")
        else:
            fault = await judged(consumer, partial(_message, *parts), "http")
        if isinstance(fault, Fenced):
            return web.Response(status=409, text=fault, headers={"Streamgate-Fenced": "1"})
        return web.Response(status=204) if fault is None else web.Response(status=400, text=fault)

    app = web.Application(client_max_size=_MOST_BYTES)
    app.router.add_post(PATH, take)
    return app


def _is_signed(request: web.Request, token: str) -> bool:
    given = request.headers.get("Authorization", "")
    # What is not UTF-8 comes as halves of pairs.
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), f"Bearer {token}".encode())


async def _parts(request: web.Request) -> tuple[bytes, bytes | None]:
    """Metadata and crop; no crop where both are one document."""
    if request.content_type == "application/json":
        return await request.read(), None
    parts = await request.post()
    return _bytes(parts.get("metadata")), _bytes(parts.get("crop"))


def _message(metadata: bytes, crop: bytes | None) -> Message:
    return message_from_document(metadata) if crop is None else message_from_parts(metadata, crop)


def _bytes(part: str | bytes | bytearray | web.FileField | None) -> bytes:
    if isinstance(part, web.FileField):
        return part.file.read()
    return part.encode() if isinstance(part, str) else bytes(part or b"")
