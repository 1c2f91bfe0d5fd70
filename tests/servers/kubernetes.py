"""As much of a Kubernetes API server as a lease needs: one kind of object, and its versions."""

from __future__ import annotations

import itertools
from typing import Any

from aiohttp import web

__all__ = ["LeaseServer"]

_PATH = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


class LeaseServer:
    """Answers as the real one does: 404, 409 where the version differs, 401 without the token."""

    def __init__(self, token: str) -> None:
        self.leases: dict[str, dict[str, Any]] = {}
        self.url = ""
        self._token = token
        self._versions = itertools.count(1)
        self._runner: web.AppRunner | None = None

    async def up(self, port: int = 0) -> None:
        app = web.Application()
        app.router.add_post(_PATH, self._create)
        app.router.add_get(_PATH + "/{name}", self._get)
        app.router.add_put(_PATH + "/{name}", self._update)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def down(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def _refused(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") != f"Bearer {self._token}":
            return web.json_response({"kind": "Status", "code": 401}, status=401)
        return None

    async def _create(self, request: web.Request) -> web.Response:
        lease = await request.json()
        name = lease["metadata"]["name"]
        if (refused := self._refused(request)) is not None:
            return refused
        if name in self.leases:
            return web.json_response({"kind": "Status", "code": 409}, status=409)
        return self._stored(name, lease, 201)

    async def _get(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        lease = self.leases.get(request.match_info["name"])
        if lease is None:
            return web.json_response({"kind": "Status", "code": 404}, status=404)
        return web.json_response(lease)

    async def _update(self, request: web.Request) -> web.Response:
        lease, name = await request.json(), request.match_info["name"]
        if (refused := self._refused(request)) is not None:
            return refused
        before = self.leases.get(name)
        if before is None:
            return web.json_response({"kind": "Status", "code": 404}, status=404)
        versions = [entry["metadata"].get("resourceVersion") for entry in (before, lease)]
        if versions[0] != versions[1]:
            return web.json_response({"kind": "Status", "code": 409}, status=409)
        return self._stored(name, lease, 200)

    def _stored(self, name: str, lease: dict[str, Any], status: int) -> web.Response:
        spec = lease["spec"]
        assert isinstance(spec["leaseDurationSeconds"], int)
        assert 0 <= spec["leaseTransitions"] < 2**31
        lease["metadata"]["resourceVersion"] = str(next(self._versions))
        self.leases[name] = lease
        return web.json_response(lease, status=status)
