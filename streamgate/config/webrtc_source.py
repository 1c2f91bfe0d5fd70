"""WebRTC sources: browsers and phones that publish here (WHIP), media servers that are read (WHEP).

Neither contacts a third party: without `ice_servers` only addresses of this machine are offered,
which is right on a local network and behind a forwarded port.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from streamgate.config.pictures import PictureSection
from streamgate.config.reconnect import ReconnectSection
from streamgate.config.section import ExistingFile, Seconds, Section

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
    username: str | None = Field(default=None, description="User name for a TURN server.")
    credential: SecretStr | None = Field(
        default=None, description="Password for a TURN server; better given as credential_file."
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
        description="STUN and TURN servers, needed only across the internet; the first of each "
        "kind is used. Publishers are told the STUN servers only.",
    )
    connect_timeout_s: Seconds = Field(
        default=10.0,
        description="Longest time from the offer until media flows, seconds. Finding a network "
        "path (ICE) usually takes 1 to 3.",
    )
    read_timeout_s: Seconds = Field(
        default=3.0,
        description="Silence after which the stream counts as lost, seconds. The default is 75 "
        "frames at 25 a second.",
    )
    loss_wait_s: Annotated[float, Field(ge=0, le=2)] = Field(
        default=0.3,
        description="How long to wait for a lost packet, seconds, before its frame is abandoned "
        "and a keyframe is requested. The default is enough for three requests at a round trip of "
        "100 ms.",
    )


def _origin(origin: str) -> str:
    if origin != "*" and not _ORIGIN.fullmatch(origin):
        raise ValueError("wanted https://host[:port] without a path, or *")
    return origin.lower()


class WhipSection(_WebRtcSource):
    """A browser, a phone or any other WHIP client that publishes to /whip on this server."""

    kind: Literal["whip"]
    token: SecretStr | None = Field(
        default=None,
        description="Secret that publishers send as `Authorization: Bearer …`; better given as "
        "${ENV} or token_file. It may be omitted only where web.host is a loopback address.",
    )
    on_conflict: Literal["refuse", "takeover"] = Field(
        default="refuse",
        description="What happens to a second publisher. refuse: it is answered 409 while the "
        "first is connected; takeover: it replaces the first as soon as it is connected.",
    )
    allowed_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        default=(),
        max_length=32,
        description="Other web sites (origins) whose pages may publish here, or * for all. The "
        "page at /publish needs no entry.",
    )
    start_bits_per_second: int = Field(
        default=2_000_000,
        ge=100_000,
        le=20_000_000,
        description="Bitrate that browsers are asked to start with. On their own they start at "
        "300 kbit/s, which blurs the first faces. They adapt to the network afterwards.",
    )
    publish_page: bool = Field(
        default=True, description="Serve the page at /publish, from which a browser can publish."
    )
    max_offer_bytes: int = Field(
        default=65_536,
        ge=4_096,
        le=1_048_576,
        description="Largest session offer that is accepted, bytes. Those of browsers have 2,000 "
        "to 8,000.",
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
    """A stream of a media server that speaks WHEP, such as MediaMTX or go2rtc."""

    kind: Literal["whep"]
    url: Annotated[str, AfterValidator(_whep_url)] = Field(
        description="Address of the WHEP endpoint, http:// or https://."
    )
    token: SecretStr | None = Field(
        default=None, description="Sent as `Authorization: Bearer …`; better given as token_file."
    )
    ca_file: ExistingFile = Field(
        default=None,
        description="Certificate of the authority that signed the server's own, a PEM file, for "
        "https. Default: the authorities that the system trusts.",
    )
    reconnect: ReconnectSection = Field(default_factory=ReconnectSection)
