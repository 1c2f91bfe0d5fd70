"""The HTTP of WHEP (draft-ietf-wish-whep): an offer is posted, a session is deleted.

Redirects are followed by the library, which leaves the token behind where they lead to another
origin; so does this module for a session that lives elsewhere. No message holds the token, the
query of an address or what the server says.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
import structlog
from yarl import URL

from streamgate.config import WhepSection
from streamgate.config.tls import certificate_fault, trusting
from streamgate.sources.faults import FaultReason
from streamgate.values.backoff import retry_after_s
from streamgate.version import __version__

__all__ = ["WhepClient", "WhepError", "WhepSession"]

log = structlog.get_logger(__name__)

_SDP = "application/sdp"
_MOST_ANSWER_BYTES = 262_144
_MOST_REDIRECTS = 3
_DELETE_TIMEOUT_S = 1.0
_REASONS: dict[int, tuple[FaultReason, str]] = {
    401: (FaultReason.UNAUTHORIZED, "it refuses the token: check source.token"),
    403: (FaultReason.UNAUTHORIZED, "it refuses the token: check source.token"),
    404: (FaultReason.NOT_FOUND, "there is no such stream (yet): check the path of source.url"),
    406: (FaultReason.NO_VIDEO, "it wants to make the offer itself, or has no H.264 or VP8 video"),
    409: (FaultReason.NOT_FOUND, "the stream has not begun"),
    415: (FaultReason.OTHER, "it takes no SDP there: source.url is no WHEP endpoint"),
}


class WhepError(Exception):
    """A session could not be opened.

    Attributes:
        reason: why.
        retry_after_s: how long the server asks to wait.
    """

    def __init__(
        self, reason: FaultReason, message: str, *, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class WhepSession:
    """A session at the server.

    Attributes:
        answer: SDP.
        url: where it is deleted; None where the server did not say.
    """

    answer: str
    url: URL | None


class WhepClient:
    """Opens and ends sessions; use it as an asynchronous context."""

    def __init__(self, settings: WhepSection) -> None:
        self._endpoint = URL(settings.url)
        self._token = settings.token
        self._ca_file = settings.ca_file
        self._timeout_s = settings.connect_timeout_s

    async def __aenter__(self) -> WhepClient:
        # Reading the system's authorities takes a while.
        tls = await asyncio.to_thread(trusting, self._ca_file)
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls, limit=4),
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"streamgate/{__version__}"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def open(self, offer: str) -> WhepSession:
        """Post an offer.

        Raises:
            WhepError: there is no answer.
        """
        headers = {"Content-Type": _SDP, "Accept": _SDP, **self._authorization(self._endpoint)}
        try:
            async with self._http.post(
                self._endpoint, data=offer, headers=headers, max_redirects=_MOST_REDIRECTS
            ) as response:
                return await _session(response)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise _unreachable(error) from None

    async def delete(self, session: WhepSession) -> None:
        """End a session, as well as that can be done in a short time."""
        if session.url is None:
            return
        try:
            async with (
                asyncio.timeout(_DELETE_TIMEOUT_S),
                self._http.delete(
                    session.url, headers=self._authorization(session.url), allow_redirects=False
                ) as response,
            ):
                log.debug("session deleted", status=response.status)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            log.debug("session not deleted", error=type(error).__name__)

    def _authorization(self, url: URL) -> dict[str, str]:
        if self._token is None or url.origin() != self._endpoint.origin():
            return {}
        return {"Authorization": f"Bearer {self._token.get_secret_value()}"}


async def _session(response: aiohttp.ClientResponse) -> WhepSession:
    # Some servers answer 200.
    if response.status not in {200, 201}:
        raise _refusal(response)
    if response.content_type != _SDP:
        raise WhepError(FaultReason.INVALID_DATA, "it is no WHEP endpoint: its answer is no SDP")
    answer = bytearray()
    async for chunk in response.content.iter_any():
        answer += chunk
        if len(answer) > _MOST_ANSWER_BYTES:
            raise WhepError(FaultReason.INVALID_DATA, "its answer is too large")
    return WhepSession(answer.decode(errors="replace"), _location(response))


def _location(response: aiohttp.ClientResponse) -> URL | None:
    location = response.headers.get("Location")
    if location is None:
        return None
    try:
        url = response.url.join(URL(location))
    except ValueError:
        return None
    # A session elsewhere must at least be addressed by HTTP.
    return url if url.scheme in {"http", "https"} and url.host else None


def _refusal(response: aiohttp.ClientResponse) -> WhepError:
    reason, text = _REASONS.get(
        response.status, (FaultReason.OTHER, "it cannot serve the stream now")
    )
    return WhepError(
        reason,
        f"{text} (status {response.status})",
        retry_after_s=retry_after_s(response.headers.get("Retry-After"), datetime.now(UTC)),
    )


def _unreachable(error: Exception) -> WhepError:
    if isinstance(error, TimeoutError):
        return WhepError(FaultReason.TIMEOUT, "it does not answer within source.connect_timeout_s")
    if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
        told = certificate_fault(error) or "it speaks no TLS that we do: check source.url"
        return WhepError(FaultReason.TLS, f"no connection that can be trusted: {told}")
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, ConnectionRefusedError):
            return WhepError(FaultReason.REFUSED, "nothing accepts connections there")
        return WhepError(FaultReason.UNREACHABLE, "it cannot be reached: check name and route")
    return WhepError(FaultReason.OTHER, f"the request failed ({type(error).__name__})")
