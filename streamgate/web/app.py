"""The HTTP server of a camera: metrics and health checks; on loopback by default."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client.registry import Collector

from streamgate.config import WebSection
from streamgate.errors import StreamgateError
from streamgate.telemetry.exposition import CachedExposition
from streamgate.web.auth import Guard
from streamgate.web.connections import Connections, Limits, open_listeners

__all__ = ["Health", "bounded_app", "build_app", "serve"]

log = structlog.get_logger(__name__)

# Browsers must not frame, sniff or store any answer of this server.
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Without a referrer at home, browsers would not say where a form comes from either.
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
}


_MOST_CONNECTIONS = 64
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Health:
    """How the camera is doing now.

    Attributes:
        camera: its name.
        frame_age_s: seconds since the last frame went through; None before the first.
        ready: whether frames arrive.
        alive: whether the process works, with or without frames.
        detail: in words, what is wrong.
        doubt: in words, what is not as it should be although frames arrive.
        kind: what this process is: a camera, or a scorer.
        profile: the profile in use.
    """

    camera: str
    frame_age_s: float | None
    ready: bool
    alive: bool
    detail: str
    doubt: str | None = None
    kind: str = "camera"
    profile: str = "default"


class _Measured(Protocol):
    """A process with metrics."""

    @property
    def exposition(self) -> Collector:
        """What is scraped."""
        ...


# These prove by a token of their own that they may, or answer this machine's names alone.
_CHECKED_ELSEWHERE = "/whip"
_CONNECTIONS = web.AppKey("connections", Connections)


def build_app(
    metrics: _Measured,
    health: Callable[[], Health],
    *,
    guard: Guard | None = None,
    protect_metrics: bool = False,
    limits: Limits | None = None,
) -> web.Application:
    """Return the application with `/metrics`, `/healthz` and `/readyz`.

    Args:
        guard: knows by which names the server may be asked and who may see more; None, where
            there is nothing to guard, lets everybody ask by any name.
        protect_metrics: whether the guard decides who may scrape.
        limits: on connections.
    """
    exposition = CachedExposition(metrics.exposition)

    async def serve_metrics(request: web.Request) -> web.StreamResponse:
        if protect_metrics and guard is not None:
            refusal = guard.refusal(request)
            if refusal is not None:
                return refusal
        text, content_type = exposition.newest(request.headers.get("Accept", ""))
        # The encoders name a charset and a version, which aiohttp wants in the header whole.
        return web.Response(body=text, headers={"Content-Type": content_type})

    async def serve_alive(_: web.Request) -> web.Response:
        now = health()
        return _answer(now, ok=now.alive)

    async def serve_ready(_: web.Request) -> web.Response:
        now = health()
        return _answer(now, ok=now.ready)

    app = bounded_app(guard, limits or Limits(_MOST_CONNECTIONS))
    app.router.add_get("/metrics", serve_metrics)
    app.router.add_get("/healthz", serve_alive)
    app.router.add_get("/readyz", serve_ready)
    return app


def bounded_app(guard: Guard | None, limits: Limits) -> web.Application:
    """Return an application without routes: connections are bounded, names of hosts are checked.

    Args:
        guard: knows by which names the server may be asked.
    """

    @web.middleware
    async def check_host(request: web.Request, handler: _Handler) -> web.StreamResponse:
        if guard is not None and not request.path.startswith(_CHECKED_ELSEWHERE):
            refusal = guard.host_refusal(request)
            if refusal is not None:
                return refusal
        return await handler(request)

    connections = Connections(limits)
    app = web.Application(client_max_size=1 << 20, middlewares=[connections.middleware, check_host])
    app[_CONNECTIONS] = connections
    app.on_response_prepare.append(_add_headers)
    return app


@asynccontextmanager
async def serve(app: web.Application, settings: WebSection) -> AsyncIterator[int]:
    """Serve while the context is open; yields the port.

    Raises:
        StreamgateError: the address cannot be listened on.
    """
    # What is wrong with a client's request is no fault of ours, however many send such.
    logging.getLogger("aiohttp.server").addFilter(_is_ours)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5, lingering_time=1.0)
    await runner.setup()
    server = runner.server
    assert server is not None, "it was set up"
    try:
        tls = await asyncio.to_thread(_tls, settings)
        try:
            listeners = await open_listeners(settings.host, settings.port)
        except OSError as error:
            raise StreamgateError(
                f"web: cannot listen on {settings.host}:{settings.port}: "
                f"{error.strerror or error}; choose another web.port, or 0 for a free one"
            ) from None
        port: int = listeners[0].getsockname()[1]
        async with app[_CONNECTIONS].accepting(listeners, server, tls):
            log.info("web server listens", host=settings.host, port=port)
            yield port
    finally:
        await runner.cleanup()


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


def _tls(settings: WebSection) -> ssl.SSLContext | None:
    if settings.cert_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    except (OSError, ssl.SSLError) as error:
        raise StreamgateError(
            f"web: the certificate {settings.cert_file} cannot be used: {error.strerror or error}; "
            "wanted a PEM certificate and its key in web.cert_file and web.key_file"
        ) from None
    return context


def _answer(health: Health, *, ok: bool) -> web.Response:
    age = None if health.frame_age_s is None else round(health.frame_age_s, 3)
    body: dict[str, object] = {
        health.kind: health.camera,
        "ok": ok,
        "frame_age_s": age,
        "detail": health.detail,
    }
    if health.kind == "camera":
        body["profile"] = health.profile
    return web.json_response(body, status=200 if ok else 503)


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add them when an answer is sent, so that refusals and streams have them too."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
