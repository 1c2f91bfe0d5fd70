"""A WHEP server made of aiohttp and aiortc that plays a file: run in a process of its own.

Its settings come as JSON on standard input, see `WhepServer` in `whep.py`. The port is written to
standard output once connections are accepted. `GET /sessions` tells how many sessions are open and
how many were deleted by their reader.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import sys
from pathlib import Path
from typing import Any

from aiohttp import web
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription

from tests.sources.webrtc.tracks import FileTrack


class Server:
    """The stream at `/whep`."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._sessions: dict[str, RTCPeerConnection] = {}
        self._deleted = 0

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/whep", self.post)
        app.router.add_post("/moved", self.move)
        app.router.add_delete("/session/{id}", self.delete)
        app.router.add_get("/sessions", self.count)
        app.on_shutdown.append(self.close)
        return app

    async def post(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        if self._settings["answer"] is not None:
            return web.Response(
                status=201, text=self._settings["answer"], content_type="application/sdp"
            )
        connection = RTCPeerConnection()
        clips = [Path(clip) for clip in self._settings["clips"]]
        track = FileTrack(
            *clips, stamp_time=self._settings["stamp_time"], once=self._settings["once"]
        )
        await connection.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        connection.addTrack(track)
        wanted = f"video/{self._settings['codec']}".lower()
        capabilities = RTCRtpSender.getCapabilities("video").codecs
        connection.getTransceivers()[0].setCodecPreferences(
            [c for c in capabilities if c.mimeType.lower() in {wanted, "video/rtx"}]
        )
        await connection.setLocalDescription()
        name = secrets.token_hex(8)
        self._sessions[name] = connection

        @track.on("ended")
        async def ended() -> None:
            await self._close(name)

        return web.Response(
            status=201,
            text=connection.localDescription.sdp,
            content_type="application/sdp",
            headers={"Location": f"session/{name}"},
        )

    def _refusal(self, request: web.Request) -> web.Response | None:
        token = self._settings["token"]
        if token is not None and request.headers.get("Authorization") != f"Bearer {token}":
            return web.Response(status=401, text=f"no: {request.headers.get('Authorization')}")
        if not self._settings["clips"]:
            return web.Response(status=404, headers={"Retry-After": "1"})
        if request.content_type != "application/sdp":
            return web.Response(status=415)
        return None

    async def move(self, _: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("/whep")

    async def delete(self, request: web.Request) -> web.Response:
        if request.match_info["id"] not in self._sessions:
            return web.Response(status=404)
        self._deleted += 1
        await self._close(request.match_info["id"])
        return web.Response(status=200)

    async def count(self, _: web.Request) -> web.Response:
        return web.json_response({"open": len(self._sessions), "deleted": self._deleted})

    async def close(self, _: web.Application) -> None:
        for name in list(self._sessions):
            await self._close(name)

    async def _close(self, name: str) -> None:
        connection = self._sessions.pop(name, None)
        if connection is not None:
            await connection.close()


async def main() -> None:
    settings = json.load(sys.stdin)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    runner = web.AppRunner(Server(settings).application(), shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, settings["host"], settings["port"], reuse_address=True).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
