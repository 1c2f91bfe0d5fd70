"""`streamgate run` as a user starts it: a real camera, a real recogniser, and what goes wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.daemon.films import film_visit
from tests.servers.daemon import Daemon as AnyDaemon
from tests.servers.recogniser import Posted, Recogniser
from tests.servers.rtsp import RtspServer

PASSWORD = "p@ss:w/rd#1%? ä"
ENVIRONMENT = {"DOOR_PASSWORD": PASSWORD}
DEADLINE_S = 90.0
# Of which three are the drain of sinks that do not answer.
STOP_S = 5.0

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="session")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person for two seconds, an empty room for two, at 320×240."""
    return film_visit(tmp_path_factory.mktemp("films") / "visits.mkv", stays_s=2, away_s=2)


@pytest.fixture(scope="session")
def bigger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same at 480×360."""
    folder = tmp_path_factory.mktemp("films")
    return film_visit(folder / "bigger.mkv", stays_s=2, away_s=2, size=(480, 360))


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person who does not go away."""
    return film_visit(tmp_path_factory.mktemp("films") / "standing.mkv", stays_s=20)


class Daemon(AnyDaemon):
    """A camera whose gate lets the best of each track through, however good the network finds it.

    These tests are about the way of best shots, not about their choice.
    """

    def __init__(self, folder: Path, source: dict[str, Any], **settings: Any) -> None:
        super().__init__(folder, source, **{"gate": {"min_quality": 0}, **settings})


def camera(server: RtspServer, **settings: Any) -> dict[str, Any]:
    pace = {"reconnect": {"initial_s": 0.2, "max_s": 0.5}, "open_timeout_s": 10.0}
    return {"kind": "rtsp", "url": server.url, **pace, **settings}


def posting(recogniser: Recogniser) -> dict[str, Any]:
    sink = {"kind": "http", "url": recogniser.url}
    return {"sinks": [sink], "retry": {"initial_s": 0.2, "max_s": 0.5}}


