"""Other settings for a camera that runs: the rule, and a real daemon in mid-track."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streamgate.config import CameraConfig, load_config
from streamgate.daemon.reload import Reloader, changed_keys, in_use_after
from streamgate.pipeline import SystemClock
from streamgate.telemetry.metrics import Metrics
from tests.daemon.people import film_person
from tests.servers.daemon import Daemon

pytestmark = [pytest.mark.live, pytest.mark.slow]

DEADLINE_S = 90.0


def config(**sections: Any) -> CameraConfig:
    source = {"kind": "rtsp", "url": "rtsp://camera.example/stream", "password": "old"}
    return CameraConfig.model_validate(
        {"camera": {"name": "door"}, "source": {**source, "username": "viewer"}, **sections}
    )


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"gate": {"min_quality": 50}}, "gate.min_quality"),
        ({"precheck": {"max_yaw_deg": 20}}, "precheck.max_yaw_deg"),
        ({"tracker": {"max_gap_s": 3}}, "tracker.max_gap_s"),
        ({"detector": {"min_score": 0.8}}, "detector.min_score"),
        ({"quality": {"max_pending": 3}}, "quality.max_pending"),
        ({"delivery": {"retry": {"max_s": 5}}}, "delivery.retry.max_s"),
        ({"delivery": {"sinks": [{"kind": "directory", "path": "x"}]}}, "delivery.sinks"),
        ({"web": {"show_pictures": True}}, "web.show_pictures"),
        ({"log": {"level": "debug"}}, "log.level"),
    ],
)
def test_what_can_change_at_once(sections: dict[str, Any], key: str) -> None:
    """Thresholds, sinks, their pace and the log are taken over; nothing is left to wait."""
    now, wanted = config(), config(**sections)
    after = in_use_after(now, wanted)
    assert changed_keys(now, after) == [key]
    assert changed_keys(after, wanted) == []


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"camera": {"name": "back"}}, "camera.name"),
        ({"source": {"kind": "file", "path": "a.mkv"}}, "source"),
        ({"detector": {"model": "other"}}, "detector.model"),
        ({"quality": {"group": "block3"}}, "quality.group"),
        ({"delivery": {"outbox": {"kind": "memory", "ttl_s": 9}}}, "delivery.outbox.ttl_s"),
        ({"delivery": {"decision_log": {"path": "x"}}}, "delivery.decision_log"),
        ({"web": {"port": 1}}, "web.port"),
        ({"web": {"token": "a new token, long enough"}}, "web.token"),
    ],
)
def test_what_needs_a_restart_is_named(sections: dict[str, Any], key: str) -> None:
    """The source, models, the outbox and the web server stay; their keys are told."""
    now, wanted = config(), config(**sections)
    after = in_use_after(now, wanted)
    assert changed_keys(now, after) == []
    assert changed_keys(after, wanted) == [key]


def test_a_changed_secret_is_noticed_and_not_told() -> None:
    """A new password waits for a restart by its key, without its text."""
    changed = config(source={
        "kind": "rtsp", "url": "rtsp://camera.example/stream", "username": "viewer",
        "password": "new",
    })  # fmt: skip
    assert changed_keys(config(), changed) == ["source.password"]


async def test_a_new_secret_is_struck_out_of_what_goes_wrong_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the settings are never taken over, and whatever the failure says."""

    def fail(section: Any, _camera: str) -> None:
        raise RuntimeError(f"cannot use {section.headers['X-Key'].get_secret_value()}")

    monkeypatch.setattr("streamgate.daemon.reload.build_sink", fail)
    file = tmp_path / "door.yaml"
    source = {"kind": "file", "path": "door.mkv"}
    sections: dict[str, Any] = {"camera": {"name": "door"}, "source": source}
    file.write_text(json.dumps(sections))
    before = load_config(file)
    sink = {"kind": "http", "url": "http://recogniser.example/", "headers": {"X-Key": "s3cret-key"}}
    file.write_text(json.dumps({**sections, "delivery": {"sinks": [sink]}}))
    publisher = SimpleNamespace(
        identity=SimpleNamespace(camera="door", boot_id="b00t", profile="default")
    )
    camera: Any = SimpleNamespace(
        metrics=Metrics("door"),
        clock=SystemClock(),
        profile="default",
        live=None,
        calibration=None,
        pipeline=SimpleNamespace(parts=SimpleNamespace(publisher=publisher)),
    )
    await Reloader(camera, before, asyncio.Event()).reload()
    said = capsys.readouterr().err
    assert "cannot use [redacted]" in said
    assert "s3cret-key" not in said
    assert camera.metrics.registry.get_sample_value(
        "streamgate_config_reloads_total", {"outcome": "refused"}
    ) == 1  # fmt: skip


