"""A lease's record as a Lease of Kubernetes, by plain HTTP: one object needs no client library."""

from __future__ import annotations

import asyncio
import json
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from streamgate.config import KubernetesLeaseSection
from streamgate.config.tls import trusting
from streamgate.delivery.lease.record import Record
from streamgate.delivery.sinks.secure import told
from streamgate.errors import ConfigError, LeaseError

__all__ = ["KubernetesRegister"]

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_ANSWER_BYTES = 262_144


class KubernetesRegister:
    """A `Register`; `leaseTransitions` is the epoch, `resourceVersion` the version.

    `renewTime` is written for people and other tools, and never read.
    """

    def __init__(self, section: KubernetesLeaseSection, camera: str) -> None:
        self._section = section
        self._name = section.name or f"streamgate-{camera.replace('_', '-')}"
        self._session: aiohttp.ClientSession | None = None
        self._namespace = section.namespace
        self._acquired: tuple[int, str] | None = None

    async def read(self) -> Record | None:
        """The record, None where there is none."""
        status, said = await self._ask("GET", self._name)
        if status == 404:
            return None
        return self._record(said)

    async def write(self, record: Record, before: Record | None) -> Record | None:
        """Put a record in the place of one that was read; None where that has changed since."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if self._acquired is None or self._acquired[0] != record.epoch:
            self._acquired = record.epoch, now
        metadata: dict[str, Any] = {"name": self._name, "namespace": self._namespace}
        if before is not None:
            metadata["resourceVersion"] = before.version
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": record.holder,
                # Whole seconds, rounded up: too late is safe.
                "leaseDurationSeconds": int(-(-record.ttl_s // 1)),
                "acquireTime": self._acquired[1],
                "renewTime": now,
                "leaseTransitions": record.epoch,
            },
        }
        method, name = ("POST", None) if before is None else ("PUT", self._name)
        status, said = await self._ask(method, name, lease)
        # 409: another was there first. 404: the object was deleted since it was read.
        return None if status in (404, 409) else self._record(said)

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _record(self, said: Any) -> Record:
        try:
            spec = said["spec"]
            return Record(
                str(spec.get("holderIdentity") or ""),
                int(spec.get("leaseTransitions") or 0),
                float(spec.get("leaseDurationSeconds") or 1),
                str(said["metadata"]["resourceVersion"]),
            )
        except (LookupError, TypeError, ValueError, AttributeError):
            raise LeaseError(f"{self._section.url}: the answer is no Lease") from None

    async def _ask(self, method: str, name: str | None, body: Any = None) -> tuple[int, Any]:
        section = self._section
        try:
            session = await self._opened()
            path = f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases"
            url = section.url.rstrip("/") + path + (f"/{name}" if name else "")
            # Read each time: the kubelet replaces it before it expires.
            token = await asyncio.to_thread(_text, section.token_path)
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with session.request(
                method, url, json=body, headers=headers, allow_redirects=False
            ) as answer:
                text = await answer.content.read(_ANSWER_BYTES)
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise LeaseError(f"{section.url}: {told(error)}") from None
        if status in (401, 403):
            raise LeaseError(
                f"{section.url} answers {status}: the service account needs get, create and update "
                f"of leases in the namespace {self._namespace}"
            )
        if status >= 300 and status not in (404, 409):
            raise LeaseError(f"{section.url} answers {status}")
        try:
            return status, json.loads(text)
        except ValueError:
            raise LeaseError(f"{section.url}: the answer is no JSON") from None

    async def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            section = self._section
            if self._namespace is None:
                self._namespace = await asyncio.to_thread(_text, _NAMESPACE)
                if not self._namespace:
                    raise LeaseError("no namespace is known: set lease.namespace")
            try:
                # It reads files.
                tls = await asyncio.to_thread(self._tls)
            except ConfigError as error:
                raise LeaseError(str(error)) from None
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls),
                timeout=aiohttp.ClientTimeout(total=section.ttl_s),
            )
        return self._session

    def _tls(self) -> ssl.SSLContext:
        section, authority = self._section, self._section.ca_file
        if authority is None and section.account_ca_path.is_file():
            authority = section.account_ca_path
        return trusting(authority, section.client_cert_file, section.client_key_file)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
