"""`make bench ARGS=service`: one scorer for many cameras, against one network a camera.

Simulated cameras ask one `streamgate serve` for the scores of faces, first as fast as it answers
and then at random times, so many a second each. The same faces are scored by processes that have
the network themselves, as cameras without a service do. CPU time is read from the kernel, so a
busy machine hardly changes what a face costs; it does change latencies.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from bench.machine import describe
from streamgate.config import QualitySection
from streamgate.errors import ScoreError
from streamgate.quality import Scorer
from streamgate.quality.remote.scorer import RemoteScorer
from streamgate.telemetry.metrics import Metrics

__all__ = ["RESULTS", "main", "table"]

RESULTS = Path(__file__).parent / "service.json"
CAMERAS = (1, 2, 4, 8, 16, 32, 64)
PROCESSES = (1, 2, 4, 8)
_RATE = 1.0
"""Faces a second of a camera that somebody stands before, with the default share of scored ones."""
_WARM_S = 1.0
_PAUSE_S = 0.1
_BUSY = 1.5
"""With more that runs for each core than this, times on the clock say nothing of a scorer."""
_START_S = 120.0


@dataclass(frozen=True, slots=True)
class Run:
    """What so many cameras had of a scorer.

    Attributes:
        cameras: how many.
        faces_per_s: that were scored, of all cameras.
        late: faces without a score within the deadline.
        p50_ms, p99_ms: from asking to the answer.
        cpu_ms: CPU time of the service, or of the processes with a network, for a face.
        batch: mean faces of a batch; 1 without a service.
        resident_mb: memory of the service, or of all processes with a network.
    """

    cameras: int
    faces_per_s: float
    late: int
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    batch: float
    resident_mb: float


def crops(count: int, seed: int) -> NDArray[np.uint8]:
    """Faces as far as the cost of scoring goes, which no content changes."""
    return np.random.default_rng(seed).integers(0, 256, (count, 112, 112, 3), np.uint8)


class _Service:
    """`streamgate serve` in a process of its own."""

    def __init__(self, folder: Path, device: str, threads: int) -> None:
        self._log = folder / "log"
        self.address = f"unix:{folder / 'scorer.sock'}"
        config = {
            "listen": {"unix": str(folder / "scorer.sock"), "port": None},
            "quality": {"device": device, "threads": threads, "cuda_graphs": device != "cpu"},
            "metrics": {"port": 0},
            "log": {"format": "json"},
        }
        path = folder / "scorer.yaml"
        path.write_text(json.dumps(config))
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 # ourselves
                [sys.executable, "-m", "streamgate", "serve", str(path)], stderr=log
            )
        deadline = time.monotonic() + _START_S
        port = 0
        while not port:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(self._log.read_text())
            time.sleep(0.1)
            lines = [line for line in self._log.read_text().splitlines() if line[:1] == "{"]
            told = [json.loads(line) for line in lines]
            port = next((e["port"] for e in told if e["event"] == "web server listens"), 0)
        self._url = f"http://127.0.0.1:{port}/metrics"

    def batches(self) -> tuple[float, float]:
        """How many batches there were, and how many faces in them."""
        time.sleep(1.1)  # the page is made once a second
        with urllib.request.urlopen(self._url, timeout=10) as answer:  # noqa: S310 # http
            lines = answer.read().decode().splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if line[:1] != "#")
        name = "streamgate_scorer_service_batch_faces"
        return float(values[f"{name}_count"]), float(values[f"{name}_sum"])


@contextmanager
def _service(device: str, threads: int) -> Iterator[_Service]:
    with tempfile.TemporaryDirectory() as temporary:
        service = _Service(Path(temporary), device, threads)
        try:
            yield service
        finally:
            service.process.terminate()
            service.process.wait()


def shared(service: _Service, cameras: int, seconds: float, rate: float | None) -> Run:
    """Measure the service with so many cameras.

    Args:
        rate: faces a second of each; None asks again as soon as an answer is there.
    """
    pid = service.process.pid
    batches, faces = service.batches()
    cpu = _cpu_s(pid)
    took, late, elapsed = asyncio.run(_play(service.address, cameras, seconds, rate))
    cpu = _cpu_s(pid) - cpu
    more_batches, more_faces = service.batches()
    scored = max(1.0, more_faces - faces)
    return Run(
        cameras=cameras,
        faces_per_s=len(took) / elapsed,
        late=late,
        p50_ms=_quantile_ms(took, 0.5),
        p99_ms=_quantile_ms(took, 0.99),
        cpu_ms=1000 * cpu / scored,
        batch=scored / max(1.0, more_batches - batches),
        resident_mb=_resident_mb(pid),
    )


async def _play(
    address: str, cameras: int, seconds: float, rate: float | None
) -> tuple[list[float], int, float]:
    """Let cameras ask; return how long each answer took, what was late, and the time in all."""
    settings = QualitySection(service=(address,), service_timeout_s=10)
    took: list[float] = []
    late = 0

    async def play(number: int) -> None:
        nonlocal late
        chance = np.random.default_rng(number)
        faces = crops(8, number)
        async with await RemoteScorer.start(
            settings, camera=f"bench-{number}", metrics=Metrics()
        ) as scorer:
            with suppress(ScoreError):
                await scorer.score(faces[:1])
            await ready.wait()
            due = began = loop.time()
            count = 0
            while loop.time() - began < seconds:
                if rate is not None:
                    due += float(chance.exponential(1 / rate))
                    await asyncio.sleep(max(0.0, due - loop.time()))
                asked = loop.time()
                try:
                    await scorer.score(faces[count % 8 : count % 8 + 1])
                except ScoreError:
                    late += 1
                    await asyncio.sleep(_PAUSE_S)
                else:
                    took.append(loop.time() - asked)
                count += 1

    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for number in range(cameras):
            group.create_task(play(number))
        await asyncio.sleep(_WARM_S)
        began = loop.time()
        ready.set()
    return took, late, loop.time() - began


_OWN = """
import sys, time
import numpy as np
from streamgate.quality import Scorer
seconds, device = float(sys.argv[1]), sys.argv[2]
scorer = Scorer.load(device=device, threads=1)
faces = np.random.default_rng(0).integers(0, 256, (8, 112, 112, 3), np.uint8)
scorer.score(faces[:1])
print("ready", flush=True)
sys.stdin.readline()
took, began, cpu = [], time.monotonic(), time.process_time()
while time.monotonic() - began < seconds:
    asked = time.monotonic()
    scorer.score(faces[len(took) % 8 : len(took) % 8 + 1])
    took.append(time.monotonic() - asked)
