"""The whole of a replay: score every face of some videos once, judge rules by it, write reports."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from streamgate.config import CameraConfig, LoadedConfig, LogSection, load_config
from streamgate.config.load import hash_config
from streamgate.errors import DataError
from streamgate.faces.photographs import decode_photograph
from streamgate.lab.recogniser import OnnxRecogniser, Preprocessing, doubt_of
from streamgate.lab.replay.evaluation import Evaluator, PolicyEvaluation, trade
from streamgate.lab.replay.people import (
    PeopleEvaluation,
    PeopleEvaluator,
    read_labels,
    track_identities,
)
from streamgate.lab.replay.plots import need_plots
from streamgate.lab.replay.policies import POLICIES, Choices, choose
from streamgate.lab.replay.recording import Recording
from streamgate.lab.replay.report import Findings, as_html, as_json
from streamgate.lab.replay.runner import decision_lines, record
from streamgate.telemetry.logs import configure_logs

__all__ = ["Recogniser", "Request", "judge"]

_LEAST_FRAMES = 2
_SHOWN_FACES = 12


@dataclass(frozen=True, slots=True)
class Recogniser:
    """An independent recogniser and what it wants to see."""

    path: Path
    preprocessing: Preprocessing


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be replayed.

    Attributes:
        videos: the files.
        config: a camera's YAML file; every default where None.
        policies: rules to compare; all where there is none.
        recogniser: for the similarity of chosen faces; the scorer's own embedding where None.
        identities: CSV of who is seen.
        seed: of the random policy.
        out: folder of the reports.
    """

    videos: Sequence[Path]
    config: Path | None
    policies: Sequence[str]
    recogniser: Recogniser | None
    identities: Path | None
    seed: int
    out: Path


def judge(request: Request, *, tell: Callable[[str], None]) -> None:
    """Replay, print a table, and write report.html, report.json and decisions.jsonl.

    Raises:
        StreamgateError: a video, a model, the device or a table cannot be used.
    """
    need_plots()
    loaded = _defaults() if request.config is None else load_config(request.config)
    configure_logs(LogSection(level="warning"), camera=loaded.config.camera.name)
    labels = None if request.identities is None else read_labels(request.identities)
    embedder = None
    if request.recogniser is not None:
        embedder = OnnxRecogniser(
            request.recogniser.path, request.recogniser.preprocessing, threads=1
        )
    request.out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with _Bar() as bar:
        recordings, loaded, model_hash = asyncio.run(
            record(request.videos, loaded, embedder=embedder, on_frame=bar.show)
        )
    took_s = time.perf_counter() - began
    for recording in recordings:
        _require_video(recording)
    identities = {} if labels is None else track_identities(recordings, labels)
    evaluator = Evaluator(recordings, loaded.config, identities)
    names = [name for name in POLICIES if not request.policies or name in request.policies]
    choices = {
        name: [
            choose(name, recording, loaded.config, seed=request.seed) for recording in recordings
        ]
        for name in names
    }
    evaluations = [evaluator.evaluation(name, choices[name]) for name in names]
    by_people: list[PeopleEvaluation] = []
    if labels is not None:
        judged = PeopleEvaluator(recordings, loaded.config, labels)
        by_people = [judged.evaluation(name, choices[name]) for name in names]
    findings = Findings(
        camera=loaded.config.camera.name,
        model_hash=model_hash,
        config_hash=loaded.config_hash,
        recogniser="the scorer's own embedding" if embedder is None else embedder.path.name,
        recordings=recordings,
        zones=loaded.config.zones,
        choices=dict(choices),
        evaluations=evaluations,
        people=by_people,
        trade=trade(recordings, loaded.config, evaluator) if "gate" in choices else (),
    )
    _write(request.out, findings, loaded, choices.get("gate", []))
    _tell(evaluations, recordings, took_s, tell)
    if by_people:
        _tell_people(by_people, tell)
    if embedder is not None and (doubt := _doubt(recordings, embedder)) is not None:
        tell(f"warning: {doubt}")
    tell(f"report: {request.out / 'report.html'}")


