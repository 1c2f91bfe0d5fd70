"""`streamgate replay`: what the gate, and simpler rules, would have done with these videos."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from streamgate.cli import options

__all__ = ["POLICIES", "command"]

POLICIES = (
    "gate", "first", "last", "largest", "detector", "sharpest", "frigate", "random", "oracle",
)  # fmt: skip
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("replay")
@click.argument("videos", nargs=-1, required=True, type=_FILE, metavar="VIDEO...")
@click.option(
    "--config",
    "config_file",
    type=_FILE,
    help="A camera's configuration, of which the source is ignored; default: all defaults.",
)
@click.option(
    "--policy",
    "policies",
    multiple=True,
    type=click.Choice(POLICIES),
    help="A rule to compare; may be given several times; default: all.",
)
@options.recogniser("An independent recogniser (ONNX) for similarity.")
@click.option(
    "--identities",
    type=_FILE,
    help="CSV file that says who is seen, to judge by people too: columns video, track, identity; "
    "or video, begin_s, end_s, left_px, right_px, identity.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random rule.")
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
    """Score every face of the VIDEOs once, then compare the gate with other rules by these scores.

    Times are those of the files, so the same videos, configuration and weights give the same
    decisions.jsonl, byte for byte.
    """
    from streamgate.lab.recogniser import Preprocessing
    from streamgate.lab.replay.judge import Recogniser, Request, judge

    preprocessing = Preprocessing(
        recogniser_size, recogniser_color, recogniser_mean, recogniser_std
    )
    request = Request(
        videos=videos,
        config=config_file,
        policies=policies,
        recogniser=None if recogniser is None else Recogniser(recogniser, preprocessing),
        identities=identities,
        seed=seed,
        out=out,
    )
    judge(request, tell=click.echo)
