"""`make bench ARGS=camera`: what a camera costs, against decoding alone, in one run.

Films of an empty room, of one person and of eight are played in real time, at the same time by a
process that only decodes them (one thread) and by `streamgate run`. CPU time is read from the
kernel, so a busy machine changes the figures little. A film is some seconds that follow each other
without a seam: its end, at which a camera begins anew, is not reached.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from bench.machine import describe
from streamgate.models.registry import path_of
from streamgate.sources.record import write_video
from streamgate.values import Image

__all__ = ["RESULTS", "main", "many_table", "table"]

RESULTS = Path(__file__).parent / "camera.json"
SIZES = {"720p": (1280, 720), "1080p": (1920, 1080)}
PEOPLE = (0, 1, 8)
RATE = 25
_FILM_S = 12
_REPEATED = 15
_NOISE = 2.0
_LITTLE_NOISE = 1.0
_IDLE = "720p, nobody"
_QUIET = "720p, nobody, half of the noise"
_SETTLE_S = 5.0
_TICKS = 100.0
_LONGEST_S = 3600
_DECODE = """
import sys, time, av
path, seconds = sys.argv[1], float(sys.argv[2])
began, shown = time.monotonic(), 0
while time.monotonic() - began < seconds:
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_count, stream.codec_context.thread_type = 1, "NONE"
        for _frame in container.decode(stream):
            shown += 1
            time.sleep(max(0.0, began + shown / 25 - time.monotonic()))
            if time.monotonic() - began > seconds:
                break
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took while it was watched.

    Attributes:
        cores: CPU time, as a part of one core.
        resident_mb, private_dirty_mb: memory.
        looked_at: share of the frames in which faces were looked for; None for decoding alone.
        looks_per_s: how often faces were looked for.
        dropped: frames that were due, and made way for a newer one unseen.
        age_p99_s: 99 of 100 frames were younger when they were analysed, seconds.
        start_s: from the start of the process to the first frame analysed, seconds.
    """

    cores: float
    resident_mb: float
    private_dirty_mb: float
    looked_at: float | None = None
    looks_per_s: float | None = None
    dropped: int | None = None
    age_p99_s: float | None = None
    start_s: float | None = None
    torch_is_loaded: bool = False


def film(path: Path, people: int, size: tuple[int, int], noise: float = _NOISE) -> None:
    """Film a room with so many people who sway, as a sensor with some noise sees it."""
    once = path.with_suffix(".once.mkv")
    write_video(once, _pictures(people, size, noise), RATE)
    _repeat(once, path)
    once.unlink()


def _pictures(people: int, size: tuple[int, int], level: float) -> Iterator[Image]:
    width, height = size
    chance = np.random.default_rng(1)
    across, down = np.meshgrid(np.linspace(90, 150, width), np.linspace(0, 40, height))
    room = np.repeat((across + down)[..., None], 3, axis=2).astype(np.int16)
    noise = [chance.normal(0, level, (height, width, 1)).round().astype(np.int16) for _ in range(8)]
    portraits = _portraits(height)
    for number in range(RATE * _FILM_S):
        shown = room.copy()
        for person in range(people):
            portrait = portraits[person % len(portraits)]
            lane = (person + 0.5) / max(1, people)
            sway = np.sin(2 * np.pi * (number / RATE / 6 + person / 3))
            left = round(lane * width + 0.04 * width * sway - portrait.shape[1] / 2)
            top = round(height * (0.08 + 0.4 * (person % 2)))
            _paste(shown, portrait, left, top)
        yield np.clip(shown + noise[number % len(noise)], 0, 255).astype(np.uint8)


def _repeat(once: Path, path: Path) -> None:
    """Let a film follow itself, without decoding it."""
    with av.open(str(path), "w") as out:
        stream, begins = None, 0
        for _ in range(_REPEATED):
            with av.open(str(once)) as container:
                pictures = container.streams.video[0]
                stream = stream or out.add_stream_from_template(pictures)
                ends = begins
                for packet in container.demux(pictures):
                    if packet.pts is None:
                        continue
                    packet.pts += begins
                    packet.dts = packet.pts
                    ends = max(ends, packet.pts + round(1 / RATE / packet.time_base))
                    packet.stream = stream
                    out.mux(packet)
                begins = ends


def _portraits(height: int) -> list[NDArray[np.int16]]:
    """Two heads of a public photograph each, an eighth of the picture high."""
    found = []
    for name, box in (
        ("photo-astronaut", (60, 20, 320, 260)),
        ("photo-hopper", (120, 60, 420, 400)),
    ):
        picture = cv2.imread(str(path_of(name)))
        assert picture is not None
        left, top, right, bottom = box
        head = cv2.cvtColor(picture[top:bottom, left:right], cv2.COLOR_BGR2RGB)
        scale = 0.36 * height / head.shape[0]
        found.append(cv2.resize(head, (0, 0), fx=scale, fy=scale).astype(np.int16))
    return found


def _paste(canvas: NDArray[np.int16], picture: NDArray[np.int16], left: int, top: int) -> None:
    x1, x2 = max(0, left), min(canvas.shape[1], left + picture.shape[1])
    y2 = min(canvas.shape[0], top + picture.shape[0])
    if x1 < x2:
        canvas[top:y2, x1:x2] = picture[: y2 - top, x1 - left : x2 - left]


def cameras(path: Path, count: int, seconds: float, folder: Path) -> tuple[Cost, list[Cost]]:
    """Measure a process that decodes a film and does nothing with it, and so many cameras.

    All of them play it at once, each is a process.
    """
    began = time.monotonic()
    running = []
    for number in range(count):
        config = folder / f"camera-{number}.yaml"
        config.write_text(
            f"camera: {{name: bench-{number}}}\n"
            f"source: {{kind: file, path: {path}, pace: realtime, loop: true}}\n"
            f"web: {{port: 0}}\nlog: {{format: json}}\n"
        )
        command = [sys.executable, "-m", "streamgate", "run", str(config)]
        running.append(_started(command, log=folder / f"camera-{number}.log"))
    try:
        ports = [_port(folder / f"camera-{number}.log") for number in range(count)]
        starts = [_first_frame(port, began) for port in ports]
        running.append(_started([sys.executable, "-c", _DECODE, str(path), str(_LONGEST_S)]))
        time.sleep(_SETTLE_S)
        before = [_metrics(port) for port in ports]
        *costs, alone = _watched([one.process for one in running], seconds)
        after = [_metrics(port) for port in ports]
    finally:
        for one in running:
            one.__exit__(None, None, None)
    return alone, [
        Cost(
            **{
                **asdict(cost),
                "looked_at": _looked_at(earlier, later),
                "looks_per_s": _grown(earlier, later, "frames_looked_at_total") / seconds,
                "dropped": round(_grown(earlier, later, "frames_dropped_total")),
                "age_p99_s": _quantile(earlier, later, 0.99),
                "start_s": start,
            }
        )
        for cost, earlier, later, start in zip(costs, before, after, starts, strict=True)
    ]


class _started:  # noqa: N801 # used as a function
    """A process that is ended when the context is left."""

    def __init__(self, command: Sequence[str], log: Path | None = None) -> None:
        self._log = None if log is None else log.open("wb")
        self.process = subprocess.Popen(  # noqa: S603 # the commands are those below
            command, stderr=self._log or subprocess.DEVNULL
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(20)
        if self._log is not None:
            self._log.close()


def _watched(processes: Sequence[subprocess.Popen[bytes]], seconds: float) -> list[Cost]:
    before, began = [_cpu_s(one.pid) for one in processes], time.monotonic()
    time.sleep(seconds)
    after, took = [_cpu_s(one.pid) for one in processes], time.monotonic() - began
    costs = []
    for one, earlier, later in zip(processes, before, after, strict=True):
        text = Path(f"/proc/{one.pid}/smaps_rollup").read_text(encoding="utf-8")
        kilobytes = {k: int(v) for k, v in re.findall(r"^(\w+): +(\d+) kB", text, re.MULTILINE)}
        costs.append(
            Cost(
                cores=(later - earlier) / took,
                resident_mb=kilobytes["Rss"] / 1024,
                private_dirty_mb=kilobytes["Private_Dirty"] / 1024,
                torch_is_loaded="libtorch" in Path(f"/proc/{one.pid}/maps").read_text(),
            )
        )
    return costs


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _port(log: Path) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for line in log.read_text(encoding="utf-8").splitlines():
            if '"web server listens"' in line:
                return int(json.loads(line)["port"])
        time.sleep(0.05)
    raise SystemExit(f"no camera: {log.read_text(encoding='utf-8')[-2000:]}")


def _first_frame(port: int, began: float) -> float:
    while not any(v for k, v in _metrics(port).items() if "frame_age_seconds_count" in k):
        time.sleep(0.05)
    return time.monotonic() - began


def _metrics(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def _sum(metrics: dict[str, float], name: str) -> float:
    return sum(value for key, value in metrics.items() if key.startswith(f"streamgate_{name}"))


def _grown(before: dict[str, float], after: dict[str, float], name: str) -> float:
    return _sum(after, name) - _sum(before, name)


def _looked_at(before: dict[str, float], after: dict[str, float]) -> float:
    looked = _grown(before, after, "frames_looked_at_total")
    passed = _grown(before, after, "frames_passed_total")
    return looked / max(1.0, looked + passed)


def _quantile(before: dict[str, float], after: dict[str, float], share: float) -> float:
    """Upper bound of the histogram's bucket that holds the quantile."""
    buckets = sorted(
        (float("inf") if found[1] == "+Inf" else float(found[1]), value - before.get(key, 0.0))
        for key, value in after.items()
        if key.startswith("streamgate_frame_age_seconds_bucket")
        and (found := re.search(r'le="([^"]+)"', key))
    )
    wanted = share * buckets[-1][1]
    return next(bound for bound, count in buckets if count >= wanted)


