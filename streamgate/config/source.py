"""Where frames come from: one section for each kind of source."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field, SecretStr, model_validator

from streamgate.config.pictures import PictureSection
from streamgate.config.reconnect import ReconnectSection
from streamgate.config.section import ExistingFile, Seconds
from streamgate.config.webrtc_source import WhepSection, WhipSection

__all__ = ["DeviceSection", "FileSection", "ReconnectSection", "RtspSection", "SourceSection"]

# FFmpeg keeps what it takes out of an address in buffers of these sizes, and cuts what is longer.
_MOST_CREDENTIALS, _MOST_HOST, _MOST_PATH = 127, 499, 1023


def _rtsp_url(url: str) -> str:
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("the URL holds a space or a control character; write a space as %20")
    if not url.startswith(("rtsp://", "rtsps://")) or len(url.split("://", 1)[1]) == 0:
        raise ValueError("wanted rtsp://host/path or rtsps://host/path")
    if "@" in url.split("://", 1)[1].split("/", 1)[0]:
        raise ValueError(
            "the URL holds credentials; give them as username and password (or password_file)"
        )
    host, _, path = url.split("://", 1)[1].partition("/")
    if len(host) > _MOST_HOST or len(path) + 1 > _MOST_PATH:
        raise ValueError(
            f"host and path would be cut: wanted at most {_MOST_HOST} and {_MOST_PATH} characters"
        )
    return url


class RtspSection(PictureSection):
    """An RTSP or RTSPS camera."""

    kind: Literal["rtsp"]
    url: Annotated[str, AfterValidator(_rtsp_url)] = Field(
        description="Address, rtsp:// or rtsps://, without credentials."
    )
    detect_url: Annotated[str, AfterValidator(_rtsp_url)] | None = Field(
        default=None,
        description="Address of the camera's substream, a smaller picture of the same scene, with "
        "the same login. Faces are looked for in it, and cut out of the stream at url, which is "
        "decoded only while somebody is there. Default: one stream for both.",
    )
    decoder: Literal["auto", "cpu", "cuda", "qsv"] = Field(
        default="cpu",
        description="What decodes: the cpu, or a device: cuda (NVIDIA) or qsv (Intel). auto takes "
        "a device that works. Where none does the CPU decodes, and the log says why. The default "
        "is what has been measured.",
    )
    skip_frames: Literal["none", "unreferenced", "all_but_keyframes"] = Field(
        default="none",
        description="Pictures that are not decoded, for weak hosts: those that no other refers to "
        "(of most cameras none), or all but keyframes, which leaves one picture every second or "
        "two, too few to follow people.",
    )
    username: str | None = Field(
        default=None, description="User name for Basic or Digest authentication."
    )
    password: SecretStr | None = Field(
        default=None, description="Password; better given as ${ENV} or password_file."
    )
    transport: Literal["tcp", "udp"] = Field(
        default="tcp",
        description="tcp loses no packets. udp has slightly less delay, but after a lost packet "
        "frames are discarded until the next keyframe, and H.265 does not reveal all damage.",
    )
    ca_file: ExistingFile = Field(
        default=None,
        description="Certificate of the authority that signed the camera's own, a PEM file, for "
        "rtsps. Default: the authorities that the system trusts.",
    )
    tls_verify: bool = Field(
        default=True,
        description="Refuse an rtsps camera whose certificate cannot be verified. Turning it off "
        "lets anybody on the network pose as the camera.",
    )
    open_timeout_s: Seconds = Field(
        default=5.0,
        description="Longest time that opening may take, seconds; cameras usually take 1 to 2.",
    )
    read_timeout_s: Seconds = Field(
        default=3.0,
        description="Silence after which the stream counts as lost, seconds. The default is 75 "
        "frames at 25 a second.",
    )
    reconnect: ReconnectSection = Field(default_factory=ReconnectSection)

    @model_validator(mode="after")
    def _two_streams(self) -> RtspSection:
        if self.detect_url == self.url:
            raise ValueError("detect_url is the address of another stream than url")
        if self.detect_url is not None and self.detect_url[:5] != self.url[:5]:
            raise ValueError("url and detect_url are both wanted as rtsp://, or both as rtsps://")
        return self

    @model_validator(mode="after")
    def _user_with_password(self) -> RtspSection:
        if self.password is not None and self.username is None:
            raise ValueError("password is given without username")
        return self

    @model_validator(mode="after")
    def _credentials_fit(self) -> RtspSection:
        """Refuse what would be cut on its way to the camera, and be called a wrong password."""
        length = len(self.quoted_credentials() or "")
        if length > _MOST_CREDENTIALS:
            raise ValueError(
                f"username and password are too long together: {length} characters with the colon "
                f"and percent-encoding, of which {_MOST_CREDENTIALS} would reach the camera"
            )
        return self

    def quoted_credentials(self) -> str | None:
        """Return `user:password`, percent-encoded for an address; None without a user."""
        if self.username is None:
            return None
        password = self.password.get_secret_value() if self.password is not None else ""
        return f"{quote(self.username, safe='')}:{quote(password, safe='')}"


class FileSection(PictureSection):
    """A recorded video."""

    kind: Literal["file"]
    path: Path = Field(description="Video file, in any container and codec that FFmpeg reads.")
    pace: Literal["realtime", "fast"] = Field(
        default="realtime",
        description="realtime: play as a camera would send it, dropping frames that come too late; "
        "fast: process every frame, as fast as possible.",
    )
    loop: bool = Field(default=False, description="At the end, start again from the beginning.")


class DeviceSection(PictureSection):
    """A USB or built-in camera (V4L2)."""

    kind: Literal["device"]
    path: Path = Field(default=Path("/dev/video0"), description="Device file of the camera.")
    width: int | None = Field(default=None, ge=64, le=7680, description="Width to ask for, pixels.")
    height: int | None = Field(
        default=None, ge=64, le=4320, description="Height to ask for, pixels."
    )
    frames_per_second: float | None = Field(
        default=None, gt=0, le=240, description="Frame rate to ask for, frames a second."
    )
    read_timeout_s: Seconds = Field(
        default=3.0, description="Silence after which the camera counts as lost, seconds."
    )
    reconnect: ReconnectSection = Field(default_factory=ReconnectSection)


SourceSection = Annotated[
    RtspSection | FileSection | DeviceSection | WhipSection | WhepSection,
    Field(discriminator="kind"),
]
