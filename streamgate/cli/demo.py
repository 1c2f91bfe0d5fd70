"""`streamgate demo`: see the gate choose, without a camera."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

__all__ = ["command"]


@click.command("demo")
@click.option("--once", is_flag=True, help="Play the scene once instead of until Ctrl-C.")
@click.option(
    "--seconds",
    type=click.FloatRange(12.0, 600.0),
    default=24.0,
    show_default=True,
    help="Length of the scene.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-out"),
    show_default=True,
    help="Where best shots, contact sheet and summary go.",
)
def command(once: bool, seconds: float, out: Path) -> None:
    """Show the gate at work on a synthetic camera: people walk by, and the best face of each is
    kept.

    Two photographs in the public domain are fetched once and moved through a room. The scene is
    encoded as H.264 and played in real time through the whole pipeline.
    """
    from rich.console import Console

    from streamgate.config import LogSection
    from streamgate.demo.show import show
    from streamgate.telemetry.logs import configure_logs

    console = Console()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"--out {out}: {error.strerror}") from None
    # On a terminal the table tells it all; elsewhere the log does.
    level = "warning" if console.is_terminal else "info"
    configure_logs(LogSection(level=level, format="console"), camera="demo")
    summary = asyncio.run(show(out, seconds=seconds, once=once, console=console))
    console.print(
        f"{summary.frames} frames, {summary.faces} faces, {summary.scored} scored, "
        f"{summary.tracks} tracks, {summary.forwarded} best shots forwarded"
    )
    console.print(
        f"capture to score: median {summary.capture_to_score_p50_ms:.0f} ms, "
        f"99th percentile {summary.capture_to_score_p99_ms:.0f} ms"
    )
    console.print(f"Look at {out / 'contact-sheet.png'} and {out / 'best-shots'}")
    if once and summary.forwarded < summary.visits:
        console.print(f"Only {summary.forwarded} of {summary.visits} visits were forwarded.")
        sys.exit(1)