cpu = time.process_time() - cpu
resident = int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
import json
print(json.dumps({"took": took, "cpu": cpu, "resident": resident}))
"""


def own(cameras: int, seconds: float, device: str) -> Run:
    """Measure so many processes that have the network themselves."""
    command = [sys.executable, "-c", _OWN, str(seconds), device]
    running = [
        subprocess.Popen(  # noqa: S603 # ourselves
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(cameras)
    ]
    for process in running:
        assert process.stdout is not None
        process.stdout.readline()
    told: list[dict[str, Any]] = []
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        told.append(json.loads(process.communicate()[0]))
    took = [value for one in told for value in one["took"]]
    return Run(
        cameras=cameras,
        faces_per_s=len(took) / seconds,
        late=0,
        p50_ms=_quantile_ms(took, 0.5),
        p99_ms=_quantile_ms(took, 0.99),
        cpu_ms=1000 * sum(one["cpu"] for one in told) / len(took),
        batch=1.0,
        resident_mb=sum(one["resident"] for one in told),
    )


def engine_alone(seconds: float, device: str, threads: int, batch: int) -> dict[str, float]:
    """What the engine does without anybody between, in batches of one size."""
    scorer, faces = Scorer.load(device=device, threads=threads, batch_size=batch), crops(batch, 0)
    scorer.score(faces)
    count, began, cpu = 0, time.monotonic(), time.process_time()
    while time.monotonic() - began < seconds:
        scorer.score(faces)
        count += batch
    elapsed = time.monotonic() - began
    return {
        "faces_per_s": count / elapsed,
        "cpu_ms": 1000 * (time.process_time() - cpu) / count,
        "batch": batch,
    }


def _quantile_ms(took: Sequence[float], share: float) -> float:
    return 1000 * float(np.quantile(took, share)) if took else float("nan")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    machine = results["machine"]
    alone = results["engine"]
    timed = results["load"] <= _BUSY * machine["cores"]
    lines = [
        f"{results['date']}, {machine.get('accelerator') or machine['processor']}, "
        f"{machine['cores']} cores, {results['threads']} thread of the service; the machine's load "
        f"was {results['load']:.1f}. The engine alone, in batches of {alone['batch']}, takes "
        f"{alone['cpu_ms']:.1f} ms of CPU a face."
        + (
            ""
            if timed
            else " Other work kept the machine busy, so only what does not depend on it is shown."
        ),
        "",
        "| cameras | scored by | faces/s | late | p50 ms | p99 ms | faces a batch | CPU ms a face "
        "| memory MB |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for key, text in (
        ("closed", "one service, asked without a pause"),
        ("open", f"one service, {results['rate']:g} face/s a camera"),
        ("own", "its own network, without a pause"),
    ):
        lines += [_row(Run(**run), text, timed=timed) for run in results[key]]
    return "\n".join(lines) + "\n"


def _row(run: Run, text: str, *, timed: bool) -> str:
    clock = f"{run.faces_per_s:.1f} | {run.late} | {run.p50_ms:.0f} | {run.p99_ms:.0f}"
    return (
        f"| {run.cameras} | {text} | {clock if timed else '- | - | - | -'} | {run.batch:.1f} | "
        f"{run.cpu_ms:.1f} | {run.resident_mb:.0f} |"
    )


def main(arguments: Sequence[str]) -> None:
    """Measure, write the results and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench service", description=__doc__)
    parser.add_argument("--cameras", type=int, nargs="+", default=CAMERAS)
    parser.add_argument("--processes", type=int, nargs="+", default=PROCESSES)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run")
    parser.add_argument("--rate", type=float, default=_RATE, help="faces a second of a camera")
    parser.add_argument("--threads", type=int, default=1, help="of the service on a CPU")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    alone = engine_alone(
        given.seconds, given.device, given.threads, 8 if given.device == "cpu" else 32
    )
    with _service(given.device, given.threads) as service:
        closed = [shared(service, count, given.seconds, None) for count in given.cameras]
        opened = [shared(service, count, given.seconds, given.rate) for count in given.cameras]
    results = {
        "command": " ".join(["python -m bench service", *arguments]),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe("cpu" if given.device == "cpu" else "cuda"),
        "threads": given.threads,
        "rate": given.rate,
        "load": os.getloadavg()[1],
        "engine": alone,
        "closed": [asdict(run) for run in closed],
        "open": [asdict(run) for run in opened],
        "own": [asdict(own(count, given.seconds, given.device)) for count in given.processes],
    }
    given.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(table(results))
