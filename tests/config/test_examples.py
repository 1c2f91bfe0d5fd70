"""The worked examples of sources, loaded as a user would."""

from __future__ import annotations

import pytest

from streamgate.config import load_config
from streamgate.config.scorer_file import is_scorer_file, load_scorer_config
from tests.needs import ROOT

ENVIRONMENT = {"DOOR_PASSWORD": "secret", "RECOGNISER_TOKEN": "secret", "RECORDING": "visit.mp4"}


@pytest.mark.parametrize(
    ("name", "kind"), [("door", "rtsp"), ("recording", "file"), ("usb", "device")]
)
def test_an_example_loads(name: str, kind: str) -> None:
    """It is valid as it stands, and holds no secret of its own."""
    path = ROOT / "configs" / f"{name}.yaml"
    assert load_config(path, ENVIRONMENT).config.source.kind == kind


def test_the_example_of_a_scorer_loads() -> None:
    """It is told from a camera's file by its sections."""
    path = ROOT / "configs" / "scorer.yaml"
    assert is_scorer_file(path)
    assert not is_scorer_file(ROOT / "configs" / "door.yaml")
    assert load_scorer_config(path).listen.unix_mode == "0660"
