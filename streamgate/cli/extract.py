"""`streamgate extract`: score files in the published format, for existing evaluation scripts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from streamgate.cli import options

if TYPE_CHECKING:
    from streamgate.quality import Group

__all__ = ["command"]


@click.command(
    "extract", cls=options.renamed({"--image-path": "--images", "--output-dir": "--out"})
)
@click.option(
    "--images",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="Folder of aligned face pictures.",
)
@click.option(
    "--image-extension",
    default="jpg",
    show_default=True,
    help="File extension of the pictures, such as jpg or png.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("output"),
    show_default=True,
    help="Folder for the score files; created if it does not exist.",
)
@click.option(
    "--backbone",
    type=click.Choice(options.BACKBONES),
    help="Layout that the weights must have; default: read from the weights.",
)
@options.weights
@click.option("--gpu", type=click.IntRange(min=0), help="Number of the CUDA device.")
@click.option("--device", help="auto, cpu or cuda:N; default: auto.")
@click.option("--path-replace", help="Part of the paths that is replaced in the score files.")
@click.option("--path-replace-with", default="", help="What replaces it.")
@click.option(
    "--color",
    type=click.Choice(["rgb", "bgr"]),
    help="Order of the colour channels that the network sees: rgb for the default weights, for "
    "others bgr, as in the published scores.",
)
@click.option(
    "--bgr2rgb", is_flag=True, help="The same as --color rgb; the option of the published script."
)
@click.option(
    "--groups",
    default=",".join(options.GROUPS),
    show_default=True,
    help="Groups to score, separated by commas; the earliest one determines the cost.",
)
@options.batch_size
@click.option("--recursive", is_flag=True, help="Read the folders below --images too.")
@click.option(
    "--embeddings",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write paths and embeddings to this .npz file, for streamgate edc.",
)
def command(
    *,
    images: Path,
    image_extension: str,
    out: Path,
    backbone: str | None,
    weights: str,
    gpu: int | None,
    device: str | None,
    path_replace: str | None,
    path_replace_with: str,
    color: Literal["rgb", "bgr"] | None,
    bgr2rgb: bool,
    groups: str,
    batch_size: int | None,
    recursive: bool,
    embeddings: Path | None,
) -> None:
    """Write GraFIQs_<group>.txt with a line "path score" for every picture; lower is better.

    A picture that cannot be read is reported and skipped, and the exit code is then 1.
    """
    if bgr2rgb and color == "bgr":
        raise click.UsageError("--bgr2rgb and --color bgr exclude each other")
    wanted = _groups(groups)
    chosen = _device(gpu, device)
    from streamgate.lab.extract import PathNames, color_for, extract
    from streamgate.lab.pictures import find
    from streamgate.quality import Scorer

    def tell(text: str) -> None:
        click.echo(text, err=True)

    scorer = Scorer.load(weights, backbone=backbone, device=chosen, batch_size=batch_size)
    suffix = "." + image_extension.lower().lstrip(".")
    paths = find([images], suffixes=(suffix,), recursive=recursive)
    done = extract(
        paths,
        scorer,
        wanted,
        out,
        color=color_for(scorer, "rgb" if bgr2rgb else color, tell),
        tell=tell,
        names=PathNames(path_replace, path_replace_with),
        embeddings=embeddings,
    )
    tell(f"{done.scored} of {len(paths)} pictures scored: {out}")
    if done.skipped:
        sys.exit(1)


def _groups(names: str) -> list[Group]:
    wanted = [name.strip() for name in names.split(",")]
    if not set(wanted) <= set(options.GROUPS):
        raise click.BadParameter(
            f"{names!r}: expected some of {','.join(options.GROUPS)}", param_hint="--groups"
        )
    from streamgate.quality import Group

    return [Group(name) for name in wanted]


def _device(gpu: int | None, device: str | None) -> str:
    if gpu is None:
        return device or "auto"
    if device is not None:
        raise click.UsageError("--gpu and --device exclude each other")
    return f"cuda:{gpu}"
