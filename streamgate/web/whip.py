"""The WHIP endpoint (RFC 9725) and the page that publishes to it.

This module handles HTTP only: access, forms of requests, status codes. The source, which is passed
in, handles the offers.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from importlib.resources import files
from ipaddress import ip_address
from urllib.parse import urlsplit

import structlog
from aiohttp import web

from streamgate.config import WhipSection
from streamgate.errors import IngestError, IngestFault
from streamgate.ports import WebRtcIngest
from streamgate.telemetry.metrics import Metrics
from streamgate.telemetry.rate_limit import Rarely
from streamgate.web.connections import trust

__all__ = ["add_whip_routes"]

log = structlog.get_logger(__name__)

_SDP = "application/sdp"
_FRAGMENT = "application/trickle-ice-sdpfrag"
_BODY_TIMEOUT_S = 10.0
_MOST_FRAGMENT_BYTES = 16_384
_RETRY_AFTER_S = "2"

_STATUS: dict[IngestFault, int] = {
    IngestFault.MALFORMED: 400,
    IngestFault.UNKNOWN_SESSION: 404,
    IngestFault.BUSY: 409,
    IngestFault.STALE: 412,
    IngestFault.UNSUPPORTED: 422,
    IngestFault.NO_CONDITION: 428,
    IngestFault.NOT_RUNNING: 503,
}
_TITLE: dict[int, str] = {
    400: "Malformed request",
    401: "Not authorised",
    403: "Origin not allowed",
    404: "No such session",
    408: "Request too slow",
    409: "Another publisher is there",
    412: "Another ICE session",
    413: "Body too large",
    415: "Wrong content type",
    422: "Not supported",
    428: "If-Match is missing",
    503: "Not running",
}
_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
_PAGE_FILES = {
    "/publish": ("publish.html", "text/html"),
    "/publish.js": ("publish.js", "text/javascript"),
    "/publish.css": ("publish.css", "text/css"),
    "/publish.svg": ("publish.svg", "image/svg+xml"),
}

_Handler = Callable[[web.Request], Awaitable[web.Response]]


class _RefusedError(Exception):
    """A request is refused before the source hears of it."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def add_whip_routes(
    app: web.Application, ingest: WebRtcIngest, settings: WhipSection, metrics: Metrics
) -> None:
    """Add `/whip`, its sessions and, where it is wanted, `/publish` to the application."""
    endpoint = _Endpoint(ingest, settings, metrics)
    app.router.add_post("/whip", endpoint.guarded(endpoint.post))
    app.router.add_options("/whip", endpoint.options)
    app.router.add_patch("/whip/{session}", endpoint.guarded(endpoint.patch))
    app.router.add_delete("/whip/{session}", endpoint.guarded(endpoint.delete))
    app.router.add_options("/whip/{session}", endpoint.options)
    if settings.publish_page:
        for path, (name, content_type) in _PAGE_FILES.items():
            app.router.add_get(path, _page_file(name, content_type))


