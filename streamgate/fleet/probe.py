"""Asks a camera on the same machine how it is: a few figures, never a picture."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import time
from contextlib import closing
from typing import Any

from streamgate.config.camera import WebSection

__all__ = ["Probe", "local_host"]

_TIMEOUT_S = 2.0
_ANSWER_BYTES = 2_000_000
_KEPT_S = 1.5
_SAMPLE = re.compile(r"^streamgate_([a-z_]+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_SUMMED = (
    "frames_received_total", "faces_scored_total", "face_quality_sum", "face_quality_count",
    "outbox_shots", "outbox_dead_letters", "shots_released_total",
)  # fmt: skip
_PLAIN = ("lease_held", "lease_epoch", "source_up", "last_frame_timestamp_seconds")


def local_host(host: str) -> str:
    """The address at which a server that listens there is reached on its own machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared


class Probe:
    """One camera's web server; answers are kept for a moment, so that many askers cost one."""

    def __init__(self, web: WebSection, port: int) -> None:
        self._web = web
        self._port = port
        self._kept: tuple[float, dict[str, Any]] | None = None
        self._frames: tuple[float, float] | None = None

    def figures(self) -> dict[str, Any]:
        """Health and figures; empty where it does not answer."""
        now = time.monotonic()
        if self._kept is None or now - self._kept[0] > _KEPT_S:
            try:
                self._kept = now, self._ask(now)
            except (OSError, http.client.HTTPException, ValueError):
                self._kept = now, {}
        return self._kept[1]

    def _ask(self, now: float) -> dict[str, Any]:
        health = json.loads(self._get("/healthz"))
        values = _values(self._get("/metrics"))
        frames = values.get("frames_received_total", 0.0)
        rate = None
        if self._frames is not None and now > self._frames[0]:
            rate = max(0.0, round((frames - self._frames[1]) / (now - self._frames[0]), 1))
        self._frames = now, frames
        scored = values.get("face_quality_count", 0.0)
        return {
            "detail": str(health.get("detail", ""))[:200],
            "alive": bool(health.get("ok")),
            "frame_age_s": health.get("frame_age_s"),
            "frames": int(frames),
            "rate": rate,
            "quality": round(values["face_quality_sum"] / scored, 1) if scored else None,
            "faces": int(values.get("faces_scored_total", 0)),
            "shots": int(values.get("shots_released_total", 0)),
            "outbox": int(values.get("outbox_shots", 0)),
            "dead_letters": int(values.get("outbox_dead_letters", 0)),
            "epoch": int(values.get("lease_epoch", 0)) or None,
            "lease": bool(values.get("lease_held", 1)),
        }

    def _get(self, path: str) -> str:
        web = self._web
        host = local_host(web.host)
        connection: http.client.HTTPConnection
        if web.cert_file is None:
            connection = http.client.HTTPConnection(host, self._port, timeout=_TIMEOUT_S)
        else:
            # It is this machine, and the certificate names another address.
            context = ssl._create_unverified_context()  # noqa: S323
            connection = http.client.HTTPSConnection(
                host, self._port, timeout=_TIMEOUT_S, context=context
            )
        headers = {}
        if web.token is not None:
            headers["Authorization"] = f"Bearer {web.token.get_secret_value()}"
        with closing(connection):
            connection.request("GET", path, headers=headers)
            return connection.getresponse().read(_ANSWER_BYTES).decode()


def _values(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in _SAMPLE.findall(text):
        if name in _SUMMED:
            found[name] = found.get(name, 0.0) + float(value)
        elif name in _PLAIN:
            found[name] = float(value)
    return found