class Reloaded:
    """A daemon whose file is rewritten under it."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.settings: dict[str, Any] = json.loads(daemon.file.read_text())

    def write(self, **sections: Any) -> None:
        """Put another file in the place of the old one, as editors and deployments do."""
        self.settings.update(sections)
        fresh = self.daemon.file.with_suffix(".new")
        fresh.write_text(json.dumps(self.settings))
        fresh.replace(self.daemon.file)

    def told(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.daemon.events() if line["event"] == event]

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, self.daemon.log[-3000:]
            time.sleep(0.2)

    def config_hash(self) -> str:
        return str(self.told("configuration applied")[-1]["config_hash"])


def test_a_reload_in_mid_track_keeps_the_track(tmp_path: Path) -> None:
    """Somebody stands there all the while: a broken file, a threshold, a sink, a restart key."""
    film = film_person(tmp_path / "person.mkv", 200)
    source = {"kind": "file", "path": str(film), "pace": "realtime"}
    # No face is as good as this, so nothing is let through at first.
    strict = {
        "min_quality": 100, "max_wait_s": 0.5, "cooldown_s": 0, "improve_by": None, "visit_s": 0
    }  # fmt: skip
    with Daemon(tmp_path, source, gate=strict) as daemon:
        reloaded = Reloaded(daemon)
        reloaded.until(lambda: daemon.metric("faces_detected_total") >= 4)
        first = daemon.metric("config_info")
        assert first == 1

        reloaded.write(gate={**strict, "min_quality": 140}, sourse={})
        daemon.send(signal.SIGHUP)
        reloaded.until(lambda: reloaded.told("configuration refused, the one in use stays"))
        faults = reloaded.told("configuration refused, the one in use stays")[0]["faults"]
        assert any("gate.min_quality: got 140" in fault for fault in faults)
        assert any("sourse: got an unknown key; wanted source" in fault for fault in faults)
        # Metrics are made once a second.
        reloaded.until(lambda: daemon.metric("config_reloads_total", outcome="refused") == 1)
        reloaded.until(lambda: daemon.metric("config_last_reload_successful") == 0)
        assert daemon.metric("quality_threshold", setting="min_quality") == 100
        assert not daemon.shots()

        # This one is noticed without a signal.
        del reloaded.settings["sourse"]
        reloaded.write(gate={**strict, "min_quality": 1})
        reloaded.until(daemon.shots)
        (shot,) = daemon.shots()
        assert daemon.metric("tracks_decided_total") == 0
        assert shot["track_id"] == 1
        assert reloaded.told("configuration applied")[0]["keys"] == ["gate.min_quality"]
        assert shot["config_hash"] == reloaded.config_hash()
        reloaded.until(lambda: daemon.metric("config_info", sha256=reloaded.config_hash()) == 1)
        reloaded.until(lambda: daemon.metric("config_last_reload_successful") == 1)

        # A second sink, leave to improve by little, and a key that needs a restart.
        second = {"kind": "directory", "name": "second", "path": str(tmp_path / "second")}
        sinks = [*reloaded.settings["delivery"]["sinks"], second]
        reloaded.write(
            delivery={"sinks": sinks},
            gate={**strict, "min_quality": 1, "improve_by": 0.001, "max_per_track": 100},
            web={"port": 0, "max_viewers": 9},
        )
        daemon.send(signal.SIGHUP)
        reloaded.until(lambda: list((tmp_path / "second").rglob("*.json")))
        assert reloaded.told("settings take effect after a restart")[-1]["keys"] == [
            "web.max_viewers"
        ]
        reloaded.until(lambda: daemon.metric("config_keys_waiting") == 1)
        assert daemon.metric("tracks_decided_total") == 0
        assert daemon.metric("source_connects_total") == 1
        assert {shot["track_id"] for shot in daemon.shots()} == {1}
        assert daemon.metric("frames_received_total") > 0
        assert daemon.stop() == 0
