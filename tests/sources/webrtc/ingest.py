"""A WHIP endpoint as the daemon serves it, and a publisher made of aiortc."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from yarl import URL

from streamgate.config import WebSection, WhipSection
from streamgate.sources.webrtc.whip import WhipSource
from streamgate.telemetry.metrics import Metrics
from streamgate.web.app import Health, build_app, serve
from streamgate.web.whip import add_whip_routes
from tests.sources.viewer import SystemClock, Viewer, watching
from tests.sources.webrtc.tracks import FileTrack

__all__ = ["SDP", "TOKEN", "Ingest", "Publisher", "ingest", "offer_of"]

TOKEN = "s3cret-of-the-door"
SDP = {"Content-Type": "application/sdp"}


@dataclass(frozen=True, slots=True)
class Ingest:
    """The endpoint under test."""

    url: URL
    viewer: Viewer
    metrics: Metrics
    http: aiohttp.ClientSession

    async def post(
        self, sdp: str | bytes, *, token: str | None = TOKEN, **headers: str
    ) -> aiohttp.ClientResponse:
        """Post a body as an offer; the answer is read."""
        sent = {**SDP, **{name.replace("_", "-"): text for name, text in headers.items()}}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        response = await self.http.post(self.url, data=sdp, headers=sent)
        await response.read()
        return response


@asynccontextmanager
async def ingest(
    web: dict[str, Any] | None = None,
    *,
    token: str | None = TOKEN,
    ca_file: Path | None = None,
    **settings: Any,
) -> AsyncIterator[Ingest]:
    """Serve a WHIP source on a free port; with `ca_file`, by HTTPS that is verified with it."""
    tls = ssl.create_default_context(cafile=ca_file)
    section = WhipSection(kind="whip", **{"token": token, **settings})
    metrics = Metrics()
    source = WhipSource(section, metrics, SystemClock())
    app = build_app(metrics, lambda: Health("door", None, True, True, ""))
    add_whip_routes(app, source, section, metrics)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as http,
        serve(app, WebSection(port=0, **(web or {}))) as port,
        watching(source) as viewer,
    ):
        scheme, host = "https" if ca_file else "http", (web or {}).get("host", "127.0.0.1")
        yield Ingest(URL(f"{scheme}://{host}:{port}/whip"), viewer, metrics, http)


class Publisher:
    """Publishes a track until the context is left; it deletes its session then."""

    def __init__(self, target: Ingest, track: FileTrack, *, codec: str = "VP8") -> None:
        self._target = target
        self._track = track
        self._codec = codec
        self.connection = RTCPeerConnection()
        self.session: URL | None = None
        self.entity_tag = ""

    async def __aenter__(self) -> Self:
        response = await self._target.post(await self._offer())
        assert response.status == 201, await response.text()
        self.session = response.url.join(URL(response.headers["Location"]))
        self.entity_tag = response.headers["ETag"]
        answer = RTCSessionDescription(await response.text(), "answer")
        await self.connection.setRemoteDescription(answer)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.delete()
        await self.vanish()

    async def delete(self) -> int:
        """End the session by HTTP; return the status."""
        assert self.session is not None
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self._target.http.delete(self.session, headers=headers) as response:
            return response.status

    async def vanish(self) -> None:
        """Stop sending."""
        self._track.stop()
        await self.connection.close()

    async def _offer(self) -> str:
        self.connection.addTrack(self._track)
        await _prepare(self.connection, self._codec)
        return str(self.connection.localDescription.sdp)


async def _prepare(connection: RTCPeerConnection, codec: str) -> None:
    wanted = {f"video/{codec}".lower(), "video/rtx"}
    capabilities = RTCRtpSender.getCapabilities("video").codecs
    connection.getTransceivers()[0].setCodecPreferences(
        [c for c in capabilities if c.mimeType.lower() in wanted]
    )
    await connection.setLocalDescription()


async def offer_of(*kinds: str) -> str:
    """Return a real offer that sends these kinds of media and that nobody is behind."""
    connection = RTCPeerConnection()
    for kind in kinds:
        connection.addTransceiver(kind, "sendonly")
    await connection.setLocalDescription()
    sdp = str(connection.localDescription.sdp)
    await connection.close()
    return sdp
