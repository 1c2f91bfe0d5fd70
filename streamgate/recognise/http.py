"""Best shots by HTTP POST: the answer acknowledges, so it is given when the visitor was named."""

from __future__ import annotations

import email
import email.message
import hmac

import structlog
from aiohttp import web

from streamgate.delivery.signature import SIGNATURE_HEADER
from streamgate.errors import DataError
from streamgate.recognise.consumer import Consumer
from streamgate.recognise.message import Message, message_from_document, message_from_parts
from streamgate.recognise.signature import SignatureCheck
from streamgate.recognise.transport import Fenced, judged

__all__ = ["PATH", "application"]

log = structlog.get_logger(__name__)

PATH = "/best-shots"
_MOST_BYTES = 16_777_216


def application(
    consumer: Consumer, token: str | None = None, signatures: SignatureCheck | None = None
) -> web.Application:
    """Serve `POST /best-shots` in the form that the http sink sends, or with one JSON document.

    A message that can never be taken is answered with 400, which the sink takes for a refusal. One
    of an earlier tenure is answered with 409 and `Streamgate-Fenced`: its sender keeps it.

    Args:
        token: what senders must know.
        signatures: refuses requests that are not signed, were changed, or have come before.
    """

    async def take(request: web.Request) -> web.Response:
        if token is not None and not _has_token(request, token):
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        body = await request.read()
        if signatures is not None:
            try:
                signatures.check(request.headers.get(SIGNATURE_HEADER, ""), body)
            except DataError as error:
                log.warning("request refused", error=str(error))
                return web.Response(status=401, text=str(error))
        # Whatever a malformed form raises is the message's fault.
        fault = await judged(consumer, lambda: _message(*_parts(request, body)), "http")
        if isinstance(fault, Fenced):
            return web.Response(status=409, text=fault, headers={"Streamgate-Fenced": "1"})
        return web.Response(status=204) if fault is None else web.Response(status=400, text=fault)

    app = web.Application(client_max_size=_MOST_BYTES)
    app.router.add_post(PATH, take)
    return app


def _has_token(request: web.Request, token: str) -> bool:
    given = request.headers.get("Authorization", "")
    # What is not UTF-8 comes as halves of pairs.
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), f"Bearer {token}".encode())


def _parts(request: web.Request, body: bytes) -> tuple[bytes, bytes | None]:
    """Metadata and crop; no crop where both are one document."""
    if request.content_type != "multipart/form-data":
        return body, None
    # From bytes that were read, since the signature is over all of them; the server's own parser
    # reads from the connection. What is no such form has no parts.
    head = b"Content-Type: " + request.headers["Content-Type"].encode("ascii", "replace")
    form = email.message_from_bytes(head + b"\r\n\r\n" + body)
    parts = form.get_payload() if form.is_multipart() else []
    found = {
        str(part.get_param("name", "", "content-disposition")): part.get_payload(decode=True)
        for part in parts
        if isinstance(part, email.message.Message)
    }
    return _bytes(found.get("metadata")), _bytes(found.get("crop"))


def _message(metadata: bytes, crop: bytes | None) -> Message:
    return message_from_document(metadata) if crop is None else message_from_parts(metadata, crop)


def _bytes(part: object) -> bytes:
    return part if isinstance(part, bytes) else b""