def table(results: dict[str, Any]) -> str:
    """What one camera costs, as Markdown."""
    machine = results["machine"]
    lines = [
        f"{machine['processor'].split(' Processor')[0]}, {machine['cores']} cores, "
        f"onnxruntime {machine['onnxruntime']}; {results['seconds']:g} s a measurement.",
        "",
        "| film | decoding alone, cores | camera, cores | ratio | memory, MB (private dirty) "
        "| looked at |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in results["single"].items():
        alone, camera = row["decoding"], row["camera"]
        lines.append(
            f"| {name} | {alone['cores']:.3f} | {camera['cores']:.3f} "
            f"| {camera['cores'] / alone['cores']:.2f} | {camera['resident_mb']:.0f} "
            f"({camera['private_dirty_mb']:.0f}) | {camera['looked_at']:.0%} |"
        )
    return "\n".join(lines) + "\n"


def many_table(results: dict[str, Any]) -> str:
    """What several cameras on one host cost, as Markdown."""
    machine = results["machine"]
    lines = [
        f"{machine['processor'].split(' Processor')[0]}, {machine['cores']} cores; film "
        f"“{results['many_film']}”, {results['seconds']:g} s a measurement.",
        "",
        "| cameras | cores each | beside decoding alone | 99 % of frames younger than "
        "| looks a second, least | frames dropped | private dirty memory each, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for count, row in results["many"].items():
        costs, alone = row["cameras"], row["decoding"]
        cores = sum(cost["cores"] for cost in costs) / len(costs)
        lines.append(
            f"| {count} | {cores:.3f} | × {cores / alone['cores']:.2f} "
            f"| {max(cost['age_p99_s'] for cost in costs):g} s "
            f"| {min(cost['looks_per_s'] for cost in costs):.2f} "
            f"| {sum(cost['dropped'] for cost in costs)} "
            f"| {max(cost['private_dirty_mb'] for cost in costs):.0f} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write the JSON and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench camera", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="length of each measurement")
    parser.add_argument("--many", type=int, nargs="*", default=[1, 2, 4, 8])
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        films = {}
        for size, pixels in SIZES.items():
            for people in PEOPLE:
                name = f"{size}, {'nobody' if not people else f'{people} in the picture'}"
                films[name] = people, pixels, _NOISE
        films[_QUIET] = 0, SIZES["720p"], _LITTLE_NOISE
        single: dict[str, Any] = {}
        paths = {name: folder / f"{number}.mkv" for number, name in enumerate(films)}
        for name, (people, pixels, noise) in films.items():
            sys.stderr.write(f"{name}\n")
            film(paths[name], people, pixels, noise)
            alone, costs = cameras(paths[name], 1, given.seconds, folder)
            single[name] = {"decoding": asdict(alone), "camera": asdict(costs[0])}
        many = {}
        for count in given.many:
            sys.stderr.write(f"{count} idle cameras\n")
            alone, costs = cameras(paths[_IDLE], count, given.seconds, folder)
            many[str(count)] = {
                "decoding": asdict(alone),
                "cameras": [asdict(cost) for cost in costs],
            }
    results = {
        "command": "python -m bench camera",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe("cpu"),
        "seconds": given.seconds,
        "single": single,
        "many_film": _IDLE,
        "many": many,
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{table(results)}\n{many_table(results)}")
