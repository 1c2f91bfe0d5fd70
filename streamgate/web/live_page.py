"""The live page's routes: the page, its stream of events, its pictures and its login.

Each open page has one stream of server-sent events. There is no queue between the camera and a
page: whenever its connection can take more, a page is sent those parts of the newest state that it
has not seen. So a page that reads slowly misses what has passed, and costs one connection's buffer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib.resources import files
from typing import Any

import structlog
from aiohttp import web

from streamgate.config import WebSection
from streamgate.web.app import Health
from streamgate.web.auth import PAGE_HEADERS, Guard
from streamgate.web.live import LiveView
from streamgate.web.live_pictures import LivePictures, PicturesBusyError

__all__ = ["add_live_routes"]

log = structlog.get_logger(__name__)

_TICK_S = 0.2
# A reader that takes nothing for so long has gone to sleep or means harm.
_WRITE_TIMEOUT_S = 20.0
# A page connects again by itself, and must then prove again that it may.
_LONGEST_STREAM_S = 3600.0
_BUFFER_BYTES = 65_536
# Without frames there may be nothing to tell; proxies and pages shall still know that all is well.
_HEARTBEAT_S = 10.0
_STREAM_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    # Proxies must not hold events back.
    "X-Accel-Buffering": "no",
}


def add_live_routes(
    app: web.Application,
    view: LiveView,
    *,
    guard: Guard,
    settings: WebSection,
    health: Callable[[], Health],
) -> None:
    """Add `/` and what it needs to the application."""
    page = _Page(view, settings, guard, health)
    app.router.add_get("/", guard.protect_page(_static("live.html", "text/html")))
    app.router.add_get("/live.js", guard.protect(_static("live.js", "text/javascript")))
    app.router.add_get("/zones.js", guard.protect(_static("zones.js", "text/javascript")))
    # The login form needs the style sheet, in which there is nothing to see.
    app.router.add_get("/live.css", _static("live.css", "text/css"))
    app.router.add_get("/favicon.ico", _no_icon)
    app.router.add_get("/live/events", guard.protect(page.stream))
    app.router.add_get("/live/allowed", guard.protect(page.allowed))
    app.router.add_get("/live/frame.jpg", guard.protect(page.frame))
    app.router.add_get("/live/track/{track:\\d{1,18}}/{index:\\d{1,18}}.jpg",
                       guard.protect(page.track))  # fmt: skip
    app.router.add_get("/live/shot/{key:[a-z0-9_-]{1,200}}.jpg", guard.protect(page.shot))
    app.router.add_get("/live/heat/{key:[a-z0-9_-]{1,200}}.jpg", guard.protect(page.heat))
    app.router.add_post("/login", guard.log_in)
    app.router.add_post("/logout", guard.log_out)
    app.on_shutdown.append(page.close)


@dataclass(slots=True)
class _Parts:
    """The state as the bytes that go out, made once for all who look."""

    view: LiveView
    head: Callable[[], dict[str, Any]]
    made_at: float = -1.0
    parts: dict[str, bytes] = field(default_factory=dict)

    def newest(self) -> dict[str, bytes]:
        """Each part by name; one that is as it was is the same object."""
        now = asyncio.get_running_loop().time()
        if now - self.made_at >= _TICK_S / 2:
            self.made_at = now
            self._make("now", {**self.head(), **self.view.now()})
            self._make("tracks", self.view.live_tracks())
            self._make("shots", self.view.best_shots())
            self._make("events", self.view.events())
            self._make("zones", self.view.zones())
        return self.parts

    def _make(self, name: str, state: dict[str, Any]) -> None:
        text = json.dumps(state, separators=(",", ":"), ensure_ascii=False)
        part = f"event: {name}\ndata: {text}\n\n".encode()
        if self.parts.get(name) != part:
            self.parts[name] = part


class _Page:
    def __init__(
        self, view: LiveView, settings: WebSection, guard: Guard, health: Callable[[], Health]
    ) -> None:
        self._view = view
        self._settings = settings
        self._has_login = guard.has_token
        self._health = health
        self._pictures = LivePictures(view)
        self._parts = _Parts(view, self._head)
        self._closing = asyncio.Event()

    async def close(self, _: web.Application) -> None:
        """End every stream."""
        self._closing.set()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send the newest state for as long as the page is open."""
        if self._view.viewers >= self._settings.max_viewers:
            return web.json_response(
                {"detail": f"{self._view.viewers} pages are open, web.max_viewers allows no more"},
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                headers={"Retry-After": "10"},
            )
        with self._looking():
            response = web.StreamResponse(headers=_STREAM_HEADERS)
            try:
                async with asyncio.timeout(_LONGEST_STREAM_S):
                    await response.prepare(request)
                    _bound_buffer(request)
                    await self._send_until_closed(request, response)
            except (ConnectionResetError, TimeoutError):
                pass
        return response

    async def _send_until_closed(self, request: web.Request, response: web.StreamResponse) -> None:
        sent: dict[str, bytes] = {}
        silent_ticks = 0
        # Whoever has gone has no transport, which is noticed before the next write.
        while not self._closing.is_set() and request.transport is not None:
            fresh = {
                name: part
                for name, part in self._parts.newest().items()
                if sent.get(name) is not part
            }
            silent_ticks = 0 if fresh else silent_ticks + 1
            if silent_ticks * _TICK_S >= _HEARTBEAT_S:
                fresh, silent_ticks = {"": b":\n\n"}, 0
            for part in fresh.values():
                async with asyncio.timeout(_WRITE_TIMEOUT_S):
                    await response.write(part)
            sent.update(fresh)
            try:
                async with asyncio.timeout(_TICK_S):
                    await self._closing.wait()
            except TimeoutError:
                continue

    async def frame(self, _: web.Request) -> web.Response:
        """The newest frame; a header says which it is, so that its boxes can be drawn on it."""
        index = 0

        async def make() -> bytes | None:
            nonlocal index
            found = await self._pictures.frame()
            if found is None:
                return None
            index, picture = found
            return picture

        response = await _picture(make())
        response.headers["X-Frame-Index"] = str(index)
        return response

    async def allowed(self, _: web.Request) -> web.Response:
        """Whether pictures may be shown, for a page that is paused."""
        return web.json_response({"pictures": self._view.pictures})

    async def track(self, request: web.Request) -> web.Response:
        """The best face so far of a live track."""
        return await _picture(self._pictures.track(int(request.match_info["track"])))

    async def shot(self, request: web.Request) -> web.Response:
        """A best shot's face."""
        return await _picture(self._pictures.shot(request.match_info["key"]))

    async def heat(self, request: web.Request) -> web.Response:
        """A best shot's face under its heat map."""
        return await _picture(self._pictures.heat(request.match_info["key"]))

    def _head(self) -> dict[str, Any]:
        health = self._health()
        age = health.frame_age_s
        return {
            "camera": health.camera,
            "ok": health.ready,
            "detail": health.detail,
            "age_s": None if age is None else round(max(0.0, age), 2),
            "pictures": self._view.pictures,
            "heat": self._view.sources.explains,
            "doubt": health.doubt,
            "profile": health.profile,
            "login": self._has_login,
        }

    @contextmanager
    def _looking(self) -> Iterator[None]:
        self._view.enter()
        try:
            yield
        finally:
            self._view.leave()
            if not self._view.viewers:
                self._pictures.forget()
                self._parts.parts.clear()


async def _no_icon(_: web.Request) -> web.StreamResponse:
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def _picture(making: Awaitable[bytes | None]) -> web.Response:
    try:
        picture = await making
    except PicturesBusyError:
        return web.Response(
            status=HTTPStatus.SERVICE_UNAVAILABLE,
            headers={**PAGE_HEADERS, "Retry-After": "1"},
        )
    if picture is None:
        return web.Response(status=HTTPStatus.NOT_FOUND, headers=PAGE_HEADERS)
    return web.Response(body=picture, content_type="image/jpeg", headers=PAGE_HEADERS)


def _bound_buffer(request: web.Request) -> None:
    """Let a write wait as soon as this much has not been taken by the system."""
    transport = request.transport
    if isinstance(transport, asyncio.WriteTransport):
        transport.set_write_buffer_limits(high=_BUFFER_BYTES)


def _static(name: str, content_type: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    body = files("streamgate.web").joinpath("static", name).read_bytes()

    async def serve(_: web.Request) -> web.StreamResponse:
        return web.Response(
            body=body, content_type=content_type, charset="utf-8", headers=PAGE_HEADERS
        )

    return serve
