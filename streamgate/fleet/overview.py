"""One page for the whole fleet, and the list of targets that Prometheus asks for.

It asks the actors, a moment's answers serve everybody, and no picture passes through Ray: a camera
is looked at on its own live page.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from typing import Any

import ray
from aiohttp import web

from streamgate.config.camera import WebSection
from streamgate.errors import StreamgateError
from streamgate.fleet.cluster import OVERVIEW, statuses
from streamgate.fleet.spec import split_name
from streamgate.web.app import bounded_app, serve
from streamgate.web.auth import PAGE_HEADERS, Guard
from streamgate.web.connections import Limits

__all__ = ["OverviewActor", "end_overview", "ensure_overview", "overview_app", "serve_here"]

_KEPT_S = 2.0
_ASK_S = 5.0
_START_S = 90.0
_MOST_CONNECTIONS = 64

Ask = Callable[[], list[dict[str, Any]]]


def ask_fleet() -> list[dict[str, Any]]:
    """How every process of the namespace is."""
    return statuses([n for n in ray.util.list_named_actors() if split_name(n)], _ASK_S)


class _Kept:
    """The newest answers; those who ask together wait for one question."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._at = float("-inf")
        self._found: list[dict[str, Any]] = []
        self._lock = asyncio.Lock()

    async def newest(self) -> list[dict[str, Any]]:
        async with self._lock:
            if time.monotonic() - self._at > _KEPT_S:
                self._found = await asyncio.to_thread(self._ask)
                self._at = time.monotonic()
            return self._found


def overview_app(settings: WebSection, fleet: str, ask: Ask) -> web.Application:
    """Serve `/`, `/fleet.json` and `/sd` to whoever may see them, and `/healthz` to all.

    Args:
        ask: returns how every process is; called in a thread.
    """
    guard = Guard(settings, f"fleet_{fleet}")
    kept = _Kept(ask)

    async def show(_: web.Request) -> web.Response:
        body = {"fleet": fleet, "processes": await kept.newest()}
        return web.json_response(body)

    async def targets(_: web.Request) -> web.Response:
        return web.json_response(_targets(await kept.newest()))

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    app = bounded_app(guard, Limits(_MOST_CONNECTIONS))
    app.router.add_get("/", guard.protect_page(_static("fleet.html", "text/html")))
    app.router.add_get("/fleet.js", guard.protect(_static("fleet.js", "text/javascript")))
    app.router.add_get("/fleet.css", _static("fleet.css", "text/css"))
    # The login form's own.
    app.router.add_get("/live.css", _static("live.css", "text/css", "streamgate.web"))
    app.router.add_get("/fleet.json", guard.protect(show))
    app.router.add_get("/sd", guard.protect(targets))
    app.router.add_get("/healthz", alive)
    app.router.add_post("/login", guard.log_in)
    app.router.add_post("/logout", guard.log_out)
    return app


def _targets(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """In the form of Prometheus' HTTP service discovery."""
    return [
        {
            "targets": [said["target"]],
            "labels": {
                "__scheme__": said["scheme"],
                "place": said.get("place") or "",
                "host": said.get("host") or "",
            },
        }
        for said in found
        if said.get("target")
    ]


def _static(
    name: str, kind: str, package: str = "streamgate.fleet"
) -> Callable[[web.Request], Any]:
    text = files(package).joinpath("static", name).read_text(encoding="utf-8")

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type=kind, headers=PAGE_HEADERS)

    return answer


class OverviewActor:
    """Serves the page from a thread with a loop of its own."""

    def __init__(self, settings: WebSection, fleet: str) -> None:
        self._settings = settings
        self._fleet = fleet
        self._port = 0
        self._fault = ""
        self._ready = threading.Event()
        threading.Thread(target=self._run, name="overview", daemon=True).start()

    def url(self) -> str:
        """Where the page is; it raises where it cannot be served."""
        if not self._ready.wait(_START_S) or self._fault:
            raise RuntimeError(self._fault or "the overview does not start")
        web_settings = self._settings
        scheme = "http" if web_settings.cert_file is None else "https"
        return f"{scheme}://{web_settings.host}:{self._port}"

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except StreamgateError as error:
            self._fault = str(error)
            self._ready.set()

    async def _serve(self) -> None:
        app = overview_app(self._settings, self._fleet, ask_fleet)
        async with serve(app, self._settings) as port:
            self._port = port
            self._ready.set()
            await asyncio.Event().wait()


def ensure_overview(settings: WebSection, fleet: str) -> str:
    """Start the overview on the head, or anew where its settings may have changed; return its URL.

    Raises:
        StreamgateError: it cannot listen.
    """
    end_overview()
    make = ray.remote(OverviewActor)
    handle = make.options(
        name=OVERVIEW, lifetime="detached", max_restarts=-1, max_concurrency=4, num_cpus=0,
        resources={"node:__internal_head__": 0.001}, enable_task_events=False,
    ).remote(settings, fleet)  # fmt: skip
    try:
        return str(ray.get(handle.url.remote(), timeout=_START_S))
    except (ray.exceptions.RayError, TimeoutError) as error:
        ray.kill(handle)
        said = str(error).strip().splitlines()[-1]
        raise StreamgateError(f"the overview page cannot be served: {said}") from None


def end_overview() -> None:
    """End the overview, if there is one, and wait until its name is free."""
    with suppress(ValueError):
        ray.kill(ray.get_actor(OVERVIEW))
    deadline = time.monotonic() + _START_S
    while OVERVIEW in ray.util.list_named_actors() and time.monotonic() < deadline:
        time.sleep(0.05)


def serve_here(settings: WebSection, fleet: str, *, tell: Callable[[str], None]) -> None:
    """Serve the page from this process until it is interrupted."""

    async def run() -> None:
        async with serve(overview_app(settings, fleet, ask_fleet), settings) as port:
            scheme = "http" if settings.cert_file is None else "https"
            tell(f"overview: {scheme}://{settings.host}:{port}")
            await asyncio.Event().wait()

    with suppress(KeyboardInterrupt):
        asyncio.run(run())
