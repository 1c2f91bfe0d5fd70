"""Access control: a request needs the token, or the cookie that logging in with it has set.

The token itself is never in an address, a page, a log or a cookie. The cookie is a time limit and a
signature over it with a key derived from the token, so a new token invalidates every cookie.
Without a token only requests from this machine are answered, and only under a name of its own:
otherwise a page on the internet could point its name here and read what this server shows (DNS
rebinding).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib.resources import files

import structlog
from aiohttp import web

from streamgate.config import WebSection
from streamgate.telemetry.rate_limit import Rarely
from streamgate.web.connections import trust
from streamgate.web.hosts import Hosts, certificate_names

__all__ = ["PAGE_HEADERS", "Guard"]

log = structlog.get_logger(__name__)

PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
_SESSION_S = 12 * 3600
_PENALTY_S = 0.5
_MOST_FORM_BYTES = 4096
_FORM_TIMEOUT_S = 10.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Guard:
    """Protects handlers from requests without access.

    Args:
        settings: with the token, if there is one.
        camera: makes the cookie's name: browsers do not tell the ports of one host apart.
        wall: Unix seconds.
    """

    def __init__(
        self, settings: WebSection, camera: str, *, wall: Callable[[], float] = time.time
    ) -> None:
        token = settings.token
        self._token = None if token is None else token.get_secret_value().encode()
        self._key = hashlib.sha256(b"streamgate session\n" + (self._token or b"")).digest()
        self._hosts = Hosts(settings, certificate_names(settings.cert_file))
        self._told = Rarely()
        self._camera = camera
        self._cookie = f"streamgate_{camera}"
        self._wall = wall
        self._penalty = asyncio.Lock()
        form = files("streamgate.web").joinpath("static", "login.html")
        self._form = form.read_text(encoding="utf-8")

    @property
    def has_token(self) -> bool:
        """Whether a token is asked for."""
        return self._token is not None

    def protect(self, handle: Handler) -> Handler:
        """Return a handler that refuses requests without access."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            return self.refusal(request) or await handle(request)

        return guarded

    def protect_page(self, handle: Handler) -> Handler:
        """Return a handler that answers requests without access with the login form."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            refusal = self.refusal(request)
            if refusal is None:
                return await handle(request)
            if refusal.status == HTTPStatus.UNAUTHORIZED:
                return self._login_page(HTTPStatus.UNAUTHORIZED)
            return refusal

        return guarded

    def host_refusal(self, request: web.Request) -> web.Response | None:
        """The answer to one who asks by a name that may be somebody else's, or None."""
        if self._hosts.allow_request(request) or self._is_proved(request):
            return None
        return web.json_response(
            {"detail": "this camera does not answer to that name: add it to web.allowed_hosts"},
            status=HTTPStatus.FORBIDDEN,
        )

    def refusal(self, request: web.Request) -> web.Response | None:
        """The answer to one who may not look, or None."""
        if self._token is None:
            if self._hosts.allow_request(request):
                trust(request)
                return None
            return web.json_response(
                {"detail": "without web.token this camera answers to localhost only"},
                status=HTTPStatus.FORBIDDEN,
            )
        if self._is_proved(request):
            trust(request)
            return None
        return web.json_response(
            {"detail": "a bearer token is wanted"},
            status=HTTPStatus.UNAUTHORIZED,
            headers={"WWW-Authenticate": "Bearer"},
        )

    async def log_in(self, request: web.Request) -> web.StreamResponse:
        """Check the token of the form and set a cookie."""
        if self._token is None:
            raise web.HTTPSeeOther("/")
        self.check_origin(request)
        if (request.content_length or 0) > _MOST_FORM_BYTES:
            raise web.HTTPRequestEntityTooLarge(_MOST_FORM_BYTES, request.content_length or 0)
        try:
            async with asyncio.timeout(_FORM_TIMEOUT_S):
                given = (await request.post()).get("token", "")
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        except ValueError:
            # A form that contradicts itself.
            raise web.HTTPBadRequest from None
        if not isinstance(given, str) or not self._is_token(given.strip()):
            return await self._refuse_login()
        expires = int(self._wall()) + _SESSION_S
        response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": "/"})
        response.set_cookie(
            self._cookie,
            f"{expires}.{self._signature(expires)}",
            max_age=_SESSION_S,
            path="/",
            httponly=True,
            samesite="Strict",
            secure=self._hosts.is_encrypted(request),
        )
        return response

    async def log_out(self, request: web.Request) -> web.StreamResponse:
        """Delete the cookie."""
        self.check_origin(request)
        response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": "/"})
        response.del_cookie(
            self._cookie,
            path="/",
            httponly=True,
            samesite="Strict",
            secure=self._hosts.is_encrypted(request),
        )
        return response

    def check_origin(self, request: web.Request) -> None:
        """Refuse what a page of another site sends: it would log people in or out unasked.

        Raises:
            HTTPForbidden: it says so.
        """
        if not self._hosts.allow_origin(request):
            raise web.HTTPForbidden(text="this form comes from another site")

    async def _refuse_login(self) -> web.StreamResponse:
        left_out = self._told.admit()
        if left_out is not None:
            log.warning("login to the live page refused", times_before=left_out)
        # One wrong token at a time is made to wait; whoever guesses more often is sent away.
        if self._penalty.locked():
            return self._login_page(
                HTTPStatus.TOO_MANY_REQUESTS, "Too many attempts. Wait a moment."
            )
        async with self._penalty:
            await asyncio.sleep(_PENALTY_S)
        return self._login_page(HTTPStatus.UNAUTHORIZED, "This is not the token.")

    def _is_proved(self, request: web.Request) -> bool:
        return self._token is not None and (self.bears_token(request) or self._has_session(request))

    def bears_token(self, request: web.Request) -> bool:
        """Whether a request carries the token itself, which no page of another site can send."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self._is_token(token.strip())

    def _is_token(self, given: str) -> bool:
        # In constant time, so that the time of an answer tells nothing of the token.
        return self._token is not None and hmac.compare_digest(
            given.encode("utf-8", "replace"), self._token
        )

    def _has_session(self, request: web.Request) -> bool:
        expires, _, signature = request.cookies.get(self._cookie, "").partition(".")
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
            return False
        wanted = self._signature(int(expires)).encode()
        return hmac.compare_digest(signature.encode("utf-8", "replace"), wanted) and (
            self._wall() < int(expires)
        )

    def _signature(self, expires: int) -> str:
        text = f"{self._camera}\n{expires}".encode()
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()

    def _login_page(self, status: HTTPStatus, message: str = "") -> web.Response:
        told = f'<p class="message" role="alert">{message}</p>' if message else ""
        page = self._form.replace("<!-- message -->", told)
        return web.Response(
            status=status, text=page, content_type="text/html", headers=PAGE_HEADERS
        )
