"""What the sources tell the log, for those who read it elsewhere, in the same words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["SourceNotices"]

_LOGGER = "streamgate.sources"
_LOST = frozenset({"source lost", "session failed"})
_FOUND = frozenset({"source connected", "publisher connected"})
_DOUBTED = frozenset({"source clock is not used", "main stream lost", "substream replaced"})
_BELIEVED = frozenset(
    {"source clock is used again", "main stream connected", "substream used again"}
)


class SourceNotices(logging.Handler):
    """Hears what sources log, secrets struck out already.

    Args:
        tell: told each warning as a sentence; called by any thread.

    Attributes:
        fault: why there is no picture, in the log's words; None while the source is connected.
        doubt: what is wrong although pictures come.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._tell = tell
        self.fault: str | None = None
        self.doubt: str | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear while the context is open."""
        logger = logging.getLogger(_LOGGER)
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line of the log, whose message is a dictionary."""
        said = record.msg
        if not isinstance(said, dict):
            return
        event, error = str(said.get("event", "")), said.get("error")
        if event in _FOUND:
            self.fault = None
        elif event in _BELIEVED:
            self.doubt = None
        elif event in _LOST:
            self.fault = str(error)
        elif event in _DOUBTED:
            self.doubt = str(error)
        if record.levelno >= logging.WARNING and isinstance(error, str):
            self._tell(f"{event[:1].upper()}{event[1:]}: {error}")
