"""Room that is kept free on the disk, so that a full one can be emptied again.

SQLite needs room even to delete: what changes goes into the WAL first, and what the WAL holds must
fit into the file before the WAL can be used anew. An outbox that had filled its disk by itself
could never shrink. So nothing new is written unless this much is set aside; when the disk is full
it is given up to the deletions.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from streamgate.delivery.durable.faults import FULL_ERRNOS, StoreFaultError

__all__ = ["DiskReserve"]

_BYTES = 3_145_728
"""Three times what the WAL may hold before it is folded into the file."""


class DiskReserve:
    """A file beside the outbox that holds nothing but its place."""

    def __init__(self, outbox: Path) -> None:
        self._outbox = outbox
        self._path = outbox.with_name(f"{outbox.name}.reserve")

    def hold(self) -> None:
        """Set the room aside, if it is not.

        Raises:
            StoreFaultError: there is not so much room.
        """
        with suppress(OSError):
            if self._path.stat().st_size == _BYTES:
                return
        try:
            self._make()
        except OSError as error:
            self.give_up()
            reason = "full" if error.errno in FULL_ERRNOS else "io"
            text = "the disk is full" if reason == "full" else str(error.strerror)
            raise StoreFaultError(self._outbox, reason, text) from None

    def give_up(self) -> None:
        """Leave the room to others."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _make(self) -> None:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _BYTES)
        finally:
            os.close(descriptor)
