"""Clips that several tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sources.clips import make_clip


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 numbered pictures of 640×360 at 25 a second."""
    return make_clip(tmp_path_factory.mktemp("clips") / "clip.mp4")


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 numbered pictures of 320×240 at 25 a second."""
    return make_clip(tmp_path_factory.mktemp("clips") / "small.mp4", count=25, size=(320, 240))
