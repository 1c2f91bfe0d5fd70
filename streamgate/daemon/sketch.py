"""Keep the distribution of a camera's raw scores on disk while it runs.

A sketch takes days to collect, so it continues after a restart. One of other weights is set aside
rather than mixed or lost. Writing is done by a thread of its own, a few times an hour.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from streamgate.errors import ModelError
from streamgate.ports import Clock
from streamgate.quality.score_sketch import ScoreSketch

__all__ = ["SketchKeeper"]

log = structlog.get_logger(__name__)

_SAVE_EVERY_S = 300.0


class SketchKeeper:
    """Counts scores on the event loop and saves them beside it.

    Args:
        path: the file.
        weights_sha256: of the weights that give the scores.
        group: the tap that gives them.

    Raises:
        ModelError: the file is no sketch, or the extra `calibrate` is not installed.
    """

    def __init__(self, path: Path, weights_sha256: str, group: str, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._sketch = _resumed(path, weights_sha256, group)
        self._saved_at = clock.monotonic()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sketch")
        self._saving: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.submit(self._save)
        self._thread.shutdown()

    def add(self, raw: float) -> None:
        """Count a score; never blocks."""
        self._sketch.add(raw)
        now = self._clock.monotonic()
        if now - self._saved_at >= _SAVE_EVERY_S and (self._saving is None or self._saving.done()):
            self._saved_at = now
            self._saving = self._thread.submit(self._save)

    def _save(self) -> None:
        try:
            self._sketch.save(self._path)
        except OSError as error:
            log.error("sketch of scores not written", path=str(self._path), error=error.strerror)


def _resumed(path: Path, weights_sha256: str, group: str) -> ScoreSketch:
    if not path.exists():
        if not path.parent.is_dir():
            raise ModelError(f"{path}: its folder is not there; create it or change quality.sketch")
        return ScoreSketch(weights_sha256, group)
    sketch = ScoreSketch.load(path)
    if (sketch.weights_sha256, sketch.group) == (weights_sha256, group):
        return sketch
    aside = path.with_name(f"{path.name}.{sketch.weights_sha256[:12]}-{sketch.group}")
    path.replace(aside)
    log.warning("sketch of other weights set aside", path=str(aside))
    return ScoreSketch(weights_sha256, group)
