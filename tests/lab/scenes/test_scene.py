"""Scenes: the same from the same seed, and what they say of each face is what can be seen."""

from __future__ import annotations

import numpy as np
import pytest

from streamgate.config.stages import DetectorSection
from streamgate.faces.detect import YuNetDetector
from streamgate.lab.scenes.looks import Person, load_people
from streamgate.lab.scenes.scene import Scene, SceneFrame, TruthFace, who_is
from streamgate.lab.scenes.script import crossing_script
from streamgate.models.registry import path_of
from tests import needs


@pytest.fixture(scope="module")
def detector() -> YuNetDetector:
    return YuNetDetector(DetectorSection(), path_of("yunet"))


@pytest.fixture(scope="module")
def people(detector: YuNetDetector) -> list[Person]:
    folders = sorted(needs.reference_data("data/photos").iterdir())[:4]
    photographs = {folder.name: sorted(folder.glob("*.jpg"))[:2] for folder in folders}
    return load_people(photographs, detector.detect)


def scene(people: list[Person], seed: int = 3) -> Scene:
    script = crossing_script(seed, people=4, returning=2, seconds=8.0, damaged=0.0, away=0.0)
    return Scene(script, people, seed=seed)


def test_a_seed_is_a_scene(people: list[Person]) -> None:
    """The same pictures and the same truth, again and again."""
    one, again = (list(scene(people).frames(1.0)) for _ in range(2))
    for first, second in zip(one, again, strict=True):
        assert np.array_equal(first.image, second.image)
        assert [face.person for face in first.faces] == [face.person for face in second.faces]


def test_a_rate_changes_nothing_but_how_often_one_looks(people: list[Person]) -> None:
    """At 2 pictures a second every other one is that of 1 picture a second."""
    slow = [_places(frame) for frame in scene(people).frames(1.0)]
    fast = [_places(frame) for frame in scene(people).frames(2.0)]
    assert fast[::2][: len(slow)] == slow


def test_every_face_that_can_be_seen_is_found_where_it_is_said_to_be(
    people: list[Person], detector: YuNetDetector
) -> None:
    """The detector finds them, and finds hardly anything else."""
    seen = found = nobody = 0
    for frame in scene(people).frames(1.5):
        owners = [who_is(face.box, frame.faces) for face in detector.detect(frame.image)]
        nobody += owners.count(None)
        clear = [face for face in frame.faces if face.visible > 0.9]
        seen += len(clear)
        found += sum(any(owner is face for owner in owners) for face in clear)
    assert seen >= 10
    assert found >= 0.95 * seen
    assert nobody <= 0.1 * seen


def test_of_two_faces_in_one_place_it_is_the_one_that_can_be_seen() -> None:
    """Whoever stands in front."""
    box = np.array([100.0, 100.0, 180.0, 200.0])
    behind = TruthFace("behind", 0, box, 0.2, 0, None)
    before = TruthFace("before", 1, box + 8.0, 1.0, 0, None)
    found = who_is(box, [behind, before])
    assert found is before
    assert who_is(box + 300.0, [behind, before]) is None


def _places(frame: SceneFrame) -> list[tuple[str, list[float]]]:
    return [(face.person, face.box.tolist()) for face in frame.faces]
