"""Addresses of scorer services: `grpc://host:port`, `grpcs://host:port`, `unix:/path`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from streamgate.config.hosts import is_loopback

__all__ = ["ServiceAddress", "ServiceUrl", "parse_address"]

_WANTED = "wanted grpc://host:port, grpcs://host:port or unix:/path/to/socket"
_LONGEST_SOCKET_PATH = 107
"""What the address of a Unix socket may hold on Linux."""


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """Where a scorer service is.

    Attributes:
        text: as it is written in the configuration.
        target: as gRPC names it.
        tls: whether the connection is encrypted.
        local: whether it cannot leave this machine.
    """

    text: str
    target: str
    tls: bool
    local: bool


def parse_address(text: str) -> ServiceAddress:
    """Read an address.

    Raises:
        ValueError: it is none; the message says what is wanted.
    """
    if any(character.isspace() or not character.isprintable() for character in text):
        raise ValueError(_WANTED)
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise ValueError(f"{_WANTED}; the path of a socket begins with /")
        if len(path.encode()) > _LONGEST_SOCKET_PATH:
            raise ValueError(f"wanted a path of a socket with {_LONGEST_SOCKET_PATH} bytes at most")
        return ServiceAddress(text, f"unix:{path}", tls=False, local=True)
    parts = urlsplit(text)
    if parts.scheme not in ("grpc", "grpcs") or parts.path not in ("", "/"):
        raise ValueError(_WANTED)
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{_WANTED}, without credentials, query and fragment")
    host, port = parts.hostname, parts.port
    if not host or not port:
        raise ValueError(_WANTED)
    shown = f"[{host}]" if ":" in host else host
    return ServiceAddress(
        text, f"dns:///{shown}:{port}", tls=parts.scheme == "grpcs", local=is_loopback(host)
    )


def _is_address(text: str) -> str:
    parse_address(text)
    return text


ServiceUrl = Annotated[str, AfterValidator(_is_address)]
