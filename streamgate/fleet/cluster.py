"""The commands of a fleet, on a Ray cluster that is there, or on one that is started here."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from streamgate.errors import ConfigError, StreamgateError

# Before ray is imported, which reads them: nothing is told to its makers, and nothing but errors
# is printed.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

try:
    import ray
except ModuleNotFoundError as error:
    raise ConfigError("a fleet needs Ray: pip install 'streamgate[fleet]'") from error

from streamgate.config.fleet import FleetConfig
from streamgate.fleet.actors import ProcessActor, options_of
from streamgate.fleet.local import head_folder
from streamgate.fleet.plan import Plan, make_plan
from streamgate.fleet.spec import ProcessSpec, actor_name, split_name

__all__ = ["OVERVIEW", "Fleet", "stop_local_head"]

OVERVIEW = "overview"
_START_S = 60.0
_AT_ONCE = 16
_STATUS_S = 10.0
_LOOPBACK = "127.0.0.2"
"""Ray replaces 127.0.0.1 by an address that other machines reach, and this one not."""


class Fleet:
    """A fleet of one namespace; connected for as long as `connected` is open."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    @classmethod
    @contextmanager
    def connected(cls, config: FleetConfig, *, start: bool = False) -> Iterator[Fleet]:
        """Connect to the cluster of a fleet.

        Args:
            start: start a head on this machine, where the configuration says so and none runs.

        Raises:
            StreamgateError: it cannot be reached.
        """
        address = config.address
        if address == "local":
            address = _local_head(config, start=start)
        try:
            ray.init(
                address=address,
                namespace=config.name,
                log_to_driver=False,
                logging_level="error",
                configure_logging=False,
            )
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise StreamgateError(f"the Ray cluster at {address} cannot be used: {said}") from None
        try:
            yield cls(config.name)
        finally:
            ray.shutdown()

    def actors(self) -> list[str]:
        """Names of the fleet's actors."""
        return sorted(name for name in ray.util.list_named_actors() if split_name(name))

    def plan(self, wanted: Mapping[str, ProcessSpec]) -> Plan:
        """What has to be done."""
        return make_plan(wanted, self.actors())

    def apply(self, plan: Plan) -> None:
        """Stop what is to be stopped, then start what is to be started; touch nothing else."""
        self.stop(plan.stop, remove=True)
        make = ray.remote(ProcessActor)
        for spec in plan.start:
            name = actor_name(spec)
            make.options(**options_of(spec, name)).remote(spec)

    def stop(self, actors: Sequence[str], *, remove: bool) -> list[str]:
        """Stop processes in order, some at once; return those that did not end by themselves."""
        hard: list[str] = []
        for begin in range(0, len(actors), _AT_ONCE):
            some = actors[begin : begin + _AT_ONCE]
            handles = {name: handle for name in some if (handle := _handle(name)) is not None}
            asked = {handle.stop.remote(): name for name, handle in handles.items()}
            done: list[Any] = []
            if asked:
                done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_START_S)
            for answer, name in asked.items():
                ended = False
                if answer in done:
                    with suppress(ray.exceptions.RayError):
                        ended = bool(ray.get(answer))
                if not ended:
                    hard.append(name)
                if remove:
                    ray.kill(handles[name])
        return hard

    def restart(self, actors: Sequence[str]) -> None:
        """Restart processes, in order, where they are."""
        asked = [handle.restart.remote() for name in actors if (handle := _handle(name))]
        if asked:
            ray.wait(asked, num_returns=len(asked), timeout=_STATUS_S)

    def lines(self, actor: str, most: int) -> list[str]:
        """The newest lines of a process."""
        handle = _handle(actor)
        if handle is None:
            return []
        try:
            return list(ray.get(handle.lines.remote(most), timeout=_STATUS_S))
        except (ray.exceptions.RayError, TimeoutError):
            raise StreamgateError(f"{actor.split('/')[1]} does not answer now") from None

    def status(self) -> list[dict[str, Any]]:
        """How every process is; one that does not answer in time is told as such."""
        return statuses(self.actors())

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Actors of cameras or scorers by name; of all where no name is given.

        Raises:
            ConfigError: there is none of that name.
        """
        actors = self.actors()
        if not names:
            return actors
        unknown = [name for name in names if not any(a.split("/")[1] == name for a in actors)]
        if unknown:
            raise ConfigError(f"the fleet has no {', '.join(unknown)}; see streamgate fleet status")
        return [actor for actor in actors if actor.split("/")[1] in names]


def statuses(actors: Sequence[str], timeout_s: float = _STATUS_S) -> list[dict[str, Any]]:
    """How processes are, asked all at once."""
    asked: dict[Any, str] = {}
    found: dict[str, dict[str, Any]] = {}
    for name in actors:
        kind, short, _ = split_name(name) or ("", name, "")
        found[name] = {"kind": kind, "name": short, "state": "not placed, or its machine is away"}
        handle = _handle(name)
        if handle is not None:
            asked[handle.status.remote()] = name
    done: list[Any] = []
    if asked:
        done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=timeout_s)
    for answer in done:
        with suppress(ray.exceptions.RayError):
            found[asked[answer]] = ray.get(answer)
    return list(found.values())


def _handle(name: str) -> Any:
    with suppress(ValueError):
        return ray.get_actor(name)
    return None


# --- a head on this machine ---


def _local_head(config: FleetConfig, *, start: bool) -> str:
    """The address of the head that `fleet up` has started on this machine, started if wanted."""
    file = head_folder(config) / "head.json"
    known = _read_head(file)
    if known is not None:
        return str(known["address"])
    if not start:
        raise StreamgateError(
            f"the fleet {config.name} does not run on this machine: streamgate fleet up"
        )
    with contextlib.closing(socket.socket()) as free:
        free.bind((_LOOPBACK, 0))
        port = free.getsockname()[1]
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block",
        f"--node-ip-address={_LOOPBACK}", f"--port={port}", "--include-dashboard=false",
        "--disable-usage-stats", "--include-log-monitor=false",
        "--object-store-memory=80000000", f"--num-cpus={max(64, os.cpu_count() or 1)}",
    ]  # fmt: skip
    with (file.parent / "head.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    address = f"{_LOOPBACK}:{port}"
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection((_LOOPBACK, port), 1):
            break
        time.sleep(0.1)
    else:
        raise StreamgateError(f"Ray's head does not start; see {file.parent / 'head.log'}")
    said = {"address": address, "pid": process.pid, "started": _started_at(process.pid)}
    file.write_text(json.dumps(said))
    return address


def _read_head(file: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        said: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        # Process ids are used again.
        if _started_at(int(said["pid"])) == said["started"]:
            return said
    return None


def _started_at(pid: int) -> str:
    with suppress(OSError, IndexError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        fields = stat.rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    return ""


def stop_local_head(config: FleetConfig) -> bool:
    """End the head that `fleet up` has started on this machine; return whether there was one."""
    file = head_folder(config) / "head.json"
    known = _read_head(file)
    file.unlink(missing_ok=True)
    if known is None:
        return False
    pid = int(known["pid"])
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and _started_at(pid) == known["started"]:
        time.sleep(0.1)
    return True