def until(daemon: Daemon, holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline, daemon.log[-3000:]
        time.sleep(0.1)


def stopped(daemon: Daemon) -> int:
    """Ask the daemon to end; it must in time, whatever is the matter."""
    began_at = time.monotonic()
    code = daemon.stop()
    assert time.monotonic() - began_at < STOP_S
    return code


def ready(daemon: Daemon) -> bool:
    try:
        with urllib.request.urlopen(f"{daemon.url}/readyz", timeout=5):
            return True
    except urllib.error.HTTPError as refused:
        if refused.code != 503:
            raise
        return False


def _height(shot: Posted) -> float:
    _, top, _, bottom = shot.metadata["face"]["box"]
    return float(bottom - top)


def decided(daemon: Daemon) -> int:
    return sum(event["event"] == "track decided" for event in daemon.events())


@pytest.mark.parametrize(
    ("codec", "transport", "digest"),
    [("h264", "tcp", True), ("h264", "udp", True), ("h265", "tcp", False), ("h265", "udp", False)],
)
def test_best_shots_of_each_visit_are_posted(
    tmp_path: Path, visits: Path, codec: Literal["h264", "h265"], transport: str, digest: bool
) -> None:
    """By each codec and transport, with a password: one best shot a visit, and no secret told."""
    source = {"username": "door man", "password": "${DOOR_PASSWORD}", "transport": transport}
    with (
        RtspServer(
            visits, codec=codec, user="door man", password=PASSWORD, digest=digest
        ) as server,
        Recogniser() as recogniser,
        Daemon(
            tmp_path,
            camera(server, **source),
            environment=ENVIRONMENT,
            delivery=posting(recogniser),
        ) as daemon,
    ):
        posted = recogniser.until(lambda posted: len(posted) >= 2)
        assert ready(daemon)
        with urllib.request.urlopen(f"{daemon.url}/metrics", timeout=10) as answer:
            told = answer.read().decode()
        assert stopped(daemon) == 0
    for shot in posted:
        assert shot.crop.shape == (112, 112, 3)
        assert shot.metadata["camera"] == "door"
        assert 0 <= shot.metadata["quality"] <= 100
        assert shot.metadata["captured_at"] <= shot.metadata["decided_at"]
    tracks = [shot.metadata["track_id"] for shot in posted]
    assert tracks == sorted(set(tracks))
    for secret in (PASSWORD, "p%40ss", "w%2Frd", "w/rd"):
        assert secret not in told + daemon.log


def test_a_camera_is_killed_changed_frozen_and_comes_back(
    tmp_path: Path, standing: Path, bigger: Path
) -> None:
    """Each loss ends the live track with its best shot; each return is seen without a restart."""
    with (
        RtspServer(standing) as server,
        Recogniser() as recogniser,
        Daemon(
            tmp_path,
            camera(server, read_timeout_s=2.0),
            delivery=posting(recogniser),
            web={"port": 0, "ready_frame_age_s": 2.0},
        ) as daemon,
    ):
        until(daemon, lambda: daemon.metric("faces_scored_total") >= 6)
        server.kill()
        (first,) = recogniser.until(lambda posted: posted)
        assert first.metadata["reason"] == "stream_lost"
        until(daemon, lambda: daemon.metric("source_faults_total", reason="refused") >= 2)
        until(daemon, lambda: not ready(daemon))
        until(daemon, lambda: daemon.metric("source_up") == 0)

        server.restart(bigger)
        recogniser.until(lambda posted: len(posted) >= 2)
        assert ready(daemon)

        server.restart(standing)
        until(daemon, lambda: daemon.metric("live_tracks") == 1)
        scored = daemon.metric("faces_scored_total")
        until(daemon, lambda: daemon.metric("faces_scored_total") >= scored + 6)
        before = len(recogniser.posted)
        server.freeze()
        posted = recogniser.until(lambda posted: len(posted) > before)
        assert posted[-1].metadata["reason"] == "stream_lost"
        until(daemon, lambda: daemon.metric("source_faults_total", reason="timeout") >= 1)
        server.thaw()
        until(daemon, lambda: daemon.metric("live_tracks") == 1 and ready(daemon))
        assert stopped(daemon) == 0
    assert decided(daemon) >= len({shot.metadata["track_id"] for shot in posted})


def test_the_size_changes_in_mid_stream(tmp_path: Path, visits: Path, bigger: Path) -> None:
    """Visits at either size are forwarded, over one connection."""
    with (
        RtspServer(visits, bigger) as server,
        Recogniser() as recogniser,
        Daemon(tmp_path, camera(server), delivery=posting(recogniser)) as daemon,
    ):

        def heights(posted: list[Posted]) -> set[bool]:
            # The face is half as large again in the bigger picture.
            return {_height(shot) > 140 for shot in posted}

        recogniser.until(lambda posted: len(heights(posted)) == 2)
        assert daemon.metric("source_connects_total") == 1
        assert stopped(daemon) == 0


def test_a_wrong_password_is_told_and_not_shown(tmp_path: Path, visits: Path) -> None:
    """The log says what to check, the metric counts it, and the secret is nowhere."""
    source = {"username": "u", "password": "${DOOR_PASSWORD}"}
    with (
        RtspServer(visits, user="u", password="another") as server,
        Daemon(tmp_path, camera(server, **source), environment=ENVIRONMENT) as daemon,
    ):
        until(daemon, lambda: daemon.metric("source_faults_total", reason="unauthorized") >= 2)
        assert not ready(daemon)
        with urllib.request.urlopen(f"{daemon.url}/metrics", timeout=10) as answer:
            told = answer.read().decode()
        assert stopped(daemon) == 0
    (said,) = [event for event in daemon.events() if event["event"] == "source lost"]
    assert "check source.username and source.password" in said["error"]
    for secret in (PASSWORD, "p@ss", "p%40ss", "w%2Frd", "another"):
        assert secret not in told + daemon.log


def test_a_stop_in_mid_track_delivers_what_is_due(tmp_path: Path, standing: Path) -> None:
    """SIGTERM while somebody stands there: the best shot goes out, and the exit code is 0."""
    with (
        RtspServer(standing) as server,
        Recogniser() as recogniser,
        Daemon(tmp_path, camera(server), delivery=posting(recogniser)) as daemon,
    ):
        until(daemon, lambda: daemon.metric("faces_scored_total") >= 6)
        assert not recogniser.posted
        assert stopped(daemon) == 0
        (shot,) = recogniser.posted.values()
    assert shot.metadata["reason"] == "shutdown"
    assert decided(daemon) == 1


@pytest.mark.parametrize("outbox", ["memory", "sqlite"])
def test_a_stop_ends_in_time_when_all_is_stuck(tmp_path: Path, standing: Path, outbox: str) -> None:
    """Camera frozen, sink refusing: it ends, and says by its exit code whether anything is lost.

    Two signals in a row, as timeout(1) sends them, are one.
    """
    kept = {
        "memory": {"kind": "memory"},
        "sqlite": {
            "kind": "sqlite",
            "path": str(tmp_path / "box"),
            "store_pictures_unencrypted": True,
        },
    }[outbox]
    with (
        RtspServer(standing) as server,
        Recogniser() as recogniser,
        Daemon(
            tmp_path, camera(server), delivery={**posting(recogniser), "outbox": kept}
        ) as daemon,
    ):
        recogniser.refusing = True
        until(daemon, lambda: daemon.metric("faces_scored_total") >= 6)
        server.freeze()
        daemon.send(signal.SIGTERM)
        assert stopped(daemon) == (1 if outbox == "memory" else 0)
    assert [e["undelivered"] for e in daemon.events() if e["event"] == "camera stopped"] == [1]


def test_a_second_signal_is_obeyed_at_once(tmp_path: Path, standing: Path) -> None:
    """Who will not wait for the drain sends another signal, and reads what it may have cost."""
    with (
        RtspServer(standing) as server,
        Recogniser() as recogniser,
        Daemon(
            tmp_path, camera(server), delivery={**posting(recogniser), "drain_s": 600}
        ) as daemon,
    ):
        recogniser.refusing = True
        until(daemon, lambda: daemon.metric("faces_scored_total") >= 6)
        daemon.send(signal.SIGINT)
        # The track is decided when the drain begins; it would go on for ten minutes.
        until(daemon, lambda: decided(daemon) == 1)
        time.sleep(1.1)
        assert stopped(daemon) == 1
    assert "second signal" in daemon.log


def run(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    file = folder / "camera.yaml"
    file.write_text(text)
    command = [sys.executable, "-m", "streamgate", "run", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)


def test_a_file_is_judged_to_its_end(tmp_path: Path, visits: Path) -> None:
    """A recording ends the process with 0, its best shots written, one for the one visit."""
    done = run(
        tmp_path,
        f"camera: {{name: door}}\n"
        f"source: {{kind: file, path: {visits}, pace: fast}}\n"
        f"gate: {{min_quality: 0, visit_s: 0}}\n"
        f"delivery: {{sinks: [{{kind: directory, path: {tmp_path / 'shots'}}}]}}\n"
        f"web: {{enabled: false}}\n",
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "shots").rglob("*.json"))) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "there is no file"), (b"", "cannot be read"), (b"not a video" * 99, "cannot be read")],
)
def test_an_unusable_file_is_a_failure(tmp_path: Path, content: bytes | None, said: str) -> None:
    """The process ends with 1 and one line that says what is wrong, without a traceback."""
    film = tmp_path / "film.mkv"
    if content is not None:
        film.write_bytes(content)
    done = run(
        tmp_path,
        f"camera: {{name: door}}\nsource: {{kind: file, path: {film}}}\nweb: {{enabled: false}}\n",
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_a_failure(tmp_path: Path, visits: Path) -> None:
    """The message names the port and the key to change."""
    with Recogniser() as other:
        port = other.url.split(":")[2].split("/")[0]
        done = run(
            tmp_path,
            f"camera: {{name: door}}\nsource: {{kind: file, path: {visits}, loop: true}}\n"
            f"web: {{port: {port}}}\n",
        )
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "web.port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_configuration_is_bad_usage(tmp_path: Path) -> None:
    """The process ends with 2 before anything is loaded, and names file, line and key."""
    done = run(tmp_path, "camera: {name: Front Door}\nsource: {kind: file, path: a}\n")
    assert done.returncode == 2
    assert f"{tmp_path / 'camera.yaml'}:1: camera.name: got 'Front Door'" in done.stderr
