"""`python -m bench fleet`: what Ray costs a fleet, with dummies in the place of cameras.

A two-node cluster on this machine supervises programs that sleep. Measured are the start of all,
one changed file, the loss of a node with half of them, a look at all, and what Ray's own processes
take: CPU time and memory (proportional set size) are read from the kernel, so a busy machine
lengthens the times and hardly changes those two.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.machine import describe
from streamgate.config.fleet import FleetConfig
from streamgate.fleet.plan import make_plan
from streamgate.fleet.spec import ProcessSpec
from tests.fleet.cluster import Machines, descendants

if TYPE_CHECKING:
    from streamgate.fleet.cluster import Fleet

__all__ = ["RESULTS", "main", "table"]

RESULTS = Path(__file__).parent / "fleet.json"
_SETTLE_S = 20.0
_IDLE_S = 30.0
_LIMIT_S = 1500.0
_TICKS = float(os.sysconf("SC_CLK_TCK"))


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured.

    Attributes:
        processes: supervised dummies.
        start_s: from the command until all run.
        start_cpu_s: CPU time of Ray's processes for that, of one dummy.
        look_s: one look at the status of all.
        change_s: from the command until one changed process runs again.
        failover: processes on the node that was killed.
        failover_s: from its death until all run elsewhere.
        idle_cpu: share of one CPU core that Ray takes with nothing to do, of all dummies together.
        ray_mb: memory of the head, the node and all that is not an actor.
        actor_mb: memory of one actor.
    """

    processes: int
    start_s: float
    start_cpu_s: float
    look_s: float
    change_s: float
    failover: int
    failover_s: float
    idle_cpu: float
    ray_mb: float
    actor_mb: float


def main(arguments: Sequence[str]) -> None:
    """Measure, write the results and print their table."""
    parser = argparse.ArgumentParser(prog="python -m bench fleet", description=__doc__)
    parser.add_argument("--processes", type=int, default=200)
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        result = _measure(Path(temporary), given.processes)
    found = {
        "command": f"python -m bench fleet --processes {given.processes}",
        "measured": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": describe("cpu"),
        "load": round(os.getloadavg()[2], 1),
        "fleet": asdict(result),
    }
    given.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(found))  # noqa: T201 - the result


def _measure(folder: Path, count: int) -> Result:
    # The page of figures is made without Ray.
    from streamgate.fleet.cluster import Fleet  # noqa: PLC0415

    with Machines(folder, cpus=count) as cluster:
        config = FleetConfig.model_validate(
            {"name": "bench", "address": cluster.address, "state": str(folder / "state")}
        )
        assert cluster.head is not None
        assert cluster.node is not None
        roots = [cluster.head.process.pid, cluster.node.process.pid]
        with Fleet.connected(config) as fleet:
            wanted = {f"camera/d{number}": _dummy(number, config) for number in range(count)}
            before = _cpu_s(roots)
            start_s = _timed(fleet, count, lambda: fleet.apply(fleet.plan(wanted)))
            start_cpu_s = (_cpu_s(roots) - before) / count
            time.sleep(_SETTLE_S)
            ray_mb, actor_mb = _memory_mb(roots)
            before, at = _cpu_s(roots), time.monotonic()
            time.sleep(_IDLE_S)
            idle = (_cpu_s(roots) - before) / (time.monotonic() - at)
            look_s = _look_s(fleet)
            changed = dict(wanted)
            changed["camera/d0"] = replace(wanted["camera/d0"], text="changed")
            plan = make_plan(changed, fleet.actors())
            assert (len(plan.stop), len(plan.start)) == (1, 1)
            change_s = _timed(fleet, count, lambda: fleet.apply(plan))
            lost = sum(said.get("place") == "b" for said in fleet.status())
            node = cluster.node
            failover_s = _timed(
                fleet, count, lambda: node.signal_all(signal.SIGKILL), elsewhere=True
            )
            fleet.stop(fleet.actors(), remove=True)
    return Result(
        count, round(start_s, 1), round(start_cpu_s, 2), round(look_s, 2), round(change_s, 1),
        lost, round(failover_s, 1), round(idle, 3), round(ray_mb), round(actor_mb, 1),
    )  # fmt: skip


def _dummy(number: int, config: FleetConfig) -> ProcessSpec:
    return ProcessSpec(
        "camera", f"d{number}", "", config.name, cpus=1.0,
        command=("/bin/sh", "-c", "exec sleep 1000000"), state=str(config.state),
    )  # fmt: skip


def _timed(
    fleet: Fleet, count: int, work: Callable[[], object], *, elsewhere: bool = False
) -> float:
    """Do something, and return how long it takes until all run."""
    started = time.monotonic()
    work()
    while True:
        found = fleet.status()
        running = sum(
            said["state"] == "running" and not (elsewhere and said.get("place") == "b")
            for said in found
        )
        if running == count:
            return time.monotonic() - started
        if time.monotonic() - started > _LIMIT_S:
            raise TimeoutError(f"{running} of {count} run after {_LIMIT_S:g} s")
        time.sleep(0.2)


def _look_s(fleet: Fleet) -> float:
    times = []
    for _ in range(5):
        started = time.monotonic()
        fleet.status()
        times.append(time.monotonic() - started)
    return sorted(times)[2]


def _ray_processes(roots: Sequence[int]) -> list[int]:
    found = [pid for root in roots for pid in (root, *descendants(root))]
    return [pid for pid in found if not _command(pid).startswith("sleep")]


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def _cpu_s(roots: Sequence[int]) -> float:
    total = 0.0
    for pid in _ray_processes(roots):
        with suppress(OSError, IndexError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            # Its own time and that of children that have ended.
            total += sum(map(int, fields[11:15])) / _TICKS
    return total


def _memory_mb(roots: Sequence[int]) -> tuple[float, float]:
    """Memory of all that is no actor, and of one actor, MB."""
    others, actors = 0.0, []
    for pid in _ray_processes(roots):
        with suppress(OSError, IndexError, ValueError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            size = int(text.split("\nPss:")[1].split()[0]) / 1000
            if _command(pid).startswith("ray::ProcessActor"):
                actors.append(size)
            else:
                others += size
    return others, sum(actors) / max(1, len(actors))


def table(found: dict[str, Any]) -> str:
    """Return the results as a table."""
    result = Result(**found["fleet"])
    rows = [
        (f"start of {result.processes} processes on two nodes", f"{result.start_s:g} s"),
        ("CPU time of Ray to start one", f"{result.start_cpu_s:g} s"),
        ("one changed file, until it runs again", f"{result.change_s:g} s"),
        (
            f"a node killed, until its {result.failover} processes run on the other",
            f"{result.failover_s:g} s",
        ),
        ("one look at all", f"{result.look_s:g} s"),
        ("CPU time of Ray with nothing to do", f"{100 * result.idle_cpu:.1f} % of one core"),
        ("memory of Ray on two nodes, without actors", f"{result.ray_mb:g} MB"),
        ("memory of one actor", f"{result.actor_mb:g} MB"),
    ]
    lines = ["| measured | value |", "| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in rows]
    machine = found["machine"]
    lines += [
        "",
        f"{machine['processor']}, {machine['cores']} cores, load {found['load']:g} (15 minutes), "
        f"{found['measured']}.",
    ]
    return "\n".join(lines)
