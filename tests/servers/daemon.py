"""`streamgate run` in a process of its own, as a user starts it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Daemon"]

START_TIMEOUT_S = 90.0
_SAMPLE = re.compile(r"(?P<name>[a-z_:]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")


class Daemon:
    """One camera.

    Args:
        folder: where its configuration, its log and the best shots go.
        source: the source section.
        environment: added to the process' environment.
        settings: whole sections of the configuration, put in the place of the usual ones.
    """

    def __init__(
        self, folder: Path, source: dict[str, Any], *,
        environment: dict[str, str] | None = None, **settings: Any,
    ) -> None:  # fmt: skip
        self._shots = folder / "shots"
        self._log = folder / "log"
        self.file = folder / "camera.yaml"
        self._environment = {**os.environ, **(environment or {})}
        # Films show one person again and again; each time is to count.
        settings["gate"] = {"visit_s": 0, **settings.get("gate", {})}
        # JSON is YAML.
        self.file.write_text(
            json.dumps(
                {
                    "camera": {"name": "door"},
                    "source": source,
                    # A loaded machine has few frames to choose from; each is to count.
                    "quality": {"score_share": 1.0},
                    "delivery": {"sinks": [{"kind": "directory", "path": str(self._shots)}]},
                    "web": {"port": 0},
                    "log": {"format": "json"},
                    **settings,
                }
            )
        )
        self.command = [sys.executable, "-m", "streamgate", "run", str(self.file)]
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self.command, stderr=log, env=self._environment)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.port:
            found = [e for e in self.events() if e["event"] == "web server listens"]
            if found:
                self.port = int(found[0]["port"])
            elif self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no daemon: {self.log}")
            time.sleep(0.1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """Ask it to end, and return its exit code; it may have ended already."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def wait(self, timeout_s: float) -> int:
        """Wait until it ends by itself, and return its exit code."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def url(self) -> str:
        """Its web server."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text()

    def events(self) -> list[dict[str, Any]]:
        """The lines of its log that are whole."""
        lines = self.log.split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def shots(self) -> list[dict[str, Any]]:
        """The best shots that it has delivered."""
        return [json.loads(path.read_text()) for path in sorted(self._shots.rglob("*.json"))]

    def metric(self, name: str, **labels: str) -> float:
        """A metric's value, 0 where it has never been touched."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        for line in text.splitlines():
            found = _SAMPLE.fullmatch(line)
            if found and found["name"] == f"streamgate_{name}":
                held = found["labels"] or ""
                if all(label in held for label in wanted):
                    return float(found["value"])
        return 0.0
