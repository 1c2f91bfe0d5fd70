"""`streamgate export`: the score as a graph for TensorRT, OpenVINO, Triton and onnxruntime."""

from __future__ import annotations

from pathlib import Path

import click

from streamgate.cli import options

__all__ = ["command"]


@click.command("export", cls=options.renamed({"--output": "--out"}))
@click.option(
    "--group",
    type=click.Choice(["image", "block1", "block2", "block3", "block4"]),
    default="block4",
    show_default=True,
    help="Where the gradient is taken.",
)
@click.option(
    "--format",
    "layout",
    type=click.Choice(["onnx", "safetensors"]),
    default="onnx",
    show_default=True,
    help="onnx: the graph; safetensors: the weights alone, which a CPU reads without torch.",
)
@options.weights
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Default: grafiqs-GROUP.onnx, or the weights' name with the suffix .safetensors.",
)
@click.option(
    "--check/--no-check",
    default=True,
    help="Compare the graph with torch in float64, or with the engine where torch is missing.",
)
def command(*, group: str, layout: str, weights: str, out: Path | None, check: bool) -> None:
    """Write a graph from crops (uint8 RGB [N, 112, 112, 3]) to raw [N] and embedding [N, E]."""
    from streamgate.errors import ModelError
    from streamgate.lab.export import TOLERANCE, compare, export_onnx, export_safetensors
    from streamgate.quality import Group

    if layout == "safetensors":
        out = out or Path(weights).with_suffix(".safetensors")
        export_safetensors(weights, out)
        click.echo(f"{out}: weights as {layout}, {out.stat().st_size:,} bytes")
        return
    out = out or Path(f"grafiqs-{group}.onnx")
    sha256 = export_onnx(weights, out, Group(group))
    click.echo(f"{out}: {group} as {layout}, {out.stat().st_size:,} bytes")
    click.echo(f"as a model of Triton, call it grafiqs-{sha256[:12]}, which cameras can check")
    if not check:
        return
    agreement = compare(out, weights, Group(group))
    click.echo(
        f"largest difference from {agreement.reference}: raw {agreement.raw:.1e} relative, "
        f"embedding {agreement.embedding:.1e}"
    )
    if max(agreement.raw, agreement.embedding) > TOLERANCE:
        raise ModelError(
            f"{out}: differs from {agreement.reference} by more than {TOLERANCE:g}; not usable"
        )
