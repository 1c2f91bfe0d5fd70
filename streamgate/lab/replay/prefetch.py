"""Detection ahead of the analysis: most of a replay's time is the detector's.

Frames depend on each other in the tracker alone, so the detector may look at the next ones while
one is analysed. What it finds is the same in every thread, and is handed out picture by picture.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import local
from typing import Self

from streamgate.ports import FaceDetector
from streamgate.values import Face, Image

__all__ = ["DetectionPrefetch"]


class DetectionPrefetch:
    """A detector that has begun before it is asked; implements `FaceDetector`.

    Args:
        make: makes a detector; each thread uses one of its own.
        threads: how many pictures are looked at at once.
    """

    def __init__(self, make: Callable[[], FaceDetector], threads: int) -> None:
        self.threads = threads
        self._make = make
        self._own = local()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="detection-ahead")
        self._begun: deque[tuple[Image, Future[Sequence[Face]]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def begin(self, image: Image) -> None:
        """Start to look at a picture that `detect` will be asked for after those begun before."""
        self._begun.append((image, self._pool.submit(self._detect, image)))

    def detect(self, image: Image) -> Sequence[Face]:
        """Return the faces in the picture that was begun first of those not yet asked for."""
        begun, found = self._begun.popleft()
        assert begun is image
        return found.result()

    def _detect(self, image: Image) -> Sequence[Face]:
        if not hasattr(self._own, "detector"):
            self._own.detector = self._make()
        faces: Sequence[Face] = self._own.detector.detect(image)
        return faces
