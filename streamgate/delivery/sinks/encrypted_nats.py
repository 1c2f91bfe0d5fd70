"""A NATS client that sends nothing in clear where encryption was asked for.

The library encrypts where the server's INFO, which comes in clear, asks for it: a server without
TLS, or somebody in between who rewrites a line, gets the password and the faces in clear.
"""

from __future__ import annotations

from typing import Any

from nats.aio.client import Client
from nats.errors import Error

__all__ = ["EncryptedClient", "NotEncryptedError"]


class NotEncryptedError(Error):
    """The server offers no TLS, and nothing was sent."""

    def __str__(self) -> str:
        return "the server offers no TLS, so nothing was sent; use nats:// if that is meant"


class EncryptedClient(Client):
    """Refuses to go on unless the connection is encrypted before CONNECT."""

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if not info.get("tls_required"):
            if initial_connection and not info.get("tls_available"):
                raise NotEncryptedError
            # A server that lets clients choose does not ask.
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    def _connect_command(self) -> bytes:
        transport: Any = self._transport
        writer = getattr(transport, "_io_writer", None)
        if writer is None or writer.get_extra_info("ssl_object") is None:
            raise NotEncryptedError
        return super()._connect_command()
