"""`streamgate init` against a real camera: a configuration that runs, without an editor."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from streamgate.config import load_config
from tests.cli.crops import invoke
from tests.daemon.films import film_visit
from tests.servers.broker import free_port
from tests.servers.rtsp import RtspServer

pytestmark = [pytest.mark.live, pytest.mark.slow]

PASSWORD = "right one: #2 $x"


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspServer]:
    film = film_visit(tmp_path_factory.mktemp("film") / "visit.mkv", stays_s=4)
    with RtspServer(film, user="viewer", password=PASSWORD, digest=True) as server:
        yield server


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_address_and_a_password_come_to_a_configuration_that_check_passes(
    camera: RtspServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed in; the password ends in a file of its own, and is shown nowhere."""
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "door.yaml"
    typed = f"n\n{camera.url}\nviewer\n{PASSWORD}\ny\n"
    result = invoke("init", "--out", out, "--watch-s", "2", input=typed)
    assert result.exit_code == 0, result.output
    assert "a picture of 320×240 pixels has come" in result.output
    assert PASSWORD not in result.output
    assert PASSWORD not in out.read_text()
    assert (tmp_path / "door.password").read_text() == PASSWORD
    assert (tmp_path / "door.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert {mode(path) for path in tmp_path.iterdir() if path.is_file()} == {0o600}
    source = load_config(out).config.source
    assert source.kind == "rtsp"
    assert source.password is not None
    assert source.password.get_secret_value() == PASSWORD
    assert invoke("check", "--online", out).exit_code == 0
    # It is not written over.
    again = invoke("init", "--out", out, "--address", camera.url, "--yes")
    assert (again.exit_code, "is there already" in again.output) == (2, True)


def test_it_asks_nothing_where_it_is_told_so(
    camera: RtspServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password from the environment stays there; no picture is left."""
    monkeypatch.setenv("DOOR_PASSWORD", PASSWORD)
    out = tmp_path / "back.yaml"
    result = invoke(
        "init", "--yes", "--address", camera.url, "--username", "viewer", "--password-env",
        "DOOR_PASSWORD", "--out", out, "--watch-s", "0.5",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    written = yaml.safe_load(out.read_text())
    assert written["camera"]["name"] == "back"
    assert written["source"]["password"] == "${DOOR_PASSWORD}"
    assert not (tmp_path / "back.jpg").exists()
    assert not (tmp_path / "back.password").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"DOOR_PASSWORD": "wrong"}, "refuses these credentials"),
        ({"address": "nowhere"}, "nothing accepts connections there"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(
    camera: RtspServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str], told: str,
) -> None:  # fmt: skip
    """A wrong password, and nobody there."""
    monkeypatch.setenv("DOOR_PASSWORD", change.get("DOOR_PASSWORD", PASSWORD))
    url = f"rtsp://127.0.0.1:{free_port()}/x" if "address" in change else camera.url
    out = tmp_path / "door.yaml"
    result = invoke(
        "init", "--yes", "--address", url, "--username", "viewer", "--password-env",
        "DOOR_PASSWORD", "--out", out, "--watch-s", "1",
    )  # fmt: skip
    assert result.exit_code == 1
    assert told in result.output
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_none_is_refused_before_anything_is_tried(tmp_path: Path) -> None:
    """With what would be one."""
    result = invoke("init", "--yes", "--address", "http://camera/x", "--out", tmp_path / "a.yaml")
    assert result.exit_code == 2
    assert "wanted rtsp://HOST/PATH" in result.output
