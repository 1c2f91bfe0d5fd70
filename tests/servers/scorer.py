"""`streamgate serve` in a process of its own, as a user starts it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["ScorerService"]

START_TIMEOUT_S = 60.0


class ScorerService:
    """One scorer service on a Unix socket in its folder, and on TCP where `listen` says so.

    Args:
        folder: where its configuration, its log and its socket go.
        settings: whole sections of the configuration; `listen` is added to the usual one.
    """

    def __init__(self, folder: Path, **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "scorer.log"
        self.file = folder / "scorer.yaml"
        self.socket = folder / "scorer.sock"
        listen = {"unix": str(self.socket), "port": None, **settings.pop("listen", {})}
        config = {
            "listen": listen,
            "quality": {"threads": 1},
            "metrics": {"port": 0},
            "log": {"format": "json"},
            **settings,
        }
        # JSON is YAML.
        self.file.write_text(json.dumps(config))
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            began = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamgate", "serve", str(self.file)],
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            events = self.events(began)
            told = {event["event"]: event for event in events}
            if "scorer service listens" in told and "web server listens" in told:
                self.port = told["scorer service listens"]["port"]
                self.health_port = told["scorer service listens"]["health_port"]
                self.metrics_port = told["web server listens"]["port"]
                return self
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no scorer service: {self._log.read_text()}")
            time.sleep(0.05)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """Ask it to end, and return its exit code; it may have ended already."""
        assert self.process is not None
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            return self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def kill(self) -> None:
        """End it without a chance to say so."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    @property
    def address(self) -> str:
        """Its address for a camera."""
        return f"unix:{self.socket}"

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        """The whole lines of its log."""
        lines = self._log.read_bytes()[since:].decode().split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def metrics(self) -> dict[str, float]:
        """Its metrics by name and labels as they are written."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        time.sleep(1.0)  # they are made once a second
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and line[0] != "#")
        return {name.removeprefix("streamgate_scorer_service_"): float(v) for name, v in pairs}
