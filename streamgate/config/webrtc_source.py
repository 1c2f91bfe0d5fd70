"""WebRTC sources: browsers and phones that publish to us (WHIP), media servers that we read (WHEP).

Both need no address of a third party: without `ice_servers` only addresses of this machine are
offered, which is right on a local network and behind a forwarded port.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from streamgate.config.pictures import PictureSection
from streamgate.config.reconnect import ReconnectSection
from streamgate.config.section import Seconds, Section

__all__ = ["IceServer", "WhepSection", "WhipSection"]

_ICE_URL = re.compile(r"(stun|turns?):[^\s:?@]+(:\d{1,5})?(\?transport=(udp|tcp))?")
_ORIGIN = re.compile(r"https?://[^/\s@?#]+")


def _ice_url(url: str) -> str:
    if not _ICE_URL.fullmatch(url):
        raise ValueError("wanted stun:host[:port] or turn[s]:host[:port][?transport=udp|tcp]")
    return url


class IceServer(Section):
    """A STUN or TURN server."""

    url: Annotated[str, AfterValidator(_ice_url)] = Field(
        description="stun:host:port, turn:host:port?transport=udp or turns:host:port?transport=tcp."
    )
    username: str | None = Field(default=None, description="User of a TURN server.")
    credential: SecretStr | None = Field(
        default=None, description="Password of a TURN server; better as credential_file."
    )

    @model_validator(mode="after")
    def _turn_with_user(self) -> IceServer:
        if self.url.startswith("turn") and (self.username is None or self.credential is None):
            raise ValueError("a TURN server needs username and credential")
        return self


class _WebRtcSource(PictureSection):
    ice_servers: tuple[IceServer, ...] = Field(
        default=(),
        max_length=8,
        description="STUN and TURN servers; the first of each is used. Publishers are told of the "
        "STUN servers alone.",
    )
    connect_timeout_s: Seconds = Field(
        default=10.0,
        description="Time from the offer until media can flow, seconds; ICE takes 1-3 s as a rule.",
    )
    read_timeout_s: Seconds = Field(
        default=3.0,
        description="Silence after which the stream counts as lost, seconds: 75 pictures at 25/s.",
    )
    loss_wait_s: Annotated[float, Field(ge=0, le=2)] = Field(
        default=0.3,
        description="How long a lost packet is awaited, seconds, before the picture is given up "
        "and a keyframe is asked for: three requests on a network with 100 ms round trip.",
    )


def _origin(origin: str) -> str:
    if origin != "*" and not _ORIGIN.fullmatch(origin):
        raise ValueError("wanted https://host[:port] without a path, or *")
    return origin.lower()


class WhipSection(_WebRtcSource):
    """A browser, a phone or any WHIP client that publishes here, to /whip."""

    kind: Literal["whip"]
    token: SecretStr | None = Field(
        default=None,
        description="What publishers send as `Authorization: Bearer …`; better as ${ENV} or "
        "token_file. It may be left out only where web.host is a loopback address.",
    )
    on_conflict: Literal["refuse", "takeover"] = Field(
        default="refuse",
        description="What a second publisher meets. refuse: 409 while the first is there; "
        "takeover: it replaces the first as soon as it is connected.",
    )
    allowed_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        default=(),
        max_length=32,
        description="Origins of other sites whose pages may publish here, or *; the page at "
        "/publish needs none.",
    )
    start_bits_per_second: int = Field(
        default=2_000_000,
        ge=100_000,
        le=20_000_000,
        description="Bitrate that browsers are asked to begin with; left alone they begin with "
        "300 kbit/s, in which the first faces are a blur. They adapt to the network from there.",
    )
    publish_page: bool = Field(default=True, description="Serve the page at /publish.")
    max_offer_bytes: int = Field(
        default=65_536,
        ge=4_096,
        le=1_048_576,
        description="Largest offer, bytes; those of browsers have 2 to 8 thousand.",
    )

    @field_validator("token")
    @classmethod
    def _sendable(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not re.fullmatch(r"[!-~]{1,512}", token.get_secret_value()):
            raise ValueError("wanted at most 512 printable ASCII characters without spaces")
        return token


def _whep_url(url: str) -> str:
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("the URL holds a space or a control character; write a space as %20")
    if not url.startswith(("http://", "https://")) or not url.split("://", 1)[1].strip("/"):
        raise ValueError("wanted http://host/path or https://host/path")
    if "@" in url.split("://", 1)[1].split("/", 1)[0]:
        raise ValueError("the URL holds credentials; give them as token or token_file")
    return url


class WhepSection(_WebRtcSource):
    """A stream of a media server that speaks WHEP (MediaMTX, go2rtc, Cloudflare and others)."""

    kind: Literal["whep"]
    url: Annotated[str, AfterValidator(_whep_url)] = Field(description="The WHEP endpoint.")
    token: SecretStr | None = Field(
        default=None, description="Sent as `Authorization: Bearer …`; better as token_file."
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file with the authority that signed the server (https)."
    )
    reconnect: ReconnectSection = Field(default_factory=ReconnectSection)

    @field_validator("ca_file")
    @classmethod
    def _ca_exists(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError(f"no file at {path}")
        return path
