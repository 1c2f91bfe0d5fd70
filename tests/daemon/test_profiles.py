"""Profiles of a real daemon in mid-track: by schedule, by call, and through a reload."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.people import film_person
from tests.servers.daemon import Daemon

pytestmark = [pytest.mark.live, pytest.mark.slow]

DEADLINE_S = 60.0
TOKEN = "a token that is long enough"


def until(daemon: Daemon, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, daemon.log[-3000:]
        time.sleep(0.1)


def ask(daemon: Daemon, method: str, token: str = TOKEN, body: Any = None) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{daemon.url}/profile",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return {"status": 200, **json.loads(answer.read())}
    except urllib.error.HTTPError as error:
        with error:
            return {"status": error.code, **json.loads(error.read())}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_another_profile_in_mid_track_keeps_the_track(tmp_path: Path) -> None:
    """The schedule lets nobody through; a call does, for the same track; then it is cancelled."""
    film = film_person(tmp_path / "person.mkv", 200)
    gate = {"min_quality": 1, "max_wait_s": 0.5, "cooldown_s": 0, "improve_by": None, "visit_s": 0}
    web = {"port": free_port(), "token": TOKEN}
    # The day's second half would end a test that runs over midnight; both halves are strict.
    halves = [("00:00", "12:00"), ("12:00", "24:00")]
    with Daemon(
        tmp_path,
        {"kind": "file", "path": str(film), "pace": "realtime"},
        gate=gate,
        web=web,
        profiles={"strict": {"gate": {"min_quality": 100}}, "lax": {"gate": {"min_quality": 2}}},
        schedule={"entries": [{"profile": "strict", "start": a, "end": b} for a, b in halves]},
        delivery={
            "sinks": [{"kind": "directory", "path": str(tmp_path / "shots")}],
            "decision_log": {"path": str(tmp_path / "decisions.jsonl")},
        },
    ) as daemon:
        until(daemon, lambda: daemon.metric("faces_detected_total") >= 4)
        assert daemon.metric("profile_info", profile="strict", reason="schedule") == 1
        assert daemon.metric("quality_threshold", setting="min_quality") == 100
        assert not daemon.shots()

        # Who may not, what is not there, and what makes no sense.
        assert ask(daemon, "PUT", "another token, also long", {"profile": "lax"})["status"] == 401
        assert "no profile 'lux'" in ask(daemon, "PUT", body={"profile": "lux"})["detail"]
        assert ask(daemon, "PUT", body={"profile": "lax", "for_s": -1})["status"] == 400
        assert ask(daemon, "GET")["profile"] == "strict"

        command = [sys.executable, "-m", "streamgate", "profile", str(daemon.file)]
        told = subprocess.run([*command, "lax", "--for", "1h"], capture_output=True, check=True)
        assert told.stdout == b"lax (by call, for 60 more minutes)\n"
        until(daemon, daemon.shots)
        (shot,) = daemon.shots()
        assert shot["track_id"] == 1
        with urllib.request.urlopen(f"{daemon.url}/healthz", timeout=10) as answer:
            assert json.loads(answer.read())["profile"] == "lax"

        # A reload of other settings leaves the choice alone; one without the profile ends it.
        settings = json.loads(daemon.file.read_text())
        settings["gate"]["cooldown_s"] = 1
        daemon.file.write_text(json.dumps(settings))
        daemon.send(signal.SIGHUP)
        until(daemon, lambda: daemon.metric("config_reloads_total", outcome="applied") == 1)
        assert ask(daemon, "GET")["profile"] == "lax"
        del settings["profiles"]["lax"]
        daemon.file.write_text(json.dumps(settings))
        daemon.send(signal.SIGHUP)
        until(daemon, lambda: ask(daemon, "GET")["profile"] == "strict")
        assert ask(daemon, "DELETE")["reason"] == "schedule"
        ask(daemon, "PUT", body={"profile": "default", "for_s": 3600})
        assert daemon.metric("tracks_decided_total") == 0
        assert daemon.metric("source_connects_total") == 1
        assert daemon.stop() == 0
    (line,) = map(json.loads, (tmp_path / "decisions.jsonl").read_text().splitlines())
    assert (line["track_id"], line["profile"]) == (1, "default")


def test_a_call_ends_by_itself(tmp_path: Path) -> None:
    """Then the schedule counts again; no signal is needed."""
    film = film_person(tmp_path / "person.mkv", 10)
    now = datetime.now(UTC)
    start = f"{now.hour:02d}:{now.minute:02d}"
    with Daemon(
        tmp_path,
        {"kind": "file", "path": str(film), "pace": "realtime", "loop": True},
        profiles={"now": {"gate": {"min_quality": 50}}, "call": {"gate": {"min_quality": 60}}},
        web={"port": 0, "token": TOKEN},
        schedule={"entries": [
            {"profile": "now", "start": start, "end": start_of_next(now, 120)},
        ]},
    ) as daemon:  # fmt: skip
        assert ask(daemon, "GET")["profile"] == "now"
        assert ask(daemon, "PUT", body={"profile": "call", "for_s": 0.5})["profile"] == "call"
        until(daemon, lambda: ask(daemon, "GET")["profile"] == "now")
        changes = [e["profile"] for e in daemon.events() if e["event"] == "profile in use"]
        assert changes == ["now", "call", "now"]


def start_of_next(now: datetime, minutes: int) -> str:
    at = (now.hour * 60 + now.minute + minutes) % 1440
    return f"{at // 60:02d}:{at % 60:02d}"
