"""Scenes of people who mingle, who walk up, and who pass a poster."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from streamgate import Scorer
from streamgate.config import CameraConfig, DetectorSection
from streamgate.faces.detect import YuNetDetector
from streamgate.lab.scenes.looks import Person, load_people
from streamgate.lab.scenes.runner import run_scene
from streamgate.lab.scenes.scene import Scene
from streamgate.lab.scenes.scripts import mingling_script, poster_script, walking_up_script
from streamgate.models.registry import path_of
from tests import needs


@pytest.fixture(scope="module")
def detector() -> YuNetDetector:
    return YuNetDetector(DetectorSection(), path_of("yunet"))


@pytest.fixture(scope="module")
def people(detector: YuNetDetector) -> list[Person]:
    folders = sorted(needs.reference_data("data/photos").iterdir())[:7]
    photographs = {folder.name: sorted(folder.glob("*.jpg"))[:1] for folder in folders}
    return load_people(photographs, detector.detect)


def config(min_quality: float) -> CameraConfig:
    return CameraConfig.model_validate(
        {
            "camera": {"name": "scene"},
            "source": {"kind": "file", "path": "none.mkv"},
            "gate": {"min_quality": min_quality},
        }
    )


def test_who_walks_up_grows_from_30_to_100_pixels() -> None:
    """And ends outside the picture, or behind the camera's edge."""
    script = walking_up_script(3)
    assert len(script.walks) == 7
    for walk in script.walks:
        assert walk.height[0] == pytest.approx(30, abs=0.5)
        assert walk.height.max() == pytest.approx(100, abs=0.5)
        assert not 0 < walk.x[-1] < script.size_px[0]


def test_whoever_mingles_comes_in_and_goes_out() -> None:
    """All come once and some twice, never both at once."""
    script = mingling_script(3, people=6, returning=4)
    visits = Counter(walk.person for walk in script.walks)
    assert sorted(visits.values()) == [1, 1, 2, 2, 2, 2]
    for person in visits:
        own = sorted((w.begins, w.ends) for w in script.walks if w.person == person)
        assert all(before[1] < after[0] for before, after in pairwise(own))
    for walk in script.walks:
        assert not 0 < walk.x[0] < script.size_px[0]
        assert not 0 < walk.x[-1] < script.size_px[0]


def test_only_light_and_grain_change_on_a_poster(people: list[Person]) -> None:
    """It stays where it is to the pixel, while the light drifts by a tenth."""
    script = poster_script(1, seconds=48.0, passers=0, interruptions=())
    frames = list(Scene(script, people).frames(0.25))
    assert len({tuple(frame.faces[0].box.tolist()) for frame in frames}) == 1
    light = [float(frame.image.mean()) for frame in frames]
    assert 1.1 < max(light) / min(light) < 1.3


def test_a_poster_is_forwarded_once(people: list[Person], detector: YuNetDetector) -> None:
    """While people pass before it and the stream breaks off; each of them once, too."""
    script = poster_script(2, seconds=36.0, passers=3, interruptions=(9.0, 20.0, 29.0))
    figures = run_scene(
        Scene(script, people[:4]), 5.0, config(30), detector, Scorer.load(threads=1)
    )
    assert (figures.people, figures.missed, figures.surplus, figures.false_joins) == (4, 0, 0, 0)


@pytest.mark.slow
def test_of_seven_people_who_walk_up_nobody_is_missed(
    people: list[Person], detector: YuNetDetector
) -> None:
    """Small at first, at a threshold of 20; who was hidden for seconds may come twice, no more."""
    figures = run_scene(
        Scene(walking_up_script(5), people), 12.5, config(20), detector, Scorer.load(threads=1)
    )
    assert (figures.people, figures.missed, figures.false_joins) == (7, 0, 0)
    assert figures.surplus <= 1
    assert figures.purity >= 0.98
