"""Zones that are drawn are written into the camera's file, and into nothing else."""

from __future__ import annotations

import errno
import json
import os
import stat
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamgate.config import ZoneSection, load_config
from streamgate.daemon.zone_file import ZoneFile
from streamgate.errors import ConfigError
from streamgate.web.zones import FileChangedError
from tests.daemon.people import film_person
from tests.servers.daemon import Daemon

TOKEN = "a token that is long enough"
TEXT = "# the door\ncamera: {name: door}\nsource: {kind: file, path: a.mkv} # a film\n"
ZONE = ZoneSection.model_validate(
    {"name": "clock", "kind": "ignore", "points": [(0.1, 0.1), (0.4, 0.1), (0.4, 0.4)]}
)


def store(path: Path, text: str = TEXT, reloads: list[int] | None = None) -> ZoneFile:
    path.write_text(text)

    async def reload() -> str:
        if reloads is not None:
            reloads.append(1)
        return "applied"

    return ZoneFile(path, reload)


def listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def version(kept: ZoneFile) -> str:
    found = await kept.version()
    assert found is not None
    return found


async def test_the_file_keeps_its_comments_mode_and_place(tmp_path: Path) -> None:
    """It is replaced in one step, also behind a link, and then read again."""
    reloads: list[int] = []
    real, path = tmp_path / "real.yaml", tmp_path / "camera.yaml"
    path.symlink_to(real)
    kept = store(path, reloads=reloads)
    real.chmod(0o640)
    assert await kept.save([ZONE], await version(kept)) == "applied"
    assert real.read_text().startswith(TEXT)
    assert load_config(path).config.zones == (ZONE,)
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert path.is_symlink()
    assert len(reloads) == 1
    assert listed(tmp_path) == [path, real]


async def test_a_file_that_was_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """Whoever edits it by hand loses nothing."""
    path = tmp_path / "camera.yaml"
    kept = store(path)
    read = await version(kept)
    path.write_text(TEXT + "gate: {min_quality: 41}\n")
    with pytest.raises(FileChangedError):
        await kept.save([ZONE], read)
    assert path.read_text() == TEXT + "gate: {min_quality: 41}\n"


async def test_it_is_left_alone_if_it_changes_at_the_last_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the new text is on its way to the disk."""
    path = tmp_path / "camera.yaml"
    kept = store(path)
    read = await version(kept)

    def sync(_number: int) -> None:
        path.write_text(TEXT + "# more\n")

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(FileChangedError):
        await kept.save([ZONE], read)
    assert path.read_text() == TEXT + "# more\n"
    assert listed(tmp_path) == [path]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{camera: {name: door}, source: {kind: file, path: a.mkv}}", "by hand"),
        (TEXT + "gate: {min_quality: 400}\n", "gate.min_quality: got 400"),
        (TEXT + "---\n", "not valid YAML"),
    ],
)
async def test_what_cannot_be_edited_is_told_and_left_alone(
    tmp_path: Path, text: str, told: str
) -> None:
    """In the words of `check`, or with what to do instead."""
    path = tmp_path / "camera.yaml"
    kept = store(path, text)
    with pytest.raises(ConfigError, match=told):
        await kept.save([ZONE], await version(kept))
    assert path.read_text() == text


async def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the file is mounted read-only."""
    path = tmp_path / "camera.yaml"
    kept = store(path)

    def refuse(**_place: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(ConfigError, match="Read-only file system; copy the YAML instead"):
        await kept.save([ZONE], await version(kept))
    assert path.read_text() == TEXT


def asked(daemon: Daemon, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(
        daemon.url + path,
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json", **headers},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_running_camera_takes_zones_that_were_drawn(tmp_path: Path) -> None:
    """Its faces are ignored from then on; the file, metrics and log say by which zone."""
    film = film_person(tmp_path / "film.mkv", seconds=4)
    daemon = Daemon(
        tmp_path,
        {"kind": "file", "path": str(film), "pace": "realtime", "loop": True},
        web={"port": 0, "token": TOKEN},
    )
    text = "# kept\n" + yaml.safe_dump(json.loads(daemon.file.read_text()))
    daemon.file.write_text(text)
    daemon.file.chmod(0o600)
    with daemon:
        until(lambda: daemon.metric("faces_detected_total") > 0)
        status, state = asked(daemon, "/live/zones")
        assert (status, state["zones"], state["why_not"]) == (200, [], None)
        everything = {"name": "all", "kind": "ignore", "points": [[0, 0], [1, 0], [1, 1], [0, 1]]}
        body = {"zones": [everything], "version": state["version"]}
        assert asked(daemon, "/live/zones", body, Origin="https://example.org")[0] == 403
        assert asked(daemon, "/live/zones", body, Authorization="Bearer no")[0] == 401
        assert asked(daemon, "/live/zones", body) == (200, {"outcome": "applied"})
        assert asked(daemon, "/live/zones", body)[0] == 409
        assert daemon.file.read_text().startswith(text)
        assert stat.S_IMODE(daemon.file.stat().st_mode) == 0o600
        until(lambda: daemon.metric("zone_faces_total", zone="all") > 3)
        applied = [e for e in daemon.events() if e["event"] == "configuration applied"]
        assert [one["keys"] for one in applied] == [["zones"]]


def until(holds: Any) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
