"""The actors: each supervises one process, and does nothing else.

An actor that Ray starts again runs `__init__` and no method, so that work begins there. Arguments
and answers are small values; a configuration is only ever an argument.
"""

from __future__ import annotations

import os
import socket
import zlib
from collections.abc import Mapping
from contextlib import closing, suppress
from typing import Any

import ray

from streamgate.config.camera import WebSection
from streamgate.config.load import parse_config
from streamgate.errors import ConfigError
from streamgate.fleet.probe import Probe, local_host
from streamgate.fleet.spec import ProcessSpec, split_name
from streamgate.fleet.supervisor import Supervisor
from streamgate.fleet.wanted import SCORER_VARIABLE

__all__ = ["ProcessActor", "options_of"]

_ASK_S = 5.0
_THREADS = 4
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared


class ProcessActor:
    """Supervises a camera or a scorer."""

    def __init__(self, spec: ProcessSpec) -> None:
        context = ray.get_runtime_context()
        self._node = str(context.get_node_id())
        # As the machine was named to the cluster, which need not be its first address.
        self._host = next(
            (str(n["NodeManagerAddress"]) for n in ray.nodes() if n["NodeID"] == self._node),
            "127.0.0.1",
        )
        self._place = context.get_node_labels().get("place", "")
        self._spec = spec
        self._web: WebSection | None = None
        self._probe: Probe | None = None
        self._port = 0
        self._scorer = ""
        self._supervisor = Supervisor(
            spec, environment=self._environment, arguments=self._own_arguments
        )
        self._supervisor.start()

    def status(self) -> dict[str, Any]:
        """How it is; no setting is in it."""
        said = {
            "kind": self._spec.kind,
            "name": self._spec.name,
            "host": self._host,
            "node": self._node[:12],
            "place": self._place,
            **self._supervisor.status(),
        }
        if self._spec.kind == "scorer":
            return {**said, "address": self._address()}
        web = self._web
        if web is None or self._probe is None:
            return said
        host = self._host if web.host in _WILDCARDS else web.host
        return {
            **said,
            "target": f"{host}:{self._port}",
            "scheme": "http" if web.cert_file is None else "https",
            "live": web.live_page,
            "scorer": self._scorer or None,
            **self._probe.figures(),
        }

    def where(self) -> dict[str, str]:
        """Where a scorer is, for cameras that look for the nearest."""
        return {"node": self._node, "place": self._place, "address": self._address()}

    def lines(self, most: int) -> list[str]:
        """The newest lines that the process has written."""
        return self._supervisor.lines(most)

    def restart(self) -> None:
        """Stop the process in order and start it again."""
        self._supervisor.restart()

    def stop(self) -> bool:
        """Stop the process in order; it stays stopped. Return whether it ended by itself."""
        return self._supervisor.stop()

    def _address(self) -> str:
        return self._spec.address.replace("{host}", self._host)

    def _environment(self) -> Mapping[str, str] | None:
        """Variables of the process; None where it wants a scorer and none answers."""
        spec = self._spec
        found: dict[str, str] = {}
        if f"${{{SCORER_VARIABLE}}}" in spec.text:
            self._scorer = self._nearest()
            if not self._scorer:
                return None
            found[SCORER_VARIABLE] = self._scorer
        self._web, self._probe = None, None
        if spec.kind == "camera" and not spec.command:
            # A fault is told by the process itself, with its line.
            with suppress(ConfigError):
                text, file = spec.text, self._supervisor.folder / "config.yaml"
                self._web = parse_config(text, file, {**os.environ, **found}).config.web
            if self._web is not None and self._web.enabled:
                self._port = _free_port(local_host(self._web.host), spec, self._port)
                self._probe = Probe(self._web, self._port)
        return found

    def _own_arguments(self) -> tuple[str, ...]:
        return () if self._probe is None else ("--web-port", str(self._port))

    def _nearest(self) -> str:
        """The address of a scorer: on this machine, at this place, or anywhere; in this order."""
        asked = {}
        for actor in ray.util.list_named_actors():
            parts = split_name(actor)
            if parts is not None and parts[0] == "scorer" and parts[1] in self._spec.scorers:
                with suppress(ValueError):
                    asked[parts[1]] = ray.get_actor(actor).where.remote()
        if not asked:
            return ""
        done, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=_ASK_S)
        found: list[tuple[int, int, str]] = []
        for name, answer in asked.items():
            if answer not in done:
                continue
            with suppress(ray.exceptions.RayError):
                where = ray.get(answer)
                distance = 0 if where["node"] == self._node else 1 + (where["place"] != self._place)
                # Cameras at the same distance from several spread over them.
                share = zlib.crc32(f"{self._spec.name}/{name}".encode())
                found.append((distance, share, where["address"]))
        return min(found)[2] if found else ""


def _free_port(host: str, spec: ProcessSpec, before: int) -> int:
    """A port that nobody listens on: the one from before, or from a place by the camera's name."""
    first, last = spec.ports
    count = last - first + 1
    begin = zlib.crc32(spec.name.encode()) % count
    for port in (before, *(first + (begin + step) % count for step in range(count))):
        if port == 0:
            continue
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with closing(socket.socket(family)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                listener.bind((host, port))
                return port
    return first


def options_of(spec: ProcessSpec, name: str) -> dict[str, Any]:
    """How Ray is to keep an actor: for ever, wherever its needs are met."""
    options: dict[str, Any] = {
        "name": name,
        "lifetime": "detached",
        "max_restarts": -1,
        "max_concurrency": _THREADS,
        "num_cpus": spec.cpus,
        "num_gpus": spec.gpus,
        # Ray's own record of each call would grow for years.
        "enable_task_events": False,
    }
    if spec.memory_mb is not None:
        options["memory"] = int(spec.memory_mb * 1048576)
    if spec.place is not None:
        options["label_selector"] = {"place": spec.place}
    return options
