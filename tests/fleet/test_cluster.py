"""A fleet on two machines of a real Ray cluster: one is killed, or frozen and let go on."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.delivery.daemon import accepted, make_clip
from tests.fleet.cluster import Machines, machines, wait_for
from tests.servers import broker as servers

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(400)]

CAMERAS = 8
TTL_S = 4
SECRET = "hunter2-never-shown"


class Receiver:
    """Takes best shots in a thread: the tests here wait for processes, and not in a loop."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, int | None, bool]] = []
        self.is_away = False
        receiver, taken = self, self.taken

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.is_away:
                    self.send_error(503)
                    return
                epoch, drained = (self.headers.get(f"Streamgate-{name}")
                                  for name in ("Epoch", "Drained"))  # fmt: skip
                said = epoch or drained
                taken.append(
                    (
                        self.headers["Idempotency-Key"],
                        None if said is None else int(said),
                        drained is not None,
                    )
                )
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/faces"
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> Receiver:
        self.thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    @property
    def keys(self) -> set[str]:
        return {key for key, _, _ in self.taken}


class Site:
    """The cluster with eight cameras, their lease server and their receiver."""

    def __init__(self, cluster: Machines, receiver: Receiver, folder: Path, redis: int) -> None:
        self.cluster, self.receiver, self.folder = cluster, receiver, folder
        self.redis = redis
        self.cameras = folder / "cameras"
        self.url = ""
        self.started_s = 0.0

    def processes(self) -> dict[str, dict[str, Any]]:
        """How each is, as the overview tells it."""
        with urllib.request.urlopen(f"{self.url}/fleet.json", timeout=30) as answer:
            return {one["name"]: one for one in json.load(answer)["processes"]}

    def give_frames(self, names: set[str]) -> bool:
        found = self.processes()
        return all((found.get(name, {}).get("frame_age_s") or 99) < 5 for name in names)

    def at(self, place: str) -> set[str]:
        """Names of the cameras at a place."""
        return {name for name, said in self.processes().items() if said.get("place") == place}

    @property
    def limit_s(self) -> float:
        """Twenty seconds; on a machine that is busy, what eight cameras have taken to start."""
        return max(20.0, self.started_s)

    def drain(self, place: str) -> str:
        """What a user does with the disk of a dead machine."""
        files = [str(file) for file in sorted((self.folder / f"disk-{place}").glob("*.outbox"))]
        done = subprocess.run(
            [sys.executable, "-m", "streamgate", "outbox", "drain", *files,
             "--config", str(self.cameras), "--patience", "20"],
            capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "MACHINE_DISK": str(self.folder)},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stderr

    def check_deliveries(self) -> None:
        """No key by two epochs, and no live message of an epoch after one of a later epoch."""
        taken = list(self.receiver.taken)
        epochs: dict[str, set[int | None]] = {}
        highest: dict[str, int] = {}
        for key, epoch, drained in taken:
            epochs.setdefault(key, set()).add(epoch)
            camera_name = key.split("-")[0]
            if not drained:
                assert epoch is not None
                assert epoch >= highest.get(camera_name, 0), f"{key} came after a later tenure"
                highest[camera_name] = epoch
            assert f"-e{epoch}-" in key
        assert all(len(found) == 1 for found in epochs.values())


