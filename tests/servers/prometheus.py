"""A real Prometheus and a real Alertmanager for tests, each on loopback with a short interval."""

from __future__ import annotations

import http.server
import json
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from tests import needs
from tests.servers.broker import free_port

__all__ = ["Alertmanager", "Inbox", "Prometheus", "amtool", "promtool", "until"]

START_TIMEOUT_S = 60.0


def promtool() -> str:
    """Return the path of promtool, or skip the test."""
    return needs.program("promtool", package="prometheus")


def amtool() -> str:
    """Return the path of amtool, or skip the test."""
    return needs.program("amtool", package="prometheus-alertmanager")


def until(holds: Callable[[], bool], what: str, *, timeout_s: float) -> float:
    """Wait until something holds and return how long that took; fail with `what` otherwise."""
    began_at = time.monotonic()
    while not holds():
        if time.monotonic() - began_at > timeout_s:
            raise AssertionError(f"not within {timeout_s:.0f} s: {what}")
        time.sleep(0.2)
    return time.monotonic() - began_at


class _Server:
    """A process with an HTTP interface, ended by its own id."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None

    def _start(self, command: Sequence[str]) -> None:
        with (self.folder / f"{self._name}.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        until(self._is_ready, f"{self._name} is ready", timeout_s=START_TIMEOUT_S)

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            text = (self.folder / f"{self._name}.log").read_text()[-3000:]
            raise RuntimeError(f"{self._name} does not start: {text}")
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            process.wait(30)

    def _get(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{query}", timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None


class Prometheus(_Server):
    """Scrapes targets by their instance's name, and keeps exemplars.

    Args:
        targets: addresses, all of the job `streamgate`.
        rules: text of a file of rules.
        alertmanager: where alerts are sent.
        interval_s: between scrapes, and between evaluations of rules.
    """

    def __init__(
        self,
        folder: Path,
        *,
        targets: Sequence[str],
        rules: str | None = None,
        alertmanager: Alertmanager | None = None,
        interval_s: int = 1,
    ) -> None:
        super().__init__(folder, "prometheus")
        interval = f"{interval_s}s"
        config: dict[str, Any] = {
            "global": {
                "scrape_interval": interval,
                "scrape_timeout": interval,
                "evaluation_interval": interval,
            },
            "scrape_configs": [
                {"job_name": "streamgate", "static_configs": [{"targets": list(targets)}]}
            ],
        }
        if rules is not None:
            (folder / "rules.yml").write_text(rules)
            config["rule_files"] = ["rules.yml"]
        if alertmanager is not None:
            managers = [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager.port}"]}]}]
            config["alerting"] = {"alertmanagers": managers}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))

    def __enter__(self) -> Self:
        self._start([
            needs.program("prometheus"), f"--web.listen-address=127.0.0.1:{self.port}",
            f"--config.file={self.folder}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/data", "--enable-feature=exemplar-storage",
        ])  # fmt: skip
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Return an instant query's series."""
        result: list[dict[str, Any]] = self._get("/api/v1/query", query=expr)["data"]["result"]
        return result

    def query_range(self, expr: str, *, last_s: float, step_s: float) -> list[dict[str, Any]]:
        """Return the series that a query has had of late."""
        now = time.time()
        answer = self._get(
            "/api/v1/query_range", query=expr, start=str(now - last_s), end=str(now),
            step=str(step_s),
        )  # fmt: skip
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def exemplars(self, expr: str) -> list[dict[str, Any]]:
        """Return the exemplars of a query's series."""
        now = time.time()
        answer = self._get(
            "/api/v1/query_exemplars", query=expr, start=str(now - 3600), end=str(now)
        )
        result: list[dict[str, Any]] = answer["data"]
        return result

    def label_values(self, name: str, match: str) -> list[str]:
        """Return the values of a label among matching series."""
        values: list[str] = self._get(f"/api/v1/label/{name}/values", **{"match[]": match})["data"]
        return values

    def alerts(self) -> list[dict[str, Any]]:
        """Return every alert that is pending or fires."""
        alerts: list[dict[str, Any]] = self._get("/api/v1/alerts")["data"]["alerts"]
        return alerts

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        return {a["labels"]["alertname"] for a in self.alerts() if a["state"] == "firing"}

    def unhealthy_rules(self) -> list[str]:
        """Return each rule whose last evaluation failed, with the error."""
        groups = self._get("/api/v1/rules")["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        assert rules
        return [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if _is_bad(rule)]


def _is_bad(rule: dict[str, Any]) -> bool:
    return bool(rule["health"] == "err")


class Inbox:
    """Takes the webhooks of an Alertmanager and keeps the latest state of each alert.

    Attributes:
        states: by name of the alert, "firing" or "resolved".
        alerts: the alerts themselves, by name, as they were last told.
    """

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.alerts: dict[str, dict[str, Any]] = {}
        inbox = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for alert in body["alerts"]:
                    name = alert["labels"]["alertname"]
                    inbox.states[name] = alert["status"]
                    inbox.alerts[name] = alert
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/alerts"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Alertmanager(_Server):
    """Passes alerts on at once.

    Args:
        example: a configuration, of which times and the receiver's address are replaced.
        inbox: who receives.
    """

    def __init__(self, folder: Path, example: Path, inbox: Inbox) -> None:
        super().__init__(folder, "alertmanager")
        config = yaml.safe_load(example.read_text())
        config["route"] |= {"group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"}
        config["receivers"][0]["webhook_configs"][0] |= {"url": inbox.url, "send_resolved": True}
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))

    def __enter__(self) -> Self:
        self._start([
            needs.program("prometheus-alertmanager"),
            f"--web.listen-address=127.0.0.1:{self.port}",
            f"--config.file={self.folder}/alertmanager.yml",
            f"--storage.path={self.folder}/alerts", "--cluster.listen-address=",
        ])  # fmt: skip
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()
