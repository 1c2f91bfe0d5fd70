"""Run the daemon on the synthetic camera and tell what it does."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.live import Live
from rich.table import Table

from streamgate.config import CameraConfig, DetectorSection, LoadedConfig
from streamgate.config.load import hash_config
from streamgate.daemon import run_camera
from streamgate.demo.contact_sheet import draw_contact_sheet
from streamgate.demo.history import History, TrackHistory
from streamgate.demo.scene import FRAMES_PER_SECOND, Scene, load_portraits
from streamgate.faces.detect import YuNetDetector
from streamgate.models.registry import path_of
from streamgate.quality import Scorer
from streamgate.recognise import Gallery, enrol
from streamgate.sources.record import write_video
from streamgate.telemetry.metrics import Metrics

__all__ = ["Summary", "show"]

_REDRAWS_PER_SECOND = 4


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run of the demo came to; latencies are in milliseconds.

    Attributes:
        chosen_rank: for each track in order, the share of its visit's frames that were less
            degraded than the one that was chosen; None where none was.
        recognised: for each track in order, whom the reference recogniser took the best shot for.
    """

    seconds: float
    visits: int
    frames: int
    frames_dropped: int
    faces: int
    scored: int
    tracks: int
    forwarded: int
    chosen_rank: tuple[float | None, ...]
    recognised: tuple[str | None, ...]
    frame_age_p50_ms: float
    frame_age_p99_ms: float
    detect_mean_ms: float
    score_mean_ms: float
    capture_to_score_p50_ms: float
    capture_to_score_p99_ms: float


async def show(out: Path, *, seconds: float, once: bool, console: Console) -> Summary:
    """Play the scene through the whole pipeline and write shots, sheet and summary into `out`.

    Raises:
        StreamgateError: a model cannot be fetched, or the folder cannot be written.
    """
    photographs = {name: path_of(f"photo-{name}") for name in ("astronaut", "hopper")}
    scene = Scene(load_portraits(photographs), seconds)
    history = History(scene, await asyncio.to_thread(_gallery, photographs))
    with TemporaryDirectory(prefix="streamgate-demo-") as folder:
        clip = Path(folder) / "scene.mkv"
        console.print(f"Filming {seconds:.0f} s of a synthetic camera ...")
        await asyncio.to_thread(write_video, clip, scene.frames(), FRAMES_PER_SECOND)
        loaded = _config(clip, out, loop=not once)
        console.print("The gate runs." if once else "The gate runs until Ctrl-C.")
        with _table(history, console):
            await run_camera(loaded, secrets.token_hex(6), history)
    summary = _summary(history, seconds)
    (out / "summary.json").write_text(json.dumps(asdict(summary), indent=2) + "\n")
    draw_contact_sheet(history.decided_pages, out / "contact-sheet.png")
    return summary


def _gallery(photographs: dict[str, Path]) -> Gallery:
    """Enrol the people of the scene, as whoever runs a recogniser has done before."""
    detector = YuNetDetector(DetectorSection(), path_of("yunet"))
    return enrol({name: [path] for name, path in photographs.items()}, detector, Scorer.load())


def _config(clip: Path, out: Path, *, loop: bool) -> LoadedConfig:
    config = CameraConfig.model_validate(
        {
            "camera": {"name": "demo"},
            "source": {"kind": "file", "path": clip, "pace": "realtime", "loop": loop},
            "delivery": {"sinks": [{"kind": "directory", "path": out / "best-shots"}]},
            # The scene has two people for its three visits, and each is to be seen judged.
            "gate": {"visit_s": 0},
            "web": {"port": 0, "show_pictures": True},
        }
    )
    return LoadedConfig(config, hash_config(config), Path("demo"))


def _table(history: History, console: Console) -> Live | nullcontext[None]:
    if not console.is_terminal:
        return nullcontext()
    return Live(
        get_renderable=lambda: draw_table(history),
        console=console,
        refresh_per_second=_REDRAWS_PER_SECOND,
    )


def draw_table(history: History) -> Table:
    """The live tracks and the last ones that ended."""
    table = Table(title="streamgate demo")
    for column in ("track", "person", "scored", "quality now", "best", "state"):
        table.add_column(column, justify="left" if column in ("person", "state") else "right")
    for page in history.pages.values():
        table.add_row(*_row(page))
    return table


def _row(page: TrackHistory) -> tuple[str, ...]:
    now, best = page.moments[-1:], max((m.quality for m in page.moments), default=0.0)
    if page.decision is None:
        state = "followed"
    else:
        state = page.decision.outcome.value.replace("_", " ")
        if page.chosen:
            state += f" (frame {page.chosen[0].frame_index}, {page.chosen[0].fault})"
            state += f", recognised as {page.recognised}"
    current = f"{now[0].quality:5.1f}  {now[0].fault}" if now and page.decision is None else ""
    return str(page.track_id), page.person, str(len(page.moments)), current, f"{best:.1f}", state


def _summary(history: History, seconds: float) -> Summary:
    metrics = history.metrics or Metrics()
    return Summary(
        seconds=seconds,
        visits=history.scene.visits,
        frames=round(_total(metrics, "streamgate_frames_received_total")),
        frames_dropped=round(_total(metrics, "streamgate_frames_dropped_total")),
        faces=round(_total(metrics, "streamgate_faces_detected_total")),
        scored=round(_total(metrics, "streamgate_faces_scored_total")),
        tracks=history.tracks,
        forwarded=history.forwarded,
        recognised=tuple(page.recognised for page in history.decided_pages),
        chosen_rank=tuple(
            None if page.rank is None else round(page.rank, 4) for page in history.decided_pages
        ),
        frame_age_p50_ms=_quantile_ms(metrics, "streamgate_frame_age_seconds", 0.50),
        frame_age_p99_ms=_quantile_ms(metrics, "streamgate_frame_age_seconds", 0.99),
        detect_mean_ms=_mean_ms(metrics, "detect"),
        score_mean_ms=_mean_ms(metrics, "score"),
        capture_to_score_p50_ms=_quantile_ms(metrics, "streamgate_capture_to_score_seconds", 0.50),
        capture_to_score_p99_ms=_quantile_ms(metrics, "streamgate_capture_to_score_seconds", 0.99),
    )


def _total(metrics: Metrics, name: str) -> float:
    return sum(
        sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    )


def _mean_ms(metrics: Metrics, stage: str) -> float:
    def of(suffix: str) -> float:
        value = metrics.registry.get_sample_value(
            f"streamgate_stage_seconds_{suffix}", {"stage": stage}
        )
        return value or 0.0

    return round(1000.0 * of("sum") / max(1.0, of("count")), 2)


def _quantile_ms(metrics: Metrics, name: str, share: float) -> float:
    """As Prometheus estimates it: linear within the bucket that holds the quantile."""
    buckets = [
        (float(sample.labels["le"]), sample.value)
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == f"{name}_bucket"
    ]
    wanted = share * (buckets[-1][1] if buckets else 0.0)
    low, below = 0.0, 0.0
    for limit, count in buckets:
        if count >= wanted and count > below:
            inside = (wanted - below) / (count - below)
            high = limit if limit != float("inf") else low
            return round(1000.0 * (low + (high - low) * inside), 2)
        low, below = (limit if limit != float("inf") else low), count
    return 0.0
