"""Best shots by HTTP POST.

The status decides: 2xx acknowledges, however the body of the answer may end. 401, 403 and 407 mean
that nobody is let in until the settings are mended. Other 4xx mean that this best shot is not
taken, except 408, 425 and 429, which ask for another time, as 5xx does and everything that breaks
off before an answer. Redirects are not followed: the credentials belong to the host that the config
names, and what was to be encrypted must not be led to where it is not.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import structlog
from pydantic import SecretStr

from streamgate.config import HttpSinkSection
from streamgate.delivery.cloudevents import message_of
from streamgate.delivery.lease.marks import FENCED, headers_of
from streamgate.delivery.payload import iso_8601
from streamgate.delivery.rotated import RotatedFile
from streamgate.delivery.signature import SIGNATURE_HEADER, signature
from streamgate.delivery.sinks.proxy import proxy_for
from streamgate.delivery.sinks.secure import clean, plain, tls_context, told
from streamgate.delivery.threads import StuckError, Threads
from streamgate.errors import DeliveryError, ProbeError, SinkFault
from streamgate.values import EncodedShot
from streamgate.values.backoff import retry_after_s

__all__ = ["HttpSink"]

log = structlog.get_logger(__name__)

_PASSING_4XX = frozenset({408, 425, 429})
_KEEP_OUT = frozenset({401, 403, 407})
_ANSWER_BYTES = 65_536
_REFUSAL_BYTES = 400
_REFUSAL_S = 1.0
_KEEP_S = 3.0


class HttpSink:
    """Posts multipart/form-data, or a CloudEvent, with an `Idempotency-Key`."""

    def __init__(self, section: HttpSinkSection) -> None:
        self.name = section.name
        self._section = section
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()
        kept = section.answers
        self._answers = None if kept is None else RotatedFile(kept.path, kept.max_bytes, kept.keep)
        self._writing = Threads(f"answers-{section.name}")
        url = urlsplit(section.url)
        self._place = f"{url.scheme}://{url.netloc}"
        proxy = plain(section.proxy)
        self._proxy = proxy or (None if proxy == "" else proxy_for(section.url, os.environ))
        self._secrets = [section.token, section.password, *section.headers.values()]
        basic = _basic(section)
        if basic is not None:
            self._secrets.append(SecretStr(basic))
        if self._proxy is not None and "@" in self._proxy:
            user, password = _split_user(self._proxy)
            self._secrets += [SecretStr(part) for part in (password, user) if part]
        # The path and the query of a webhook is often its only secret.
        if len(url.path) > 1:
            self._secrets.append(SecretStr(url.path))
        if url.query:
            self._secrets.append(SecretStr(url.query))

    async def deliver(self, shot: EncodedShot) -> None:
        """Post once.

        Raises:
            DeliveryError: there was no 2xx answer.
        """
        section, session = self._section, await self._opened()
        try:
            body, headers = await self._body(shot)
            async with session.post(
                section.url,
                data=body,
                headers={"Idempotency-Key": shot.key, **headers_of(shot), **headers},
                allow_redirects=False,
                proxy=self._proxy,
            ) as response:
                status = response.status
                if not 200 <= status < 300:
                    said = await _beginning(response.content, _REFUSAL_BYTES, _REFUSAL_S)
                    raise self._refusal(response, said)
                answer = b""
                if self._answers is not None:
                    # It has been taken: what becomes of the body is another matter.
                    answer = await _beginning(response.content, _ANSWER_BYTES, section.timeout_s)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise self._unanswered(error) from None
        await self._keep(shot, status, answer)

    async def probe(self, place: str) -> str:
        """Ask with OPTIONS, which by the standard changes nothing; see `ProbedSink`."""
        section, session = self._section, await self._opened()
        async with session.options(section.url, allow_redirects=False, proxy=self._proxy) as answer:
            status = answer.status
        said = f"{self._place} answers OPTIONS with HTTP {status}"
        if status in _KEEP_OUT:
            secret = "token" if section.token is not None else "username, password or headers"
            raise ProbeError(said, f"the credentials are refused: check {place}.{secret}")
        if status >= 500 and status != 501:
            raise ProbeError(said, "the service, or a proxy before it, is in trouble: see its log")
        if 300 <= status < 400:
            raise ProbeError(
                said, f"redirections are not followed: put where it leads in {place}.url"
            )
        if status in (404, 410):
            raise ProbeError(said, f"nothing is at this path: check {place}.url")
        return said

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        self._writing.close()
        if session is not None:
            await session.close()

    async def _keep(self, shot: EncodedShot, status: int, answer: bytes) -> None:
        """Keep the answer. The best shot was accepted, so a full disk must not repeat it."""
        if self._answers is None:
            return
        try:
            line = _answer_line(shot, status, answer)
            await self._writing.run(partial(self._answers.append, line), _KEEP_S)
        except (OSError, StuckError) as error:
            log.error(
                "answer not kept", sink=self.name, key=shot.key,
                error=getattr(error, "strerror", None) or str(error) or type(error).__name__,
            )  # fmt: skip

    async def _opened(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._session is None:
                section = self._section
                tls = await asyncio.to_thread(tls_context, section)
                # The worker says how many are under way, and a reload may tell it another number.
                self._session = aiohttp.ClientSession(
                    headers=self._headers(),
                    connector=aiohttp.TCPConnector(ssl=tls, limit=0),
                    timeout=aiohttp.ClientTimeout(total=section.timeout_s),
                    cookie_jar=aiohttp.DummyCookieJar(),
                )
            return self._session

    def _headers(self) -> dict[str, str]:
        section = self._section
        headers = {name: value.get_secret_value() for name, value in section.headers.items()}
        if section.token is not None:
            headers["Authorization"] = f"Bearer {section.token.get_secret_value()}"
        elif (basic := _basic(section)) is not None:
            headers["Authorization"] = f"Basic {basic}"
        return headers

    async def _body(self, shot: EncodedShot) -> tuple[bytes, dict[str, str]]:
        """The body of this attempt, and the headers that tell what it is and who has sent it."""
        section = self._section
        if section.envelope == "none":
            form = self._form(shot)()
            body, kind = await form.as_bytes(), str(form.headers["Content-Type"])
            headers = {"Content-Type": kind}
        else:
            message = await asyncio.to_thread(message_of, shot, section)
            body = message.body
            headers = {"Content-Type": message.content_type, **message.headers("ce-")}
        if section.signature is not None:
            secrets = [section.signature.secret, section.signature.next_secret]
            known = [secret.get_secret_value().encode() for secret in secrets if secret is not None]
            headers[SIGNATURE_HEADER] = signature(body, time.time(), known)
        return body, headers

    def _form(self, shot: EncodedShot) -> aiohttp.FormData:
        section = self._section
        form = aiohttp.FormData()
        if section.metadata_part is not None:
            # As text: bytes would be sent as a file, which servers keep apart from form fields.
            text = shot.metadata.decode()
            form.add_field(section.metadata_part, text, content_type="application/json")
        pictures = (
            (section.crop_part, "crop", shot.crop),
            (section.context_part, "context", shot.context),
        )
        for part, stem, picture in pictures:
            if part is not None and picture is not None:
                form.add_field(
                    part,
                    picture.data,
                    content_type=picture.media_type,
                    filename=f"{stem}{picture.suffix}",
                )
        return form

    def _refusal(self, response: aiohttp.ClientResponse, answer: bytes) -> DeliveryError:
        status = response.status
        text = clean(answer.decode(errors="replace"), self._secrets)
        said = f": {text}" if text else ""
        if 300 <= status < 400:
            said = ", a redirect, which is not followed; set url to where it leads"
        fault = SinkFault.UNCLEAR
        setting = None
        if status in _KEEP_OUT:
            fault = SinkFault.CREDENTIALS
            setting = "proxy" if status == 407 else self._credentials
        elif status == 409 and FENCED in response.headers:
            fault = SinkFault.FENCED
        elif 300 <= status < 500 and status not in _PASSING_4XX:
            fault = SinkFault.REFUSED
        return DeliveryError(
            f"{self._place} answered {status}{said}",
            fault=fault,
            setting=setting,
            retry_after_s=retry_after_s(response.headers.get("Retry-After"), datetime.now(UTC)),
        )

    @property
    def _credentials(self) -> str:
        """The key of the settings that lets us in."""
        section = self._section
        if section.username is not None:
            return "password"
        if section.token is None and section.headers:
            return "headers"
        return "signature" if section.token is None and section.signature else "token"

    def _unanswered(self, error: TimeoutError | aiohttp.ClientError | OSError) -> DeliveryError:
        """What it means that no answer came."""
        reason = told(error, self._secrets)
        if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientConnectorError):
            limit = f"{self._section.timeout_s:g} s"
            fault = SinkFault.UNCLEAR
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                fault = SinkFault.AWAY
            return DeliveryError(f"{self._place} did not answer within {limit}", fault=fault)
        if isinstance(error, aiohttp.ClientHttpProxyError):
            # 407 to CONNECT; the headers that it carries may hold our password.
            fault = SinkFault.CREDENTIALS if error.status in _KEEP_OUT else SinkFault.AWAY
            shown = f"the proxy answered {error.status}"
            setting = "proxy" if fault is SinkFault.CREDENTIALS else None
            return DeliveryError(
                f"{self._place} cannot be reached: {shown}", fault=fault, setting=setting
            )
        away = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientSSLError)
        fault = SinkFault.AWAY if away else SinkFault.UNCLEAR
        return DeliveryError(f"{self._place} cannot be reached: {reason}", fault=fault)


def _answer_line(shot: EncodedShot, status: int, answer: bytes) -> bytes:
    said: Any = answer.decode(errors="replace")
    with suppress(ValueError):
        said = json.loads(answer)
    line = {
        "key": shot.key,
        "camera": shot.camera,
        "track_id": shot.track_id,
        "captured_at": iso_8601(shot.captured_wall),
        "status": status,
        "answer": said,
    }
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


async def _beginning(content: aiohttp.StreamReader, limit: int, timeout_s: float) -> bytes:
    """An answer, or as much of it as comes in time."""
    pieces: list[bytes] = []
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(timeout_s):
            while limit > 0 and (piece := await content.read(limit)):
                pieces.append(piece)
                limit -= len(piece)
    return b"".join(pieces)


def _basic(section: HttpSinkSection) -> str | None:
    """What `Authorization: Basic` is followed by (RFC 7617)."""
    if section.username is None or section.password is None:
        return None
    pair = f"{section.username}:{section.password.get_secret_value()}"
    try:
        said = pair.encode("latin-1")
    except UnicodeEncodeError:
        said = pair.encode()
    return base64.b64encode(said).decode()


def _split_user(proxy: str) -> tuple[str, str]:
    parts = urlsplit(proxy)
    return parts.username or "", parts.password or ""
