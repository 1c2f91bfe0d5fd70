"""Open connections, bounded: whoever opens many must not take descriptors from anybody else.

At the limit a newcomer takes the place of the connection that has been idle longest, then of the
oldest that asks without having proved that it may. So a flood of silent connections costs others
nothing, and a health check that comes in the midst of it is answered.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from streamgate.telemetry.rate_limit import Rarely

__all__ = [
    "RESERVED_DESCRIPTORS",
    "Connections",
    "Limits",
    "open_listeners",
    "raise_descriptor_limit",
    "trust",
]

log = structlog.get_logger(__name__)

RESERVED_DESCRIPTORS = 128
"""Left to the source, delivery, the outbox and the logs."""
_FEWEST = 8
_BACKLOG = 128
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_PAUSE_S = 0.25
_SWEEP_S = 1.0
_TRUSTED = web.RequestKey("trusted", bool)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def trust(request: web.Request) -> None:
    """Note that whoever sent a request has proved that they may: their connection stays."""
    request[_TRUSTED] = True


def raise_descriptor_limit() -> None:
    """Let this process open as many files as the system allows it; the default is a thousand."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@dataclass(frozen=True, slots=True)
class Limits:
    """What connections may take.

    Attributes:
        most: open at the same time.
        headers_s: time allowed for the first request's headers, TLS included, seconds.
        idle_s: time allowed from one request to the next, and for taking an answer, seconds.
        request_s: time allowed for a request that proves nothing, seconds.
    """

    most: int
    headers_s: float = 10.0
    idle_s: float = 30.0
    request_s: float = 30.0

    @staticmethod
    def within_descriptors(most: int) -> int:
        """So many connections, or as many as leave the reserve to everybody else."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit == resource.RLIM_INFINITY:
            return most
        return max(_FEWEST, min(most, limit - RESERVED_DESCRIPTORS))


@dataclass(slots=True, eq=False)
class _Open:
    """A connection: idle, or with a request that is being answered."""

    socket: socket.socket
    since: float
    transport: asyncio.Transport | None = None
    starting: asyncio.Task[None] | None = None
    request: web.Request | None = None
    requests: int = 0

    @property
    def is_closed(self) -> bool:
        return self.socket.fileno() < 0

    @property
    def is_trusted(self) -> bool:
        return self.request is not None and bool(self.request.get(_TRUSTED, False))

    def abort(self) -> None:
        if self.starting is not None:
            self.starting.cancel()
        if self.transport is not None:
            self.transport.abort()
        else:
            self.socket.close()


class Connections:
    """Accepts connections for a server, and ends those that take too much."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: list[_Open] = []
        self._by_transport: dict[asyncio.BaseTransport, _Open] = {}
        self._told = Rarely()

    def __len__(self) -> int:
        """How many are open."""
        self._forget_closed()
        return len(self._open)

    @property
    def middleware(self) -> Middleware:
        """What notes for the application which connections are at work."""

        @web.middleware
        async def note(request: web.Request, handler: _Handler) -> web.StreamResponse:
            transport = request.transport
            connection = None if transport is None else self._by_transport.get(transport)
            if connection is None:
                return await handler(request)
            loop = asyncio.get_running_loop()
            connection.request, connection.since = request, loop.time()
            try:
                return await handler(request)
            finally:
                connection.request, connection.since = None, loop.time()
                connection.requests += 1

        return note

    @asynccontextmanager
    async def accepting(
        self,
        listeners: Sequence[socket.socket],
        make: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
    ) -> AsyncIterator[None]:
        """Accept connections while the context is open.

        Args:
            listeners: listening sockets; they are closed in the end.
            make: makes the protocol of a connection.
        """
        failure: Exception | None = None
        async with asyncio.TaskGroup() as group:
            serving = [
                group.create_task(self._accept(listener, make, tls, group))
                for listener in listeners
            ]
            serving.append(group.create_task(self._sweep()))
            try:
                yield
            except Exception as error:
                # The group would wrap what is no failure of its own.
                failure = error
            finally:
                for task in serving:
                    task.cancel()
                for connection in self._open:
                    if connection.starting is not None:
                        connection.starting.cancel()
                for listener in listeners:
                    listener.close()
        if failure is not None:
            raise failure

    async def _accept(
        self,
        listener: socket.socket,
        make: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
        group: asyncio.TaskGroup,
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError as error:
                # Anything else is about the one connection, which has gone again.
                if error.errno in _EXHAUSTED:
                    self._tell("no connection can be accepted", error.strerror)
                    self._make_room()
                    await asyncio.sleep(_PAUSE_S)
                continue
            if self._admit():
                connection = _Open(accepted, loop.time())
                self._open.append(connection)
                connection.starting = group.create_task(self._start(connection, make, tls))
            else:
                accepted.close()
            # An accept that need not wait does not let anybody else run.
            await asyncio.sleep(0)

    async def _start(
        self,
        connection: _Open,
        make: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        deadline_s = self._limits.headers_s if tls is not None else None
        try:
            transport, _ = await loop.connect_accepted_socket(
                make, connection.socket, ssl=tls, ssl_handshake_timeout=deadline_s
            )
        except (OSError, TimeoutError):
            # It spoke no TLS, or has gone: that is the client's business.
            connection.socket.close()
            return
        except Exception:  # whatever it was, others can still connect
            log.exception("connection failed")
            connection.socket.close()
            return
        finally:
            connection.starting = None
        assert isinstance(transport, asyncio.Transport)
        connection.transport = transport
        if not connection.is_closed:
            self._by_transport[transport] = connection

    def _admit(self) -> bool:
        self._forget_closed()
        if len(self._open) < self._limits.most:
            return True
        self._tell("too many connections are open", f"the limit is {self._limits.most}")
        return self._make_room()

    def _make_room(self) -> bool:
        """End the connection that may be missed most; return whether there was one."""
        idle = [connection for connection in self._open if connection.request is None]
        guests = [connection for connection in self._open if not connection.is_trusted]
        for group in (idle, guests):
            if group:
                self._end(min(group, key=lambda connection: connection.since))
                return True
        return False

    async def _sweep(self) -> None:
        """End those that have had their time."""
        loop, limits = asyncio.get_running_loop(), self._limits
        while True:
            await asyncio.sleep(_SWEEP_S)
            self._forget_closed()
            for connection in list(self._open):
                waited_s = loop.time() - connection.since
                if connection.request is not None:
                    late = waited_s > limits.request_s and not connection.is_trusted
                else:
                    late = waited_s > (limits.idle_s if connection.requests else limits.headers_s)
                if late:
                    self._end(connection)

    def _end(self, connection: _Open) -> None:
        connection.abort()
        self._forget(connection)

    def _forget_closed(self) -> None:
        for connection in [one for one in self._open if one.is_closed]:
            self._forget(connection)

    def _forget(self, connection: _Open) -> None:
        with suppress(ValueError):
            self._open.remove(connection)
        if connection.transport is not None:
            self._by_transport.pop(connection.transport, None)

    def _tell(self, what: str, why: str | None) -> None:
        left_out = self._told.admit(what)
        if left_out is not None:
            log.warning(what, reason=why, open=len(self._open), times_before=left_out)


async def open_listeners(host: str, port: int) -> list[socket.socket]:
    """Open a listening socket for each address of a host; an empty host is every address.

    Raises:
        OSError: an address cannot be listened on.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listeners: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listener = socket.socket(family, kind, protocol)
            listeners.append(listener)
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners
