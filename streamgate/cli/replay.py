"""`streamgate replay`: what would the gate have done with these videos, and other rules?"""

from __future__ import annotations

import asyncio
import csv
import time
from pathlib import Path
from typing import Literal

import click
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from streamgate.config import CameraConfig, LoadedConfig, LogSection, load_config
from streamgate.config.load import hash_config
from streamgate.errors import DataError
from streamgate.lab.recogniser import OnnxRecogniser, Preprocessing
from streamgate.lab.replay.evaluation import Evaluator, Identities, PolicyEvaluation, trade
from streamgate.lab.replay.plots import need_plots
from streamgate.lab.replay.policies import POLICIES, Choices, choose
from streamgate.lab.replay.recording import Recording
from streamgate.lab.replay.report import Findings, as_html, as_json
from streamgate.lab.replay.runner import decision_lines, record
from streamgate.telemetry.logs import configure_logs

__all__ = ["command"]

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("replay")
@click.argument("videos", nargs=-1, required=True, type=_FILE, metavar="VIDEO...")
@click.option(
    "--config",
    "config_file",
    type=_FILE,
    help="A camera's YAML file, its source apart; default: every setting's default.",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    type=click.Choice(POLICIES),
    help="A rule to compare, may be repeated; default: all.",
)
@click.option("--recogniser", type=_FILE, help="An independent recogniser (ONNX) for similarity.")
@click.option("--recogniser-size", type=int, default=112, show_default=True)
@click.option(
    "--recogniser-color", type=click.Choice(["rgb", "bgr"]), default="rgb", show_default=True
)
@click.option("--recogniser-mean", type=float, default=127.5, show_default=True)
@click.option("--recogniser-std", type=float, default=127.5, show_default=True)
@click.option(
    "--identities", type=_FILE, help="CSV with the columns video, track, identity: who is seen."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random policy.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("replay-out"),
    show_default=True,
    help="Folder for report.html, report.json and decisions.jsonl.",
)
def command(
    *,
    videos: tuple[Path, ...],
    config_file: Path | None,
    policies: tuple[str, ...],
    recogniser: Path | None,
    recogniser_size: int,
    recogniser_color: Literal["rgb", "bgr"],
    recogniser_mean: float,
    recogniser_std: float,
    identities: Path | None,
    seed: int,
    out: Path,
) -> None:
    """Score every face of the VIDEOs once, then judge the gate and other rules by that table.

    Times are those of the files, so the same videos, configuration and weights give the same
    decisions.jsonl to the byte.
    """
    need_plots()
    loaded = _defaults() if config_file is None else load_config(config_file)
    configure_logs(LogSection(level="warning"), camera=loaded.config.camera.name)
    people = _identities(identities)
    preprocessing = Preprocessing(
        recogniser_size, recogniser_color, recogniser_mean, recogniser_std
    )
    embedder = None if recogniser is None else OnnxRecogniser(recogniser, preprocessing, threads=1)
    out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with _Bar() as bar:
        recordings, loaded, model_hash = asyncio.run(
            record(videos, loaded, embedder=embedder, on_frame=bar.show)
        )
    took_s = time.perf_counter() - began
    evaluator = Evaluator(recordings, loaded.config, people)
    names = [name for name in POLICIES if not policies or name in policies]
    choices = {
        name: [choose(name, recording, loaded.config, seed=seed) for recording in recordings]
        for name in names
    }
    evaluations = [evaluator.evaluation(name, choices[name]) for name in names]
    findings = Findings(
        camera=loaded.config.camera.name,
        model_hash=model_hash,
        config_hash=loaded.config_hash,
        recogniser="the scorer's own embedding" if recogniser is None else recogniser.name,
        recordings=recordings,
        choices=dict(choices),
        evaluations=evaluations,
        trade=trade(recordings, loaded.config, evaluator) if "gate" in choices else (),
    )
    _write(out, findings, loaded, choices.get("gate", []))
    _tell(evaluations, recordings, took_s)
    click.echo(f"report: {out / 'report.html'}")


def _defaults() -> LoadedConfig:
    config = CameraConfig.model_validate(
        {"camera": {"name": "replay"}, "source": {"kind": "file", "path": "replay"}}
    )
    return LoadedConfig(config, hash_config(config), Path("replay"))


def _identities(path: Path | None) -> Identities:
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {
                (Path(row["video"]).name, int(row["track"])): row["identity"]
                for row in csv.DictReader(file)
            }
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except (KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: expected a CSV with the columns video, track and identity ({error!r})"
        ) from None


def _write(
    out: Path, findings: Findings, loaded: LoadedConfig, gate: list[Choices]
) -> None:  # fmt: skip
    (out / "report.json").write_text(as_json(findings), encoding="utf-8")
    (out / "report.html").write_text(as_html(findings), encoding="utf-8")
    with (out / "decisions.jsonl").open("wb") as file:
        for recording, chosen in zip(findings.recordings, gate, strict=False):
            if chosen.run is not None:
                file.writelines(decision_lines(recording, chosen.run, loaded, findings.model_hash))


def _tell(evaluations: list[PolicyEvaluation], recordings: list[Recording], took_s: float) -> None:
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
    click.echo(
        f"{len(recordings)} videos, {seconds:.1f} s, read and scored in {took_s:.1f} s "
        f"({seconds / max(took_s, 1e-9):.1f} times real time)"
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
