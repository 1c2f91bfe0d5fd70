"""Detection ahead of the analysis, because most of the time of a replay is spent detecting.

Frames depend on each other only in the tracker, so the detector can process the next ones while one
is analysed. Its results are the same in every thread and are returned in the order of the pictures.
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
    """A detector that starts before it is asked; implements `FaceDetector`.

    Args:
        make: makes a detector; each thread uses one of its own.
        threads: how many pictures are processed at the same time.
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
        """Start to process a picture; `detect` must be asked for pictures in the same order."""
        self._begun.append((image, self._pool.submit(self._detect, image)))

    def detect(self, image: Image) -> Sequence[Face]:
        """Return the faces in the picture that was started first and not asked for yet."""
        begun, found = self._begun.popleft()
        assert begun is image
        return found.result()

    def _detect(self, image: Image) -> Sequence[Face]:
        if not hasattr(self._own, "detector"):
            self._own.detector = self._make()
        faces: Sequence[Face] = self._own.detector.detect(image)
        return faces
