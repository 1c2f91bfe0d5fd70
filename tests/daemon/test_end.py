"""How a camera's process ends: at every moment of its life, and when a part of it is ill."""

from __future__ import annotations

import json
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.films import film_visit
from tests.servers.daemon import Daemon

STOP_S = 5.5
"""Five seconds, and what a busy machine takes to see that a process has gone."""

_MAIN = """
import sys
{change}
from streamgate.__main__ import main
sys.argv = ["streamgate", "run", sys.argv[1]]
main()
"""
BROKEN_SCORER = """
from streamgate.errors import ScoreError
from streamgate.quality import GrafiqsScorer
async def score(self, crops):
    raise ScoreError("the device is gone")
GrafiqsScorer.score = score
"""
BROKEN_DETECTOR = """
from streamgate.errors import DetectorError
from streamgate.faces.analyse import FaceAnalyser
def analyse(self, frame):
    raise DetectorError("the graph is gone")
FaceAnalyser.analyse = analyse
"""
HANGING_DETECTOR = """
import time
from streamgate.faces.analyse import FaceAnalyser
FaceAnalyser.analyse = lambda self, frame: time.sleep(600)
"""
HANGING_LOOP = """
import time
from streamgate.faces.analyse import FaceAnalyser
from streamgate.pipeline.camera import CameraPipeline
CameraPipeline._count = lambda self, analysis: time.sleep(600)
"""
HANGING_START = """
import time
import streamgate.daemon.compose as compose
class Slow(compose.YuNetDetector):
    def __init__(self, *given):
        print("hangs", file=sys.stderr, flush=True)
        time.sleep(600)
compose.YuNetDetector = Slow
"""
HANGING_OUTBOX = """
import time
import streamgate.delivery.dispatcher as dispatcher
async def hang(self):
    print("hangs", file=sys.stderr, flush=True)
    time.sleep(600)
dispatcher.Dispatcher.open = hang
"""

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person who does not go away."""
    return film_visit(tmp_path_factory.mktemp("films") / "standing.mkv", stays_s=20)


def film(path: Path) -> dict[str, Any]:
    return {"kind": "file", "path": str(path), "pace": "realtime", "loop": True}


def changed(folder: Path, path: Path, change: str, **settings: Any) -> Daemon:
    """A daemon of which a part was changed for the worse."""
    daemon = Daemon(folder, film(path), **settings)
    daemon.command = [sys.executable, "-c", _MAIN.format(change=change), str(daemon.file)]
    return daemon


@pytest.mark.parametrize(
    ("change", "part"), [(BROKEN_SCORER, "scorer"), (BROKEN_DETECTOR, "detector")]
)
def test_a_part_that_fails_for_ever_ends_the_process(
    tmp_path: Path, standing: Path, change: str, part: str
) -> None:
    """It is unhealthy first; then it ends with a reason and a code that its supervisor sees."""
    limits = {"unhealthy_after_failures": 3, "end_after_failures": 12}
    with changed(tmp_path, standing, change, health=limits) as daemon:
        deadline = time.monotonic() + 60
        told = ""
        while part not in told and time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{daemon.url}/healthz", timeout=5):
                    pass
            except urllib.error.HTTPError as ill:
                told = json.loads(ill.read())["detail"]
            except OSError:
                break
        assert daemon.wait(60) == 1
        assert f"the {part} has failed" in daemon.log.splitlines()[-1]
        assert f"the {part} has failed" in told


@pytest.mark.parametrize("change", [HANGING_DETECTOR, HANGING_LOOP], ids=["detector", "loop"])
def test_what_hangs_does_not_keep_the_process(tmp_path: Path, standing: Path, change: str) -> None:
    """The stop is made, and says what is lost."""
    with changed(tmp_path, standing, change) as daemon:
        time.sleep(2)
        began_at = time.monotonic()
        assert daemon.stop() in {0, 1}
        assert time.monotonic() - began_at < STOP_S


@pytest.mark.parametrize("change", [HANGING_START, HANGING_OUTBOX], ids=["model", "outbox"])
def test_a_start_that_hangs_is_stopped(tmp_path: Path, standing: Path, change: str) -> None:
    """Before anything was accepted nothing is lost, and the code says so."""
    daemon = changed(tmp_path, standing, change)
    process = subprocess.Popen(daemon.command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("hangs"):
            break
    began_at = time.monotonic()
    process.send_signal(signal.SIGTERM)
    rest = process.communicate(timeout=30)[1]
    assert time.monotonic() - began_at < STOP_S
    assert process.returncode == 0, rest


@pytest.mark.parametrize("after_s", [0.05, 0.6, 1.5, 2.5, 4.0])
def test_a_stop_at_any_moment_of_the_start_is_obeyed(
    tmp_path: Path, standing: Path, after_s: float
) -> None:
    """While Python, torch, the models or the source are on their way."""
    daemon = Daemon(tmp_path, film(standing))
    process = subprocess.Popen(daemon.command, stderr=subprocess.DEVNULL)
    time.sleep(after_s)
    began_at = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) in {0, -signal.SIGTERM}
    assert time.monotonic() - began_at < STOP_S


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_idle_connections_take_nothing_from_anybody(
    tmp_path: Path, standing: Path, many_descriptors: None
) -> None:
    """Eleven hundred of them: health answers, decisions go on, the log stays small."""
    del many_descriptors
    with Daemon(
        tmp_path, film(standing), gate={"min_quality": 0, "max_wait_s": 1.0, "cooldown_s": 1.0}
    ) as daemon:
        lines = daemon.log.count("\n")
        shots = len(daemon.shots())
        idle = [socket.create_connection(("127.0.0.1", daemon.port)) for _ in range(1100)]
        try:
            deadline = time.monotonic() + 60
            while len(daemon.shots()) <= shots and time.monotonic() < deadline:
                with urllib.request.urlopen(f"{daemon.url}/healthz", timeout=5) as answer:
                    assert answer.status == 200
                time.sleep(0.2)
            assert len(daemon.shots()) > shots
            assert daemon.log.count("\n") - lines < 100
        finally:
            for connection in idle:
                connection.close()
        began_at = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began_at < STOP_S


def test_no_secret_is_in_the_process_list(tmp_path: Path, standing: Path) -> None:
    """Others on the machine see the arguments of every process; children would be seen too."""
    secret = "hunter2-hunter2-hunter2"
    web = {"port": 0, "token": secret}
    with Daemon(tmp_path, film(standing), web=web) as daemon:
        found = []
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                found.append(place.read_bytes())
            except OSError:
                continue
        assert not [line for line in found if secret.encode() in line]
        assert secret not in daemon.log
