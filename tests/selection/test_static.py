"""Static faces: what stays in its place and does not change."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamgate.selection.static import StaticFaces, StaticRules
from tests.builders import face

SIZE = 80.0
SOON = StaticRules(after_s=20.0)
"""Sooner than is sure, so that few faces need be shown."""


def looking(person: int, similarity: float, seed: int) -> NDArray[np.float64]:
    noise = np.random.default_rng(seed).normal(size=64)
    noise[:8] = 0.0
    noise /= np.linalg.norm(noise)
    own = np.eye(64)[person]
    return np.asarray(similarity * own + np.sqrt(1 - similarity**2) * noise)


def show(  # one track
    faces: StaticFaces,
    track_id: int,
    *,
    person: int = 0,
    x: float = 200.0,
    stray: float = 0.006,
    similarity: float = 0.98,
    seconds: float = 30.0,
    begins: float = 0.0,
) -> list[bool]:
    """What is said of a face at each score, once a second."""
    chance = np.random.default_rng(track_id)
    said = []
    for step in range(int(seconds) + 1):
        landmarks = face(x, 100.0, SIZE).landmarks + chance.normal(0, stray * SIZE / 1.41, (5, 2))
        faces.seen(track_id, landmarks, SIZE, begins + step)
        embedding = looking(person, similarity, seed=1000 * track_id + step)
        said.append(faces.scored(track_id, embedding))
    return said


def test_a_poster_is_static_after_a_while() -> None:
    """Not before: somebody may stand still for a moment."""
    said = show(StaticFaces(SOON), 1)
    assert not any(said[:20])
    assert all(said[21:])


def test_somebody_who_sits_is_not_static() -> None:
    """A head that moves by a twentieth of its size is alive, and so is a face that changes."""
    assert not any(show(StaticFaces(SOON), 1, stray=0.05, seconds=120.0))
    assert not any(show(StaticFaces(SOON), 1, similarity=0.8, seconds=120.0))


def test_a_poster_is_known_again_at_its_first_score() -> None:
    """After a reconnection its track is a new one; its place and its face are the same."""
    faces = StaticFaces(SOON)
    show(faces, 1)
    faces.ended(1)
    assert not faces.is_static(1)
    assert show(faces, 2, begins=100.0)[0]


def test_what_was_forwarded_is_known_with_the_face() -> None:
    """A poster that was never good enough may still be forwarded once."""
    faces = StaticFaces(SOON)
    show(faces, 1)
    faces.ended(1, forwarded=False)
    show(faces, 2, begins=100.0, seconds=3.0)
    assert not faces.was_forwarded(2)
    faces.ended(2, forwarded=True)
    show(faces, 3, begins=200.0, seconds=3.0)
    assert faces.was_forwarded(3)
    assert len(faces) == 1


def test_who_stands_before_a_poster_is_somebody_else() -> None:
    """The place alone says nothing, nor does the face alone."""
    faces = StaticFaces(SOON)
    show(faces, 1)
    faces.ended(1)
    assert not show(faces, 2, person=1, begins=100.0, seconds=5.0)[0]
    assert not show(faces, 3, x=400.0, begins=200.0, seconds=5.0)[0]


def test_only_so_many_are_remembered() -> None:
    """The oldest is forgotten first."""
    faces = StaticFaces(SOON)
    for number in range(1, 35):
        show(faces, number, x=300.0 * number, begins=100.0 * number, seconds=22.0)
        faces.ended(number)
    assert not show(faces, 100, x=300.0, begins=9000.0, seconds=1.0)[0]
    assert show(faces, 101, x=300.0 * 34, begins=9100.0, seconds=1.0)[0]
