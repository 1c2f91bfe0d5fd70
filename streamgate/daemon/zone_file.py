"""Writes the zones that were drawn on the live page into the camera's file.

The new text is judged as a reload would judge it, and must differ in the zones alone; then it takes
the file's place in one step, with its mode and owner. A file that has changed since the page read
it is left alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from streamgate.config import ZoneSection
from streamgate.config.load import MAX_BYTES, parse_config
from streamgate.config.zone_text import with_zones
from streamgate.errors import ConfigError
from streamgate.web.zones import FileChangedError

__all__ = ["ZoneFile"]


class ZoneFile:
    """The file of one camera, as the live page's editor sees it; implements `ZoneStore`.

    Args:
        path: the camera's file.
        reload: reads the file again; returns the outcome.
    """

    def __init__(self, path: Path, reload: Callable[[], Awaitable[str]]) -> None:
        self._path = path
        self._reload = reload
        self._turn = asyncio.Lock()

    async def version(self) -> str | None:
        """Identifies what the file says now; None where there is no file that can be written."""
        try:
            return _version(await asyncio.to_thread(_read, self._path))
        except ConfigError:
            return None

    async def save(self, zones: Sequence[ZoneSection], version: str) -> str:
        """Put other zones into the file, and take them into use.

        Args:
            version: what the file was when the zones were read from it.

        Returns:
            The outcome of the reload.

        Raises:
            FileChangedError: it was changed meanwhile.
            ConfigError: it cannot be read, judged right or written.
        """
        async with self._turn:
            await asyncio.to_thread(self._write, zones, version)
            return await self._reload()

    def _write(self, zones: Sequence[ZoneSection], version: str) -> None:
        before = _read(self._path)
        if _version(before) != version:
            raise FileChangedError
        try:
            text = before.decode()
        except UnicodeDecodeError:
            raise ConfigError("the file is not UTF-8 text") from None
        # The text of the file is judged whole, faults that it had before included.
        now = parse_config(text, self._path, os.environ).config
        changed = with_zones(text, zones)
        wanted = parse_config(changed, self._path, os.environ).config
        if wanted != now.model_copy(update={"zones": tuple(zones)}):
            raise ConfigError(
                "the zones cannot be told from the rest of the file; add them by hand"
            )
        if changed != text:
            _replace(self._path.resolve(), changed.encode(), version)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path} has more than {MAX_BYTES} bytes")
    return content


def _version(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _replace(path: Path, content: bytes, version: str) -> None:
    """Let a new file take the place of the old one, or leave that as it is."""
    made: str | None = None
    try:
        found = path.stat()
        # Created for this user alone; it gets the old one's mode once it has its owner.
        handle, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), found.st_uid, found.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(found.st_mode))
            file.flush()
            os.fsync(file.fileno())
        if _version(_read(path)) != version:
            raise FileChangedError
        Path(made).replace(path)
        made = None
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror or error}; copy the YAML instead"
        ) from None
    finally:
        if made is not None:
            with suppress(OSError):
                Path(made).unlink()