def _require_video(recording: Recording) -> None:
    """A still picture opens as a video of one frame, in which no track lives long enough."""
    if len(recording.moments) < _LEAST_FRAMES:
        raise DataError(
            f"{recording.path}: holds {len(recording.moments)} frame, so it is no video; "
            "pictures are scored with: streamgate score"
        )


def _doubt(recordings: Sequence[Recording], embedder: OnnxRecogniser) -> str | None:
    pictures = (
        seen.picture
        for recording in recordings
        for moment in recording.moments
        for seen in moment.seen
        if seen.face is not None
    )
    crops = [decode_photograph(picture) for picture in islice(pictures, _SHOWN_FACES)]
    return doubt_of(embedder, np.stack(crops)) if crops else None


def _defaults() -> LoadedConfig:
    config = CameraConfig.model_validate(
        {"camera": {"name": "replay"}, "source": {"kind": "file", "path": "replay"}}
    )
    return LoadedConfig(config, hash_config(config), Path("replay"))


def _write(
    out: Path, findings: Findings, loaded: LoadedConfig, gate: list[Choices]
) -> None:  # fmt: skip
    (out / "report.json").write_text(as_json(findings), encoding="utf-8")
    (out / "report.html").write_text(as_html(findings), encoding="utf-8")
    with (out / "decisions.jsonl").open("wb") as file:
        for recording, chosen in zip(findings.recordings, gate, strict=False):
            if chosen.run is not None:
                file.writelines(decision_lines(recording, chosen.run, loaded, findings.model_hash))


def _tell(
    evaluations: Sequence[PolicyEvaluation],
    recordings: Sequence[Recording],
    took_s: float,
    tell: Callable[[str], None],
) -> None:
    table = Table("policy", "regret", "p95", "similarity", "missed", "per track", "after", "scored")
    for evaluation in evaluations:
        table.add_row(
            evaluation.policy,
            f"{evaluation.regret_quality_mean:.2f}",
            f"{evaluation.regret_quality_p95:.2f}",
            f"{evaluation.regret_similarity_track:.4f}",
            f"{evaluation.missed} of {evaluation.tracks}",
            f"{evaluation.forwarded_per_track:.2f}",
            f"{evaluation.emitted_after_median_s:.1f} s",
            f"{100 * evaluation.share_scored:.1f} %",
        )
    Console().print(table)
    seconds = sum(r.moments[-1].at for r in recordings if r.moments)
    tell(
        f"{len(recordings)} videos, {seconds:.1f} s, read and scored in {took_s:.1f} s "
        f"({seconds / max(took_s, 1e-9):.1f} times real time)"
    )


def _tell_people(evaluations: Sequence[PeopleEvaluation], tell: Callable[[str], None]) -> None:
    table = Table("policy", "missed", "surplus", "regret [95 %]", "loss of similarity [95 %]")
    for one in evaluations:
        regret, loss = one.regret_quality, one.loss_similarity
        table.add_row(
            one.policy,
            f"{one.missed} of {one.people}",
            f"{one.surplus}",
            f"{regret.value:.1f} [{regret.low:.1f}, {regret.high:.1f}]",
            f"{loss.value:.3f} [{loss.low:.3f}, {loss.high:.3f}]",
        )
    Console().print(table)
    one = evaluations[0]
    tell(
        f"by people: {one.names} people, purity of tracks {one.purity:.4f}, {one.tracks} tracks, "
        f"{one.false_joins} false joins, {one.false_splits} false splits"
    )


class _Bar:
    """Shows on stderr how far it is; the length of a video is not always known."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), TimeElapsedColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("reading models")

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, path: Path, at: float) -> None:
        """Tell the time within a video."""
        self._progress.update(self._task, description=f"{path.name}: {at:.1f} s")
