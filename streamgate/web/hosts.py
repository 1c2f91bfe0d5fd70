"""By which names this server may be asked, and from which pages.

A page on the internet may have its own name point at this machine (DNS rebinding): to the browser
its requests are then of one origin, and it could read what is answered. So whoever cannot prove
that they may look must ask by a name that nobody else can have.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from cryptography import x509

from streamgate.config import WebSection

__all__ = ["Hosts", "certificate_names"]


class Hosts:
    """The names of this server.

    Args:
        settings: where it listens, and which further names and proxies it has.
        names: further names, such as those of its certificate; `*.example.org` for all below one.
    """

    def __init__(self, settings: WebSection, names: Iterable[str] = ()) -> None:
        own = {settings.host.lower(), *(name.lower() for name in (*settings.allowed_hosts, *names))}
        self._names = {"localhost"} | {name for name in own if not name.startswith("*.")}
        self._domains = tuple(name[1:] for name in own if name.startswith("*."))
        self._is_local = settings.is_local
        self._proxies = [ip_network(proxy) for proxy in settings.trusted_proxies]

    def allow_request(self, request: web.Request) -> bool:
        """Whether a request names this server; browsers always name one."""
        # aiohttp would look a missing one up, in the event loop.
        host = request.headers.get("Host")
        return host is None or self.allow(host)

    def allow(self, host: str) -> bool:
        """Whether a `Host` header names this server."""
        name = _name_of(host)
        if not name:
            return False
        if name in self._names or name.endswith(self._domains):
            return True
        address = _address(name)
        if address is not None:
            # A name can be pointed anywhere; an address in its place cannot be somebody else's.
            return address.is_loopback or not self._is_local
        # A name without a dot is looked up on the local network alone.
        return "." not in name and not self._is_local

    def allow_origin(self, request: web.Request) -> bool:
        """Whether a form that is sent comes from a page of this server, or from no page."""
        if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
            return False
        origin = request.headers.get("Origin")
        if origin is None:
            return True
        place = origin.partition("://")[2].lower()
        # Behind a proxy the page's name may differ from the one that the proxy asks by.
        host = request.headers.get("Host", "").lower()
        return bool(place) and (place == host or self._is_listed(_name_of(place)))

    def is_encrypted(self, request: web.Request) -> bool:
        """Whether the browser speaks TLS, with us or with a proxy that is trusted to say so."""
        if request.secure:
            return True
        peer = request.transport.get_extra_info("peername") if request.transport else None
        address = _address(str(peer[0])) if isinstance(peer, tuple) and peer else None
        if address is None or not any(address in network for network in self._proxies):
            return False
        return request.headers.get("X-Forwarded-Proto", "").split(",")[-1].strip() == "https"

    def _is_listed(self, name: str) -> bool:
        return name in self._names - {"localhost"} or name.endswith(self._domains)


def certificate_names(path: Path | None) -> list[str]:
    """Return the names that a PEM certificate is for; none where it cannot be read."""
    if path is None:
        return []
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (OSError, ValueError, x509.ExtensionNotFound):
        return []
    return extension.value.get_values_for_type(x509.DNSName)


def _name_of(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(name)
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found
