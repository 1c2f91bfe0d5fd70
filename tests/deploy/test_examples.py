"""What lies in deploy/ is a configuration that works, not only one that parses."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from streamgate.config import load_config
from streamgate.config.scorer_file import load_scorer_config
from tests import needs

DEPLOY = needs.ROOT / "deploy"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("compose/door.yaml", "door"),
        ("kubernetes/door.yaml", "door"),
        ("kubernetes-lease/door.yaml", "door"),
        ("kubernetes/scorers/garden.yaml", "garden"),
    ],
)
def test_the_cameras_settings_are_valid(file: str, name: str, tmp_path: Path) -> None:
    """With their secrets, which are files."""
    text = _with_secrets(DEPLOY / file, tmp_path)
    (tmp_path / "camera.yaml").write_text(text)
    assert load_config(tmp_path / "camera.yaml").config.camera.name == name


def test_the_scorers_settings_are_valid(tmp_path: Path) -> None:
    """With their token, without which they would not listen beyond loopback."""
    text = _with_secrets(DEPLOY / "kubernetes" / "scorers" / "settings.yaml", tmp_path)
    (tmp_path / "scorer.yaml").write_text(text)
    assert load_scorer_config(tmp_path / "scorer.yaml").listen.token is not None


def _with_secrets(file: Path, tmp_path: Path) -> str:
    """The text of a configuration whose secrets and state are in a folder of the test's."""
    text = file.read_text(encoding="utf-8")
    for name in ("camera-password", "live-token", "scorer-token", "outbox-key"):
        (tmp_path / name).write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
    for place in ("/run/secrets/streamgate", "/run/secrets", "/var/lib/streamgate"):
        text = text.replace(place, str(tmp_path))
    return text


def test_credentials_of_the_unit_are_read_by_their_place(tmp_path: Path) -> None:
    """LoadCredential leaves them in a folder that an environment variable names."""
    (tmp_path / "secret_camera-password").write_text("p@ss:w/rd\n")
    (tmp_path / "door.yaml").write_text(
        """
camera: {name: door}
source:
  kind: rtsp
  url: rtsp://192.0.2.10/stream1
  username: viewer
  password_file: ${CREDENTIALS_DIRECTORY}/secret_camera-password
delivery: {sinks: [{kind: directory, path: shots}]}
"""
    )
    loaded = load_config(tmp_path / "door.yaml", {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert loaded.config.source.kind == "rtsp"
    assert loaded.config.source.password is not None
    assert loaded.config.source.password.get_secret_value() == "p@ss:w/rd"
    unit = (DEPLOY / "systemd" / "streamgate@.service").read_text(encoding="utf-8")
    assert "LoadCredential=secret:%E/streamgate/credentials/%i/" in unit


def test_every_file_that_compose_mounts_is_there() -> None:
    """A missing one would become an empty folder."""
    compose = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text(encoding="utf-8"))
    mounts = [
        mount.split(":")[0]
        for service in compose["services"].values()
        for mount in service.get("volumes", [])
        if mount.startswith(".")
    ]
    assert mounts
    for mount in mounts:
        assert (DEPLOY / "compose" / mount).exists(), mount


def test_a_tool_that_is_missing_is_named_and_under_ci_a_failure(tmp_path: Path) -> None:
    """Nobody takes a check that did not run for one that passed."""
    for program in ("bash", "dirname", "basename", "mktemp", "rm", "cat", "cp", "sed", "mkdir"):
        (tmp_path / program).symlink_to(needs.program(program))
    command = [str(needs.ROOT / "tools" / "check_deploy.sh"), str(tmp_path / "none")]
    codes = {}
    for ci in ("false", "true"):
        variables = {"PATH": str(tmp_path), "CI": ci}
        bash = shutil.which("bash") or "bash"
        result = subprocess.run(
            [bash, *command],
            check=False,
            env=variables,
            capture_output=True,
            text=True,
            timeout=120,
        )
        codes[ci] = result.returncode
        assert "systemd-analyze is missing" in result.stderr
    assert codes == {"false": 0, "true": 1}


@pytest.mark.timeout(240)
def test_every_file_satisfies_the_tool_that_reads_it() -> None:
    """As `make check` asks; tools that are missing are skipped by name."""
    result = subprocess.run(
        [str(needs.ROOT / "tools" / "check_deploy.sh")],
        check=False,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert result.returncode == 0, result.stderr
