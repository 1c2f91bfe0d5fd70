"""A real daemon that a real browser looks at."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamgate.demo.scene import FRAMES_PER_SECOND, Scene, load_portraits
from streamgate.errors import StreamgateError
from streamgate.models.registry import path_of
from streamgate.sources.record import write_video
from tests import needs
from tests.servers.daemon import Daemon
from tests.web.parts import TOKEN

AXE = "axe-core@4.14.1"


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people who walk through a room: far, blurred, dark, half hidden, and clear."""
    try:
        photographs = {name: path_of(f"photo-{name}") for name in ("astronaut", "hopper")}
    except StreamgateError as error:
        needs.missing("the photographs of the demo", str(error))
    film = tmp_path_factory.mktemp("films") / "scene.mkv"
    write_video(film, Scene(load_portraits(photographs), 14.0).frames(), FRAMES_PER_SECOND)
    return film


@pytest.fixture(scope="session")
def camera(tmp_path_factory: pytest.TempPathFactory, scene: Path) -> Iterator[Daemon]:
    """A camera that shows pictures to those who have the token, with one sink that is away."""
    folder = tmp_path_factory.mktemp("camera")
    needs.program("chromium")
    sinks = [
        {"kind": "directory", "name": "disk", "path": str(folder / "shots")},
        {"kind": "http", "name": "recogniser", "url": "http://127.0.0.1:9/faces"},
    ]
    with Daemon(
        folder,
        {"kind": "file", "path": str(scene), "pace": "realtime", "loop": True},
        gate={"release_quality": 60, "min_quality": 20},
        delivery={"sinks": sinks},
        web={"port": 0, "show_pictures": True, "token": TOKEN, "max_viewers": 1},
    ) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def axe(request: pytest.FixtureRequest) -> str:
    """The accessibility checker's script, fetched once by npm."""
    assert request.config.cache is not None
    folder = Path(request.config.cache.mkdir("axe"))
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        npm = needs.program("npm", package="npm")
        options = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-save", "--no-package-lock")
        command = [npm, "install", *options, "--prefix", str(folder), AXE]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
        if done.returncode:
            needs.missing(AXE, f"npm could not fetch it: {done.stderr.strip()[-300:]}")
    return script.read_text(encoding="utf-8")
