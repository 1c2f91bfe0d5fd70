"""Best shots into a NATS JetStream; the stream's answer acknowledges.

Each message carries its key as `Nats-Msg-Id`, so that the stream drops a repetition that comes
within its window. The client's own reconnecting is off: it would buffer what nobody counts.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from streamgate.config import NatsSinkSection
from streamgate.delivery.cloudevents import message_of
from streamgate.delivery.lease.marks import headers_of
from streamgate.delivery.sinks.secure import plain, tls_context, told
from streamgate.errors import ConfigError, DeliveryError, ProbeError, SinkFault
from streamgate.values import EncodedShot

try:
    from nats.aio.client import Client
    from nats.errors import AuthorizationError, Error, MaxPayloadError
    from nats.js.api import StreamConfig
    from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

    from streamgate.delivery.sinks.encrypted_nats import EncryptedClient
except ModuleNotFoundError as error:
    raise ConfigError(
        "a nats sink needs its client library: pip install 'streamgate[nats]'"
    ) from error

__all__ = ["NatsSink"]

_MESSAGE_TOO_LARGE = 10054
_CLOSE_S = 1.0


class NatsSink:
    """Publishes the JSON document with its pictures inside."""

    def __init__(self, section: NatsSinkSection) -> None:
        self.name = section.name
        self._section = section
        self._secrets = [section.password, section.token]
        self._client: Client | None = None
        self._opening = asyncio.Lock()

    async def deliver(self, shot: EncodedShot) -> None:
        """Publish once.

        Raises:
            DeliveryError: the stream has not taken it.
        """
        section = self._section
        message = await asyncio.to_thread(message_of, shot, section)
        client = await self._let_in()
        try:
            await client.jetstream().publish(
                section.subject,
                message.body,
                timeout=section.timeout_s,
                headers={
                    "Nats-Msg-Id": shot.key,
                    "Content-Type": message.content_type,
                    **headers_of(shot),
                    **message.headers("ce-"),
                },
            )
        except NoStreamResponseError:
            raise DeliveryError(
                f"{section.url}: no stream listens to {section.subject}; make one, or name one in "
                "the sink's stream",
                fault=SinkFault.AWAY,
            ) from None
        except MaxPayloadError:
            raise DeliveryError(
                f"{section.url}: {len(message.body)} bytes are more than a message may have "
                "(max_payload)", fault=SinkFault.REFUSED,
            ) from None  # fmt: skip
        except APIError as error:
            raise DeliveryError(
                f"{section.url}: the stream refuses: {self._said(error.description or error)}",
                fault=SinkFault.REFUSED
                if error.err_code == _MESSAGE_TOO_LARGE
                else SinkFault.UNCLEAR,
            ) from None
        except (Error, TimeoutError, OSError) as error:
            raise DeliveryError(f"{section.url} cannot be used: {self._said(error)}") from None

    async def _let_in(self) -> Client:
        place = self._section.url
        try:
            return await self._connected()
        except APIError as error:
            raise DeliveryError(
                f"{place}: the stream cannot be made: {self._said(error.description or error)}",
                fault=SinkFault.AWAY,
            ) from None
        except (Error, TimeoutError, OSError) as error:
            said = self._said(error)
            if isinstance(error, AuthorizationError) or "authorization" in str(error).lower():
                setting = "token" if self._section.token is not None else "password"
                raise DeliveryError(
                    f"{place} refuses our user: {said}",
                    fault=SinkFault.CREDENTIALS,
                    setting=setting,
                ) from None
            raise DeliveryError(f"{place} cannot be used: {said}", fault=SinkFault.AWAY) from None

    async def probe(self, place: str) -> str:
        """Ask which stream listens, and make none; see `ProbedSink`."""
        section = self._section
        try:
            client = await self._connected(make=False)
            found = await client.jetstream().find_stream_name_by_subject(section.subject)
        except NotFoundError:
            if section.stream is None:
                raise ProbeError(
                    f"answers, but no stream listens to {section.subject}",
                    f"make one, or name one in {place}.stream",
                ) from None
            return f"answers; the stream {section.stream} will be made"
        return f"answers; the stream {found} listens to {section.subject}"

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await _close(client)

    async def _connected(self, *, make: bool = True) -> Client:
        async with self._opening:
            if self._client is not None and not self._client.is_connected:
                await self.close()
            if self._client is None:
                client, faults = self._new_client(), _Faults()
                try:
                    async with asyncio.timeout(self._section.timeout_s):
                        await self._connect(client, faults)
                        if make:
                            await self._make_stream(client)
                except BaseException:
                    await _close(client)
                    raise
                faults.connecting = False
                self._client = client
            return self._client

    @property
    def _is_encrypted(self) -> bool:
        section = self._section
        return section.url.startswith("tls://") or any((section.ca_file, section.client_cert_file))

    def _new_client(self) -> Client:
        return EncryptedClient() if self._is_encrypted else Client()

    async def _connect(self, client: Client, faults: _Faults) -> None:
        section = self._section
        tls = await asyncio.to_thread(tls_context, section) if self._is_encrypted else None
        await client.connect(
            section.url,
            name="streamgate",
            user=section.username,
            password=plain(section.password),
            token=plain(section.token),
            tls=tls,
            connect_timeout=max(1, round(section.timeout_s)),
            allow_reconnect=False,
            max_reconnect_attempts=0,
            error_cb=faults.told,
        )

    async def _make_stream(self, client: Client) -> None:
        section = self._section
        if section.stream is None:
            return
        jetstream = client.jetstream(timeout=section.timeout_s)
        try:
            await jetstream.stream_info(section.stream)
        except NotFoundError:
            await jetstream.add_stream(
                StreamConfig(
                    name=section.stream,
                    subjects=[section.subject],
                    max_bytes=section.stream_max_bytes,
                )
            )

    def _said(self, error: Exception | str) -> str:
        return told(error, self._secrets)


class _Faults:
    """Ends `connect` at the first fault, because it would keep retrying a server that is down.

    Once connected, what the client tells here the call that failed raises as well.
    """

    def __init__(self) -> None:
        self.connecting = True

    async def told(self, error: Exception) -> None:
        if self.connecting:
            raise error


async def _close(client: Client) -> None:
    """Close a client in any state; one whose server is frozen could not flush what it holds."""
    transport = client._transport
    with suppress(Error, OSError, TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            await client.close()
    # After a refused password the client forgets to.
    if transport is not None:
        transport.close()  # type: ignore[no-untyped-call] # not annotated