def camera(site: Site, name: str, clip: Path) -> None:
    config = {
        "camera": {"name": name},
        "source": {"kind": "file", "path": str(clip), "loop": True},
        "tracker": {"max_gap_s": 0.1},
        "gate": {"min_quality": 0, "min_age_s": 0, "visit_s": 0},
        "lease": {
            "kind": "redis", "url": f"redis://127.0.0.1:{site.redis}/0", "ttl_s": TTL_S,
            "password": SECRET,
        },
        "delivery": {
            # Each machine has a disk of its own.
            "outbox": {
                "kind": "sqlite", "path": f"${{MACHINE_DISK}}/{name}.outbox",
                "store_pictures_unencrypted": True,
            },
            "sinks": [{"kind": "http", "url": site.receiver.url, "at_once": 1}],
            "retry": {"initial_s": 0.2, "max_s": 1},
            "decision_log": {"path": f"${{MACHINE_DISK}}/{name}.jsonl"},
        },
        "log": {"format": "json"},
    }  # fmt: skip
    (site.cameras / f"{name}.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face that is at another spot every second: few pictures, for eight cameras share cores."""
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mkv", 20, rate=5)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("fleet")
    broker_folder = folder / "redis"
    broker_folder.mkdir()
    with (
        servers.redis(broker_folder, password=SECRET) as broker,
        Receiver() as receiver,
        machines(folder, cpus=CAMERAS) as cluster,
    ):
        made = Site(cluster, receiver, folder, broker.port)
        made.cameras.mkdir()
        for number in range(CAMERAS):
            camera(made, f"c{number}", clip)
        cluster.file.write_text(
            yaml.safe_dump(
                {
                    "name": "site",
                    "address": cluster.address,
                    "state": str(folder / "state"),
                    "cameras": [{"path": "cameras"}],
                    "web": {"port": 0},
                }
            )
        )
        started = time.monotonic()
        said = cluster.fleet("up")
        made.url = said.split("overview: ")[1].split(";")[0]
        names = {f"c{number}" for number in range(CAMERAS)}
        wait_for(lambda: made.give_frames(names), "frames of all cameras", limit_s=200)
        made.started_s = time.monotonic() - started
        yield made
        cluster.fleet("down", ok=(0, 1))


def test_cameras_are_spread_and_tell_no_secret(site: Site) -> None:
    """Both machines have some; neither Ray's logs nor the status shows a password."""
    assert site.at("a")
    assert site.at("b")
    assert SECRET not in json.dumps(site.processes())
    assert SECRET not in site.cluster.fleet("logs", "c0", "-n", "500")
    shown = [
        file for file in site.cluster.temporary.rglob("*")
        if file.is_file() and SECRET.encode() in file.read_bytes()
    ]  # fmt: skip
    assert shown == []
    config = site.folder / "state" / "site" / "c0" / "config.yaml"
    assert SECRET in config.read_text()
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


def _undo_changes(site: Site, clip: Path) -> None:
    """The cluster is shared: an earlier try of the test may have changed its files."""
    (site.cameras / "c9.yaml").unlink(missing_ok=True)
    if (site.cameras / "c1.yaml").exists():
        return
    (site.cameras / "c8.yaml").unlink(missing_ok=True)
    camera(site, "c1", clip)
    site.cluster.fleet("apply")
    names = {f"c{number}" for number in range(8)}
    wait_for(lambda: site.give_frames(names), "frames of all cameras", limit_s=120)


def test_apply_touches_what_has_changed_alone(site: Site, clip: Path) -> None:
    """One changed, one added, one removed; a faulty file is refused and changes nothing."""
    _undo_changes(site, clip)
    before = {name: said["pid"] for name, said in site.processes().items()}
    changed = site.cameras / "c0.yaml"
    text = changed.read_text()
    more = "tracing: {}\n"
    changed.write_text(text.removesuffix(more) if text.endswith(more) else text + more)
    (site.cameras / "c1.yaml").unlink()
    camera(site, "c8", clip)
    broken = site.cameras / "c9.yaml"
    broken.write_text("camera: {name: c9}\norigin: {}\n")
    said = site.cluster.fleet("apply", ok=(2,))
    assert f"{broken}:2: origin" in said
    assert {name: one["pid"] for name, one in site.processes().items()} == before
    broken.unlink()
    said = site.cluster.fleet("apply")
    assert "added: camera/c8; changed: camera/c0; removed: camera/c1; 6 unchanged" in said
    names = set(before) - {"c1"} | {"c8"}
    wait_for(lambda: site.give_frames(names), "frames of all cameras", limit_s=120)
    after = {name: one["pid"] for name, one in site.processes().items()}
    assert set(after) == names
    touched = {name for name in names if after[name] != before.get(name)}
    assert touched == {"c0", "c8"}


def test_a_frozen_machine_that_goes_on_delivers_nothing(site: Site) -> None:
    """SIGSTOP for everything on it, past the lease: its cameras run elsewhere. SIGCONT: silence.

    What it had accepted is delivered by `outbox drain`.
    """
    node, moved = site.cluster.node, site.at("b")
    assert node is not None
    pids = {site.processes()[name]["pid"] for name in moved}
    node.signal_all(signal.SIGSTOP)
    wait_for(lambda: site.at("a") >= moved and site.give_frames(moved), "frames", limit_s=150)
    count = len(site.receiver.taken)
    wait_for(lambda: len(site.receiver.taken) > count + 10, "deliveries elsewhere")
    node.signal_all(signal.SIGCONT)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "their end")
    node.stop()
    count = len(site.receiver.taken)
    wait_for(lambda: len(site.receiver.taken) > count + 10, "deliveries elsewhere")
    site.check_deliveries()
    site.drain("b")
    logs = (site.folder / "disk-b").glob("*.jsonl")
    assert set().union(*map(accepted, logs)) <= site.receiver.keys
    site.check_deliveries()


def test_a_killed_machines_cameras_come_back_and_nothing_accepted_is_lost(site: Site) -> None:
    """Everything on it gets SIGKILL; its cameras give frames elsewhere within 20 s."""
    site.cluster.add_node("c")
    for name in ("c2", "c3", "c4", "c5", "c6"):
        file = site.cameras / f"{name}.yaml"
        file.write_text(file.read_text() + "# moved\n")
    names = set(site.processes())
    # What starts anew goes where there is room.
    site.cluster.fleet("apply")
    wait_for(lambda: site.at("c") and site.give_frames(names), "frames", limit_s=150)
    node, moved = site.cluster.node, site.at("c")
    assert node is not None
    count = len(site.receiver.taken)
    wait_for(lambda: len(site.receiver.taken) > count + 10, "deliveries")
    # What is accepted now waits on the disk of its machine.
    site.receiver.is_away = True
    wait_for(
        lambda: all((site.processes()[name].get("outbox") or 0) > 1 for name in moved), "shots"
    )
    node.signal_all(signal.SIGKILL)
    site.receiver.is_away = False
    took_s = wait_for(
        lambda: site.at("a") >= moved and site.give_frames(moved), "frames", limit_s=150
    )
    print(f"{len(moved)} cameras gave frames elsewhere after {took_s:.1f} s")  # noqa: T201
    assert took_s <= site.limit_s
    said = site.drain("c")
    assert re.search(r": [1-9]\d* delivered, 0 left", said), said
    logs = (site.folder / "disk-c").glob("*.jsonl")
    assert set().union(*map(accepted, logs)) <= site.receiver.keys
    site.check_deliveries()