class _Endpoint:
    def __init__(self, ingest: WebRtcIngest, settings: WhipSection, metrics: Metrics) -> None:
        self._ingest = ingest
        self._settings = settings
        self._metrics = metrics
        self._told = Rarely()
        token = settings.token
        self._token = None if token is None else token.get_secret_value().encode()

    async def post(self, request: web.Request) -> web.Response:
        """Take an offer."""
        offer = await _text(request, _SDP, self._settings.max_offer_bytes)
        answer = await self._ingest.offer(offer)
        response = web.Response(status=201, text=answer.sdp, content_type=_SDP)
        response.headers["Location"] = f"/whip/{answer.session_id}"
        response.headers["ETag"] = f'"{answer.entity_tag}"'
        response.headers["Accept-Patch"] = _FRAGMENT
        self._add_links(response)
        return response

    async def patch(self, request: web.Request) -> web.Response:
        """Take trickled candidates."""
        fragment = await _text(request, _FRAGMENT, _MOST_FRAGMENT_BYTES)
        condition = request.headers.get("If-Match")
        tag = None if condition is None else condition.strip().strip('"')
        await self._ingest.patch(request.match_info["session"], fragment, entity_tag=tag)
        return web.Response(status=204)

    async def delete(self, request: web.Request) -> web.Response:
        """End a session."""
        await self._ingest.delete(request.match_info["session"])
        return web.Response(status=200)

    async def options(self, request: web.Request) -> web.Response:
        """Answer a browser's question (CORS) whether a page of another site may publish."""
        in_session = "session" in request.match_info
        methods = "PATCH, DELETE, OPTIONS" if in_session else "POST, OPTIONS"
        response = web.Response(status=204, headers={"Allow": methods})
        if not in_session:
            response.headers["Accept-Post"] = _SDP
            self._add_links(response)
        if self._may(request):
            response.headers["Access-Control-Allow-Methods"] = methods
            response.headers["Access-Control-Allow-Headers"] = (
                "Authorization, Content-Type, If-Match"
            )
            response.headers["Access-Control-Max-Age"] = "600"
        return self._shared(request, response)

    def guarded(self, handle: _Handler) -> _Handler:
        """Refuse requests without access, and turn refusals into problem documents."""

        async def guard(request: web.Request) -> web.Response:
            try:
                self._check(request)
                trust(request)
                response = await handle(request)
            except _RefusedError as refusal:
                response = _problem(refusal.status, str(refusal))
                response.headers.update(refusal.headers)
            except IngestError as error:
                response = _problem(_STATUS[error.fault], str(error))
                if error.fault is IngestFault.NOT_RUNNING:
                    response.headers["Retry-After"] = _RETRY_AFTER_S
            self._metrics.whip_requests.labels(request.method, str(response.status)).inc()
            if response.status >= 400:
                left_out = self._told.admit((request.method, response.status))
                if left_out is not None:
                    log.info(
                        "publisher refused", method=request.method, status=response.status,
                        times_before=left_out,
                    )  # fmt: skip
            return self._shared(request, response)

        return guard

    def _check(self, request: web.Request) -> None:
        if not self._may(request):
            raise _RefusedError(403, "this origin may not publish: add it to allowed_origins")
        if self._token is None:
            # A page on the internet may have its own name point to this machine (DNS rebinding);
            # its origin and the host are then the same, but not a name of this machine.
            if not _is_local(request.headers.get("Host", "")):
                raise _RefusedError(403, "without a token only localhost may publish")
            return
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _RefusedError(401, "a bearer token is wanted", WWW_Authenticate="Bearer")
        # In constant time, so that the time of an answer tells nothing of the token.
        if not hmac.compare_digest(token.strip().encode("utf-8", "replace"), self._token):
            raise _RefusedError(
                401, "the token is wrong", WWW_Authenticate='Bearer error="invalid_token"'
            )

    def _may(self, request: web.Request) -> bool:
        origin = request.headers.get("Origin")
        if origin is None or origin.partition("://")[2] == request.headers.get("Host", ""):
            return True
        return not {"*", origin.lower()}.isdisjoint(self._settings.allowed_origins)

    def _shared(self, request: web.Request, response: web.Response) -> web.Response:
        """Let a page of an allowed site read the answer."""
        response.headers["Vary"] = "Origin"
        origin = request.headers.get("Origin")
        if origin is not None and self._may(request):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = (
                "Location, ETag, Link, Accept-Patch, Retry-After"
            )
        return response

    def _add_links(self, response: web.Response) -> None:
        # TURN credentials are ours and go to nobody.
        for server in self._settings.ice_servers:
            if server.url.startswith("stun"):
                response.headers.add("Link", f'<{server.url}>; rel="ice-server"')


def _is_local(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


async def _text(request: web.Request, content_type: str, most_bytes: int) -> str:
    if request.content_type.lower() != content_type:
        header = "Accept_Post" if content_type == _SDP else "Accept_Patch"
        raise _RefusedError(415, f"wanted Content-Type {content_type}", **{header: content_type})
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > most_bytes:
                    raise _RefusedError(413, f"at most {most_bytes} bytes are taken")
    except TimeoutError:
        raise _RefusedError(408, "the body did not come in time") from None
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise _RefusedError(400, "the body is not UTF-8 text") from None


def _problem(status: int, detail: str) -> web.Response:
    """Return a problem document (RFC 9457)."""
    document = {"title": _TITLE[status], "status": status, "detail": detail}
    return web.json_response(document, status=status, content_type="application/problem+json")


def _page_file(name: str, content_type: str) -> _Handler:
    body = files("streamgate.web").joinpath("static", name).read_bytes()

    async def serve(_: web.Request) -> web.Response:
        return web.Response(
            body=body, content_type=content_type, charset="utf-8", headers=_PAGE_HEADERS
        )

    return serve
