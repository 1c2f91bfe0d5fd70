"""Cameras on the local network by WS-Discovery, and their streams by ONVIF (extra `onvif`).

Searching sends one multicast question and tells nobody a password. A camera is asked for its
streams when somebody has chosen it, and only it learns the login, as a digest.
"""

from __future__ import annotations

import asyncio
import re
import select
import socket
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import unquote, urlsplit

from streamgate.errors import SourceError

__all__ = ["OnvifCamera", "OnvifStream", "find_cameras", "streams_of"]

_SEARCH_S = 4.0
_ASK_S = 20.0
_MOST_CAMERAS = 100
_MOST_STREAMS = 16
_NAME_SCOPE = "onvif://www.onvif.org/name/"
_GROUP = ("239.255.255.250", 3702)
_MOST_ANSWERS = 1000
_MOST_BYTES = 65_536
# A stranger's XML is not parsed: two elements of it are of interest.
_ADDRESSES = re.compile(r"<(?:[\w.-]+:)?XAddrs(?:\s[^>]*)?>([^<]*)<")
_SCOPES = re.compile(r"<(?:[\w.-]+:)?Scopes(?:\s[^>]*)?>([^<]*)<")
# WS-Discovery of April 2005, which ONVIF's core specification asks for.
_PROBE = """\
<?xml version="1.0" encoding="UTF-8"?>
<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"
 xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing"
 xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"
 xmlns:n="http://www.onvif.org/ver10/network/wsdl">
<e:Header><w:MessageID>uuid:{}</w:MessageID>
<w:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>
<w:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action></e:Header>
<e:Body><d:Probe><d:Types>n:NetworkVideoTransmitter</d:Types></d:Probe></e:Body>
</e:Envelope>
"""


@dataclass(frozen=True, slots=True)
class OnvifCamera:
    """A camera that has answered.

    Attributes:
        name: as it calls itself.
        host, port: where its services are.
    """

    name: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class OnvifStream:
    """A stream of a camera.

    Attributes:
        name: of its media profile.
        width, height: pixels; 0 where it does not say.
        url: rtsp address without credentials.
    """

    name: str
    width: int
    height: int
    url: str


def find_cameras(search_s: float = _SEARCH_S) -> list[OnvifCamera]:
    """Ask the local network for cameras and wait for answers.

    Raises:
        SourceError: the extra is missing, or the network cannot be asked.
    """
    try:
        import ifaddr  # noqa: PLC0415 - an extra
    except ImportError:
        raise _missing() from None
    hosts = [
        address.ip
        for adapter in ifaddr.get_adapters()
        for address in adapter.ips
        if isinstance(address.ip, str)
    ]
    found: dict[tuple[str, int], OnvifCamera] = {}
    for answer in _answers(hosts, search_s):
        text = answer.decode("utf-8", "replace")
        addresses = unescape(" ".join(_ADDRESSES.findall(text))).split()
        camera = _camera(addresses, unescape(" ".join(_SCOPES.findall(text))).split())
        if camera is not None and len(found) < _MOST_CAMERAS:
            found.setdefault((camera.host, camera.port), camera)
    return sorted(found.values(), key=lambda camera: (camera.host, camera.port))


def _answers(hosts: Iterable[str], search_s: float) -> Iterator[bytes]:
    """Send a probe from each address of this machine, and yield what comes back in time."""
    question = _PROBE.format(uuid.uuid4()).encode()
    with ExitStack() as stack:
        asking: list[socket.socket] = []
        for host in hosts:
            one = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            try:
                one.bind((host, 0))
                one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host))
                # No further than this network.
                one.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
                one.sendto(question, _GROUP)
            except OSError:
                # An interface without multicast; others may have it.
                continue
            asking.append(one)
        if not asking:
            raise SourceError("the network cannot be searched: no interface takes multicast")
        until = time.monotonic() + search_s
        for _ in range(_MOST_ANSWERS):
            left_s = until - time.monotonic()
            ready = select.select(asking, [], [], left_s)[0] if left_s > 0 else []
            if not ready:
                return
            with suppress(OSError):
                yield ready[0].recv(_MOST_BYTES)


def streams_of(camera: OnvifCamera, username: str, password: str) -> list[OnvifStream]:
    """Ask a camera for its streams, largest first.

    Raises:
        SourceError: it does not answer as it should, or refuses the login.
    """
    try:
        return asyncio.run(_streams(camera, username, password))
    except ImportError:
        raise _missing() from None


async def _streams(camera: OnvifCamera, username: str, password: str) -> list[OnvifStream]:
    from onvif import ONVIFCamera, ONVIFError  # noqa: PLC0415 - an extra
    from zeep.exceptions import Error as SoapError  # noqa: PLC0415

    client = ONVIFCamera(camera.host, camera.port, username, password)
    try:
        async with asyncio.timeout(_ASK_S):
            await client.update_xaddrs()
            media = await client.create_media_service()
            profiles = (await media.GetProfiles())[:_MOST_STREAMS]
            found = [await _stream(media, profile) for profile in profiles]
    except TimeoutError:
        raise SourceError(f"{camera.host} does not answer within {_ASK_S:g} s") from None
    except (ONVIFError, SoapError, OSError) as error:
        raise SourceError(_why(camera, error)) from None
    except Exception as error:  # its HTTP client has a family of errors of its own
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpcore", "aiohttp"):
            raise
        raise SourceError(_why(camera, error)) from None
    finally:
        await client.close()
    streams = [stream for stream in found if stream is not None]
    if not streams:
        raise SourceError(f"{camera.host} names no RTSP stream")
    return sorted(streams, key=lambda stream: -stream.width * stream.height)


async def _stream(media: Any, profile: Any) -> OnvifStream | None:
    answer = await media.GetStreamUri({
        "StreamSetup": {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}},
        "ProfileToken": profile.token,
    })  # fmt: skip
    url = str(answer.Uri)
    if not url.startswith(("rtsp://", "rtsps://")):
        return None
    encoder = getattr(profile, "VideoEncoderConfiguration", None)
    size = getattr(encoder, "Resolution", None)
    return OnvifStream(
        _printable(str(profile.Name or profile.token)),
        int(getattr(size, "Width", 0) or 0),
        int(getattr(size, "Height", 0) or 0),
        url,
    )


def _camera(addresses: Iterable[str], scopes: Iterable[str]) -> OnvifCamera | None:
    """The camera of an answer; IPv4 first, as cameras also name addresses of other networks."""
    for address in sorted(map(str, addresses), key=lambda text: "[" in text):
        try:
            parts = urlsplit(address)
            host, port = parts.hostname, parts.port
        except ValueError:
            continue
        if parts.scheme in ("http", "https") and host:
            names = [scope.removeprefix(_NAME_SCOPE) for scope in scopes if _NAME_SCOPE in scope]
            name = _printable(unquote(names[0])) if names else "camera"
            return OnvifCamera(name, host, port or (443 if parts.scheme == "https" else 80))
    return None


def _printable(text: str) -> str:
    """A stranger's text for a terminal: short, and without control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:60]


def _why(camera: OnvifCamera, error: Exception) -> str:
    words = _printable(str(error)) or type(error).__name__
    refused = any(word in words.lower() for word in ("auth", "401", "sender not"))
    remedy = "check user name and password (ONVIF users are often users of their own)"
    return f"{camera.host} refuses: {words}" + (f"; {remedy}" if refused else "")


def _missing() -> SourceError:
    return SourceError("searching needs an extra: pip install 'streamgate[onvif]'")
