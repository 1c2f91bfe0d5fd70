"""Whose faces are scored next: pure, time is an argument.

Cameras take turns, one face each, so that a camera with many faces delays another by no more than
its own share. Within a camera the earliest deadline comes first. Every camera has a bound of its
own, and all have one together.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["FairQueue", "FullError", "Work"]

T = TypeVar("T")


class FullError(Exception):
    """There is no place.

    Attributes:
        of_camera: whether the camera's own places are taken, and not those of all.
    """

    def __init__(self, message: str, *, of_camera: bool) -> None:
        super().__init__(message)
        self.of_camera = of_camera


@dataclass(slots=True, eq=False)
class Work(Generic[T]):
    """Faces of one request.

    Attributes:
        camera: whose turn they take.
        faces: how many.
        deadline: when they are of no more use, monotonic seconds.
        content: what the caller needs of them.
        taken: how many have been taken.
        dropped: whether the rest is of no more use.
    """

    camera: Hashable
    faces: int
    deadline: float
    content: T
    taken: int = 0
    dropped: bool = False


@dataclass(slots=True)
class _Row(Generic[T]):
    """The work of one camera."""

    heap: list[tuple[float, int, Work[T]]] = field(default_factory=list)
    faces: int = 0


class FairQueue(Generic[T]):
    """Work that waits for a device.

    Args:
        max_faces: the most that wait, of all cameras.
        max_faces_per_camera: the most of one.
        max_cameras: the most cameras that have work waiting.
    """

    def __init__(self, *, max_faces: int, max_faces_per_camera: int, max_cameras: int) -> None:
        self._max_faces = max_faces
        self._max_faces_per_camera = max_faces_per_camera
        self._max_cameras = max_cameras
        self._rows: OrderedDict[Hashable, _Row[T]] = OrderedDict()
        self._faces = 0
        self._count = 0

    def __len__(self) -> int:
        """How many faces wait."""
        return self._faces

    def put(self, work: Work[T]) -> None:
        """Take work.

        Raises:
            FullError: there is no place for it.
        """
        row = self._rows.get(work.camera)
        waiting = 0 if row is None else row.faces
        if waiting + work.faces > self._max_faces_per_camera:
            raise FullError(f"{waiting} faces of this camera wait already", of_camera=True)
        if self._faces + work.faces > self._max_faces:
            raise FullError(f"{self._faces} faces wait already", of_camera=False)
        if row is None:
            if len(self._rows) >= self._max_cameras:
                raise FullError(f"{len(self._rows)} cameras wait already", of_camera=False)
            row = self._rows[work.camera] = _Row()
        self._count += 1
        heapq.heappush(row.heap, (work.deadline, self._count, work))
        row.faces += work.faces
        self._faces += work.faces

    def drop(self, work: Work[T]) -> None:
        """Forget what is left of a request; its places are free at once."""
        row = self._rows.get(work.camera)
        if work.dropped or work.taken == work.faces or row is None:
            return
        work.dropped = True
        self._leave(row, work.faces - work.taken)
        row.heap = [entry for entry in row.heap if entry[2] is not work]
        heapq.heapify(row.heap)
        if not row.heap:
            del self._rows[work.camera]

    def expired(self, now: float) -> list[Work[T]]:
        """Drop and return the work whose deadline has passed."""
        late = []
        for row in tuple(self._rows.values()):
            # The earliest deadline stands first.
            while row.heap and row.heap[0][0] <= now:
                work = row.heap[0][2]
                self.drop(work)
                late.append(work)
        return late

    def take(self, count: int) -> list[tuple[Work[T], int]]:
        """Return up to `count` faces as work and the number of the face in it, in fair order."""
        taken: list[tuple[Work[T], int]] = []
        while self._rows and len(taken) < count:
            camera, row = next(iter(self._rows.items()))
            work = row.heap[0][2]
            taken.append((work, work.taken))
            work.taken += 1
            self._leave(row, 1)
            if work.taken == work.faces:
                heapq.heappop(row.heap)
            if row.heap:
                self._rows.move_to_end(camera)
            else:
                del self._rows[camera]
        return taken

    def clear(self) -> list[Work[T]]:
        """Drop and return all that waits."""
        left = [entry[2] for row in self._rows.values() for entry in row.heap]
        for work in left:
            work.dropped = True
        self._rows.clear()
        self._faces = 0
        return left

    def _leave(self, row: _Row[T], faces: int) -> None:
        row.faces -= faces
        self._faces -= faces
