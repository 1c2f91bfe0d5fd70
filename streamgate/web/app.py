"""The HTTP server of a camera: metrics and health, on loopback unless told otherwise."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from aiohttp import web
from prometheus_client.exposition import choose_encoder

from streamgate.config import WebSection
from streamgate.errors import StreamgateError
from streamgate.telemetry.metrics import Metrics
from streamgate.web.auth import Guard

__all__ = ["Health", "build_app", "serve"]

log = structlog.get_logger(__name__)

# Nothing that this server gives may be framed, sniffed or kept by a browser.
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
}


@dataclass(frozen=True, slots=True)
class Health:
    """How the camera is doing now.

    Attributes:
        camera: its name.
        frame_age_s: seconds since the last frame went through; None before the first.
        ready: whether frames arrive.
        alive: whether the process works, with or without frames.
        detail: in words, what is wrong.
    """

    camera: str
    frame_age_s: float | None
    ready: bool
    alive: bool
    detail: str


def build_app(
    metrics: Metrics, health: Callable[[], Health], *, metrics_guard: Guard | None = None
) -> web.Application:
    """Return the application with `/metrics`, `/healthz` and `/readyz`.

    Args:
        metrics_guard: who may scrape; None lets everybody.
    """

    async def serve_metrics(request: web.Request) -> web.StreamResponse:
        if metrics_guard is not None and (refusal := metrics_guard.refusal(request)) is not None:
            return refusal
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        # The encoders name a charset and a version, which aiohttp wants in the header whole.
        return web.Response(body=encode(metrics.exposition), headers={"Content-Type": content_type})

    async def serve_alive(_: web.Request) -> web.Response:
        now = health()
        return _answer(now, ok=now.alive)

    async def serve_ready(_: web.Request) -> web.Response:
        now = health()
        return _answer(now, ok=now.ready)

    app = web.Application(client_max_size=1 << 20)
    app.on_response_prepare.append(_add_headers)
    app.router.add_get("/metrics", serve_metrics)
    app.router.add_get("/healthz", serve_alive)
    app.router.add_get("/readyz", serve_ready)
    return app


@asynccontextmanager
async def serve(app: web.Application, settings: WebSection) -> AsyncIterator[int]:
    """Serve while the context is open; yields the port.

    Raises:
        StreamgateError: the address cannot be listened on.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port, ssl_context=_tls(settings))
        try:
            await site.start()
        except OSError as error:
            raise StreamgateError(
                f"web: cannot listen on {settings.host}:{settings.port}: "
                f"{error.strerror or error}; choose another web.port, or 0 for a free one"
            ) from None
        port: int = runner.addresses[0][1]
        log.info("web server listens", host=settings.host, port=port)
        yield port
    finally:
        await runner.cleanup()


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
    body = {"camera": health.camera, "ok": ok, "frame_age_s": age, "detail": health.detail}
    return web.json_response(body, status=200 if ok else 503)


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add them when an answer is sent, so that refusals and streams have them too."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
