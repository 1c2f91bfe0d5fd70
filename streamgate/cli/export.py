"""`streamgate export`: the score as a graph for TensorRT, OpenVINO, Triton and onnxruntime."""

from __future__ import annotations

from pathlib import Path

import click

from streamgate.cli import options

__all__ = ["command"]


@click.command("export", cls=options.renamed({"--output": "--out"}))
@click.option(
    "--group",
    type=click.Choice(["block4"]),
    default="block4",
    show_default=True,
    help="Only block4 has a closed form; the others need a backward pass, which ONNX lacks.",
)
@click.option("--format", "layout", type=click.Choice(["onnx"]), default="onnx", show_default=True)
@options.weights
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("grafiqs-block4.onnx"),
    show_default=True,
)
@click.option("--check/--no-check", default=True, help="Compare it with the engine afterwards.")
def command(*, group: str, layout: str, weights: str, out: Path, check: bool) -> None:
    """Write a graph from crops (uint8 RGB [N, 112, 112, 3]) to raw [N] and embedding [N, E]."""
    from streamgate.errors import ModelError
    from streamgate.lab.export import TOLERANCE, compare, export_onnx

    export_onnx(weights, out)
    click.echo(f"{out}: {group} as {layout}, {out.stat().st_size:,} bytes")
    if not check:
        return
    agreement = compare(out, weights)
    click.echo(
        f"largest difference from the engine: raw {agreement.raw:.1e} relative, "
        f"embedding {agreement.embedding:.1e}"
    )
    if max(agreement.raw, agreement.embedding) > TOLERANCE:
        raise ModelError(f"{out}: differs from the engine by more than {TOLERANCE:g}; not usable")
