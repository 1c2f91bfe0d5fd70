"""Best shots by HTTP POST.

A 2xx answer acknowledges. 4xx means that sending the same again is useless, but for 408, 425 and
429, which ask for another time; so do 5xx and everything that fails before an answer. Redirects are
not followed: the credentials belong to the host that the config names.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import structlog
from pydantic import SecretStr

from streamgate.config import HttpSinkSection
from streamgate.delivery.payload import iso_8601
from streamgate.delivery.rotated import RotatedFile
from streamgate.delivery.sinks.secure import clean, tls_context, told
from streamgate.errors import DeliveryError
from streamgate.values import EncodedShot

__all__ = ["HttpSink", "retry_after_s"]

log = structlog.get_logger(__name__)

_PASSING_4XX = frozenset({408, 425, 429})
_ANSWER_BYTES = 65_536


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Seconds that a `Retry-After` header asks to wait: a number of them, or a date."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


class HttpSink:
    """Posts multipart/form-data with an `Idempotency-Key`."""

    def __init__(self, section: HttpSinkSection) -> None:
        self.name = section.name
        self._section = section
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()
        kept = section.answers
        self._answers = None if kept is None else RotatedFile(kept.path, kept.max_bytes, kept.keep)
        self._keeping = asyncio.Lock()
        url = urlsplit(section.url)
        self._place = f"{url.scheme}://{url.netloc}"
        self._secrets = [section.token, section.password, *section.headers.values()]
        basic = _basic(section)
        if basic is not None:
            self._secrets.append(SecretStr(basic.encode().removeprefix("Basic ")))
        # The path of a webhook is often its only secret.
        if len(url.path) > 1:
            self._secrets.append(SecretStr(url.path))

    async def deliver(self, shot: EncodedShot) -> None:
        """Post once.

        Raises:
            DeliveryError: there was no 2xx answer.
        """
        session = await self._opened()
        try:
            async with session.post(
                self._section.url,
                data=self._form(shot),
                headers={"Idempotency-Key": shot.key},
                allow_redirects=False,
            ) as response:
                answer = await _whole(response.content, _ANSWER_BYTES)
                if not 200 <= response.status < 300:
                    raise self._refusal(response, answer)
                status = response.status
        except TimeoutError:
            limit = f"{self._section.timeout_s:g} s"
            raise DeliveryError(f"{self._place} did not answer within {limit}") from None
        except (aiohttp.ClientError, OSError) as error:
            reason = told(error, self._secrets)
            raise DeliveryError(f"{self._place} cannot be reached: {reason}") from None
        await self._keep(shot, status, answer)

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _keep(self, shot: EncodedShot, status: int, answer: bytes) -> None:
        """Write the answer down. It was taken already: a full disk must not have it sent again."""
        if self._answers is None:
            return
        try:
            async with self._keeping:
                await asyncio.to_thread(self._answers.append, _answer_line(shot, status, answer))
        except OSError as error:
            log.error(
                "answer not kept", sink=self.name, key=shot.key,
                error=error.strerror or type(error).__name__,
            )  # fmt: skip

    async def _opened(self) -> aiohttp.ClientSession:
        async with self._opening:
            if self._session is None:
                section = self._section
                tls = await asyncio.to_thread(tls_context, section)
                self._session = aiohttp.ClientSession(
                    headers=self._headers(),
                    auth=_basic(section),
                    connector=aiohttp.TCPConnector(ssl=tls, limit=section.at_once),
                    timeout=aiohttp.ClientTimeout(total=section.timeout_s),
                    cookie_jar=aiohttp.DummyCookieJar(),
                )
            return self._session

    def _headers(self) -> dict[str, str]:
        section = self._section
        headers = {name: value.get_secret_value() for name, value in section.headers.items()}
        if section.token is not None:
            headers["Authorization"] = f"Bearer {section.token.get_secret_value()}"
        return headers

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
        text = clean(answer[:400].decode(errors="replace"), self._secrets)
        said = f": {text}" if text else ""
        if 300 <= status < 400:
            said = ", a redirect, which is not followed; set url to where it leads"
        return DeliveryError(
            f"{self._place} answered {status}{said}",
            permanent=300 <= status < 500 and status not in _PASSING_4XX,
            retry_after_s=retry_after_s(response.headers.get("Retry-After"), datetime.now(UTC)),
        )


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


async def _whole(content: aiohttp.StreamReader, limit: int) -> bytes:
    """An answer, or its beginning."""
    pieces: list[bytes] = []
    while limit > 0 and (piece := await content.read(limit)):
        pieces.append(piece)
        limit -= len(piece)
    return b"".join(pieces)


def _basic(section: HttpSinkSection) -> aiohttp.BasicAuth | None:
    if section.username is None or section.password is None:
        return None
    return aiohttp.BasicAuth(section.username, section.password.get_secret_value())
