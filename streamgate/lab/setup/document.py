"""The configuration that `streamgate init` writes: text with comments, and files of mode 0600."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from streamgate.errors import ConfigError
from streamgate.lab.setup.propose import Proposal

__all__ = ["CameraAddress", "Draft", "document", "source_of", "split_address", "write_private"]


@dataclass(frozen=True, slots=True)
class CameraAddress:
    """Where a camera is, and who may see it.

    Attributes:
        url: without credentials.
        username: None where nobody has to log in.
        password_line: the line of the YAML that refers to the password, without the password.
    """

    url: str
    username: str | None = None
    password_line: str = ""


def split_address(address: str) -> tuple[str, str | None, str | None]:
    """Return an address without its credentials, the user and the password."""
    try:
        parts = urlsplit(address)
        user, password = parts.username, parts.password
    except ValueError:
        return address, None, None
    if user is None:
        return address, None, None
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return bare, unquote(user), None if password is None else unquote(password)


def source_of(url: str) -> dict[str, object]:
    """Return the source section for an address: a camera, a video file or a device.

    Raises:
        ConfigError: it is none of these.
    """
    if url.startswith(("rtsp://", "rtsps://")):
        return {"kind": "rtsp", "url": url}
    if url.startswith("/dev/video"):
        return {"kind": "device", "path": url}
    if "://" not in url and Path(url).is_file():
        return {"kind": "file", "path": str(Path(url).resolve()), "loop": True}
    raise ConfigError(
        "the address is not understood; wanted rtsp://HOST/PATH, rtsps://HOST/PATH, /dev/video0 or "
        "the path of a recording"
    )


@dataclass(frozen=True, slots=True)
class Draft:
    """What a configuration is written from.

    Attributes:
        name: of the camera.
        source: its section, without the login.
        address: the login, without the password.
        proposal: settings that fit what was seen.
        sink: folder for best shots.
        seconds: for how long the camera was watched.
    """

    name: str
    source: dict[str, object]
    address: CameraAddress
    proposal: Proposal
    sink: Path
    seconds: float


def document(draft: Draft) -> str:
    """Return the text of the configuration."""
    return "\n".join(_lines(draft)) + "\n"


def _lines(draft: Draft) -> Iterator[str]:
    proposal, address = draft.proposal, draft.address
    seen = f"{proposal.people} people in {draft.seconds:.0f} s"
    yield "# Written by `streamgate init`. Every other setting has its default."
    yield f"camera: {{name: {draft.name}}}"
    yield "source:"
    for key, value in draft.source.items():
        yield f"  {key}: {json.dumps(value, ensure_ascii=False)}"
    if address.username is not None:
        yield f"  username: {json.dumps(address.username, ensure_ascii=False)}"
    if address.password_line:
        yield f"  {address.password_line}"
    if proposal.max_side_px is not None:
        yield f"# Faces are small in this picture ({seen})."
        yield f"detector: {{max_side_px: {proposal.max_side_px}}}"
    if proposal.min_size_px is not None:
        yield f"# At least nine of ten people came closer than this ({seen})."
        yield f"precheck: {{min_size_px: {proposal.min_size_px}}}"
    if proposal.min_quality is not None:
        yield f"# The best faces of at least nine of ten were better than this ({seen})."
        yield f"gate: {{min_quality: {proposal.min_quality}}}"
    if proposal.min_size_px is None and proposal.min_quality is None:
        yield f"# Too few people to propose thresholds by ({seen}): the defaults are used."
    if proposal.ignore:
        yield "# These faces never moved. If they are posters or screens, remove the # signs; it"
        yield "# may also be somebody at a desk."
        yield "# zones:"
        for number, place in enumerate(proposal.ignore, 1):
            corners = ", ".join(f"[{x:g}, {y:g}]" for x, y in place.polygon)
            yield f"#   - {{name: still-{number}, kind: ignore, points: [{corners}]}}"
    yield "delivery:"
    yield "  sinks:"
    yield "    # Best shots as files. Others: http, redis, nats, mqtt, kafka."
    yield f"    - {{kind: directory, path: {json.dumps(str(draft.sink), ensure_ascii=False)}}}"


def write_private(path: Path, data: bytes, *, replace: bool = False) -> None:
    """Write a file that nobody else may read, whole or not at all.

    Raises:
        ConfigError: it is there already, or cannot be written.
    """
    if path.exists() and not replace:
        raise ConfigError(f"{path} is there already; wanted another --out, or --replace")
    fresh = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            fresh.unlink()
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - of a descriptor
            file.write(data)
        fresh.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from None
