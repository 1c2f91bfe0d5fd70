"""The routes of the zone editor: the zones in use, their faults in words, and saving them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import structlog
from aiohttp import web

from streamgate.config import ZoneSection
from streamgate.config.zones import zone_faults
from streamgate.errors import ConfigError
from streamgate.values.redaction import redact
from streamgate.web.auth import PAGE_HEADERS, Guard

__all__ = ["FileChangedError", "ZoneStore", "add_zone_routes", "zones_for_page"]

log = structlog.get_logger(__name__)

_MOST_BYTES = 65_536
_BODY_TIMEOUT_S = 10.0


class FileChangedError(Exception):
    """The camera's file was changed since it was read."""


class ZoneStore(Protocol):
    """Where zones are kept."""

    async def version(self) -> str | None:
        """Identifies what is kept now; None where nothing can be kept."""
        ...

    async def save(self, zones: Sequence[ZoneSection], version: str) -> str:
        """Keep other zones and take them into use; returns the outcome.

        Raises:
            FileChangedError: what is kept is not that version any more.
            ConfigError: they cannot be kept.
        """
        ...


def zones_for_page(zones: Sequence[ZoneSection]) -> list[dict[str, Any]]:
    """Return zones as the page takes them."""
    return [zone.model_dump(mode="json", exclude_none=True) for zone in zones]


def add_zone_routes(
    app: web.Application,
    *,
    guard: Guard,
    zones: Callable[[], Sequence[ZoneSection]],
    store: ZoneStore | None,
) -> None:
    """Add `/live/zones` to the application.

    Args:
        zones: those in use.
        store: where they are kept; None where they cannot be.
    """
    editor = _Editor(guard, zones, store)
    app.router.add_get("/live/zones", guard.protect(editor.show))
    app.router.add_post("/live/zones/check", guard.protect(editor.check))
    app.router.add_post("/live/zones", guard.protect(editor.save))


class _Editor:
    def __init__(
        self, guard: Guard, zones: Callable[[], Sequence[ZoneSection]], store: ZoneStore | None
    ) -> None:
        self._guard = guard
        self._zones = zones
        self._store = store

    async def show(self, _: web.Request) -> web.Response:
        """The zones in use, and whether they can be saved from here."""
        version = None if self._store is None else await self._store.version()
        why_not = None
        if not self._guard.has_token:
            why_not = "Saving needs web.token: copy the YAML into the camera's file instead."
        elif version is None:
            why_not = "The camera's file cannot be written from here: copy the YAML instead."
        body = {"zones": zones_for_page(self._zones()), "version": version, "why_not": why_not}
        return web.json_response(body, headers=PAGE_HEADERS)

    async def check(self, request: web.Request) -> web.Response:
        """What is wrong with some zones."""
        content = await self._content(request)
        _, faults = zone_faults(content.get("zones"))
        told = [
            {"place": fault.key, "got": fault.got, "wanted": fault.wanted} for fault in faults
        ]  # fmt: skip
        return web.json_response({"faults": told}, headers=PAGE_HEADERS)

    async def save(self, request: web.Request) -> web.Response:
        """Write zones into the camera's file and take them into use."""
        self._guard.check_origin(request)
        if self._store is None or not self._guard.has_token:
            return _refusal(HTTPStatus.FORBIDDEN, "saving needs web.token and a file")
        content = await self._content(request)
        zones, faults = zone_faults(content.get("zones"))
        if faults:
            told = "; ".join(f"{one.key}: got {one.got}, wanted {one.wanted}" for one in faults)
            return _refusal(HTTPStatus.UNPROCESSABLE_ENTITY, told)
        try:
            outcome = await self._store.save(zones, str(content.get("version")))
        except FileChangedError:
            return _refusal(
                HTTPStatus.CONFLICT,
                "the camera's file was changed meanwhile; copy the YAML, or open the editor again",
            )
        except ConfigError as error:
            return _refusal(HTTPStatus.UNPROCESSABLE_ENTITY, redact(str(error)))
        log.info("zones saved from the live page", zones=len(zones), outcome=outcome)
        if outcome == "refused":
            return _refusal(
                HTTPStatus.UNPROCESSABLE_ENTITY, "saved, but not taken into use; see the log"
            )
        return web.json_response({"outcome": outcome}, headers=PAGE_HEADERS)

    async def _content(self, request: web.Request) -> dict[str, Any]:
        """The object in the request's body; forms of other sites cannot send such a type."""
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="application/json is wanted")
        try:
            async with asyncio.timeout(_BODY_TIMEOUT_S):
                body = await request.content.read(_MOST_BYTES + 1)
                while not request.content.at_eof() and len(body) <= _MOST_BYTES:
                    body += await request.content.read(_MOST_BYTES + 1 - len(body))
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        if len(body) > _MOST_BYTES:
            raise web.HTTPRequestEntityTooLarge(_MOST_BYTES, len(body))
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            raise web.HTTPBadRequest(text="this is no JSON") from None
        return content if isinstance(content, dict) else {}


def _refusal(status: HTTPStatus, detail: str) -> web.Response:
    return web.json_response({"detail": detail}, status=status, headers=PAGE_HEADERS)
