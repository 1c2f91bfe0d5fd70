"""`streamgate export`: the score as a graph for TensorRT, OpenVINO, Triton and onnxruntime."""

from __future__ import annotations

from pathlib import Path

import click

from streamgate.errors import ModelError
from streamgate.lab.export import TOLERANCE, compare, export_onnx, export_safetensors
from streamgate.quality import GROUPS, Group

__all__ = ["command"]


@click.command("export")
@click.option(
    "--group",
    type=click.Choice([str(group) for group in GROUPS]),
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
)
@click.option("--weights", default="default", show_default=True, help="default, or a file.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Default grafiqs-GROUP.onnx, or the weights' name with the suffix .safetensors.",
)
@click.option(
    "--check/--no-check",
    default=True,
    help="Compare an ONNX graph with torch's float64, or the engine.",
)
def command(*, group: str, layout: str, weights: str, output: Path | None, check: bool) -> None:
    """Write a graph from crops (uint8 RGB [N, 112, 112, 3]) to raw [N] and embedding [N, E].

    The format safetensors holds the weights alone: a camera on a CPU reads that without torch.
    """
    if layout == "safetensors":
        output = output or Path(weights).with_suffix(".safetensors")
        export_safetensors(weights, output)
        click.echo(f"{output}: weights as {layout}, {output.stat().st_size:,} bytes")
        return
    output = output or Path(f"grafiqs-{group}.onnx")
    export_onnx(weights, output, Group(group))
    click.echo(f"{output}: {group} as {layout}, {output.stat().st_size:,} bytes")
    if not check:
        return
    agreement = compare(output, weights, Group(group))
    click.echo(
        f"largest difference from {agreement.reference}: raw {agreement.raw:.1e} relative, "
        f"embedding {agreement.embedding:.1e}"
    )
    if max(agreement.raw, agreement.embedding) > TOLERANCE:
        raise ModelError(
            f"{output}: differs from {agreement.reference} by more than {TOLERANCE:g}; not usable"
        )
