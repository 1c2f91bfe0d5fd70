"""The whole gate on a scene of people who cross behind pillars and each other."""

from __future__ import annotations

import pytest

from streamgate import Scorer
from streamgate.config import CameraConfig, DetectorSection
from streamgate.faces.detect import YuNetDetector
from streamgate.lab.scenes.evaluation import PeopleFigures
from streamgate.lab.scenes.looks import load_people
from streamgate.lab.scenes.runner import run_scene
from streamgate.lab.scenes.scene import Scene
from streamgate.lab.scenes.script import crossing_script
from streamgate.models.registry import path_of
from tests import needs


@pytest.fixture(scope="module")
def detector() -> YuNetDetector:
    return YuNetDetector(DetectorSection(), path_of("yunet"))


def crossing(detector: YuNetDetector, rate: float) -> PeopleFigures:
    """Five people cross and hide, three of them come back within a minute."""
    folders = sorted(needs.reference_data("data/photos").iterdir())[:5]
    photographs = {folder.name: sorted(folder.glob("*.jpg"))[:1] for folder in folders}
    people = load_people(photographs, detector.detect)
    script = crossing_script(11, people=5, returning=3, seconds=14.0, damaged=0.1, away=0.0)
    config = CameraConfig.model_validate(
        {"camera": {"name": "scene"}, "source": {"kind": "file", "path": "none.mkv"}}
    )
    return run_scene(Scene(script, people), rate, config, detector, Scorer.load(threads=1))


def test_each_person_is_forwarded_once(detector: YuNetDetector) -> None:
    """Five shots, one of each, and nobody is taken for another."""
    figures = crossing(detector, 12.5)
    assert (figures.people, figures.missed, figures.surplus, figures.false_joins) == (5, 0, 0, 0)
    assert figures.purity >= 0.99


def test_at_a_low_rate_nobody_is_missed(detector: YuNetDetector) -> None:
    """At 5 pictures a second there may be a shot too many, but nobody is taken for another."""
    figures = crossing(detector, 5.0)
    assert (figures.people, figures.missed, figures.false_joins) == (5, 0, 0)
    assert figures.surplus <= 1
    assert figures.purity >= 0.98
