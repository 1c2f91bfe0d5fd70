"""Two machines of a Ray cluster on this one: a head, and a node that can be killed or frozen."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from tests import needs
from tests.servers.broker import free_port

START_S = float(os.environ.get("STREAMGATE_RAY_START_S", "150"))
# A node that is silent for some ten seconds is dead: tests do not wait for Ray's usual half minute,
# and a busy machine may be silent for a while.
QUICK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "4",
    "RAY_raylet_start_wait_time_s": "150",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
}


class Node:
    """One `ray start`, and all that it has started."""

    def __init__(self, folder: Path, place: str, *arguments: str) -> None:
        self.log = folder / f"ray-{place}.log"
        self.disk = folder / f"disk-{place}"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "ray.scripts.scripts", "start", "--block",
                    "--include-log-monitor=false", "--object-store-memory=80000000",
                    # Not 127.0.0.1, which Ray replaces by an address that others reach.
                    "--node-ip-address=127.0.0.2", f"--labels=place={place}", *arguments,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, **QUICK, "MACHINE_DISK": str(self.disk)},
            )  # fmt: skip

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to everything on the machine, as a power cut or a freeze does."""
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        self.signal_all(signal.SIGCONT)
        left = descendants(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(15)
        for pid in [self.process.pid, *left]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def descendants(pid: int) -> list[int]:
    """Process ids of all children of children."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found: list[int] = []
    todo = [pid]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


class Machines:
    """The cluster, and the commands of a fleet on it."""

    def __init__(self, folder: Path, *, cpus: int = 16) -> None:
        try:
            import ray  # noqa: F401, PLC0415 # only whether it is there
        except ModuleNotFoundError:
            needs.missing("Ray", "pip install 'streamgate[fleet]'")
        self.folder = folder
        self.port = free_port()
        self.address = f"127.0.0.2:{self.port}"
        # Of its own, not the test's, whose path is too long for the names of Ray's sockets.
        self.temporary = Path(tempfile.mkdtemp(prefix="ray"))
        self.cpus = cpus
        self.head: Node | None = None
        self.node: Node | None = None
        self.started: list[Node] = []
        self.file = folder / "fleet.yaml"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            # What has been started must not outlive the test.
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        head = self.head = Node(
            self.folder, "a", "--head", f"--port={self.port}", "--include-dashboard=false",
            f"--temp-dir={self.temporary}", f"--num-cpus={self.cpus}",
        )  # fmt: skip
        self.started.append(head)
        wait_for(lambda: "will now block" in head.log.read_text(), "the head", head)
        self.add_node("b")

    def __exit__(self, *_exc: object) -> None:
        for node in reversed(self.started):
            node.stop()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def add_node(self, place: str) -> None:
        node = Node(self.folder, place, f"--address={self.address}", f"--num-cpus={self.cpus}")
        self.node = node
        self.started.append(node)
        wait_for(lambda: "will now block" in node.log.read_text(), "the node", node)

    def fleet(self, *arguments: str, ok: tuple[int, ...] = (0,)) -> str:
        """Run `streamgate fleet ...` and return what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "streamgate", "fleet", arguments[0], str(self.file),
             *arguments[1:]],
            capture_output=True, text=True, timeout=180, check=False,
            # Where the files are checked, as on a machine.
            env={**os.environ, **QUICK, "MACHINE_DISK": str(self.folder)},
        )  # fmt: skip
        assert done.returncode in ok, done.stdout + done.stderr
        return done.stdout + done.stderr

    def status(self) -> dict[str, dict[str, Any]]:
        """How each process is, by name."""
        said = self.fleet("status", "--format", "json", ok=(0, 1))
        return {one["name"]: one for one in json.loads(said)}


def wait_for(
    condition: Callable[[], object], what: str, node: Node | None = None, limit_s: float = START_S
) -> float:
    """Wait for something that other processes do; return how long it took, seconds."""
    started = time.monotonic()
    while not condition():
        ended = node is not None and node.process.poll() is not None
        if ended or time.monotonic() - started > limit_s:
            told = "" if node is None else node.log.read_text()[-2000:]
            raise AssertionError(f"{what} did not come within {limit_s:g} s {told}")
        time.sleep(0.1)
    return time.monotonic() - started


@contextlib.contextmanager
def machines(folder: Path, **settings: Any) -> Iterator[Machines]:
    with Machines(folder, **settings) as made:
        yield made
