"""`streamgate distill`: make a quality network from any recogniser."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from streamgate.cli import options

__all__ = ["RECIPE", "command"]

_FILE = click.Path(path_type=Path)
_DEFAULT_WIDTH = 16
# A test compares them with those of the recipe, whose module brings torch.
RECIPE: dict[str, Any] = {
    "epochs": 12, "learning_rate": 1e-3, "sizes": (64, 16, 36), "seed": 0, "basis_from": 16_384,
}  # fmt: skip


class _Widths(click.ParamType[tuple[int, int, int, int]]):
    """`16`, doubled from stage to stage, or `16/32/64/160`."""

    name = "widths"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int, int]:
        try:
            numbers = [int(part) for part in str(value).split("/")]
        except ValueError:
            numbers = []
        if len(numbers) == 1:
            numbers = [numbers[0] << stage for stage in range(4)]
        if len(numbers) != 4 or min(numbers) < 1:
            self.fail(f"{value!r}: expected one width like 16, or four like 16/32/64/160")
        return numbers[0], numbers[1], numbers[2], numbers[3]


@click.command("distill", cls=options.renamed({"--choose_basis": "--choose-basis"}))
@click.option("--teacher", type=_FILE, required=True, help="The recogniser, an ONNX file.")
@click.option(
    "--teacher-size", type=int, default=112, show_default=True, help="Side of its input, pixels."
)
@click.option(
    "--teacher-color",
    type=click.Choice(["rgb", "bgr"]),
    default="rgb",
    show_default=True,
    help="Order of its colour channels.",
)
@click.option("--teacher-mean", type=float, default=127.5, show_default=True)
@click.option("--teacher-std", type=float, default=127.5, show_default=True)
@click.option(
    "--images",
    type=_FILE,
    required=True,
    help="Folder or tar archive of aligned 112×112 crops; an index.csv in it is used.",
)
@click.option(
    "--split", help="Train only on crops that have this value in the column `split` of the index."
)
@click.option(
    "--held-out",
    help="Examine on crops with this value in the column `split`; without it, one person in ten "
    "is held out.",
)
@click.option(
    "--full-crops",
    is_flag=True,
    help="Train on each crop a second time with its black border filled and, if it is grey, in "
    "colour.",
)
@click.option(
    "--arch",
    type=click.Choice(options.BACKBONES),
    default="iresnet18",
    show_default=True,
    help="Layout of the network.",
)
@click.option(
    "--width",
    type=_Widths(),
    default=str(_DEFAULT_WIDTH),
    show_default=True,
    help="Channels of the first stage, doubled at each further one; or all four, as 16/32/64/160.",
)
@click.option("--start", type=_FILE, help="Weights to start from, of the same or smaller widths.")
@click.option("--epochs", type=click.IntRange(1), default=RECIPE["epochs"], show_default=True)
@click.option("--minutes", type=float, help="Stop after this time, even if epochs are left.")
@click.option("--learning-rate", type=float, default=RECIPE["learning_rate"], show_default=True)
@click.option(
    "--batch",
    "sizes",
    type=(int, int, int),
    default=RECIPE["sizes"],
    show_default=True,
    help="Numbers of clean, ranked and augmented faces in a step.",
)
@click.option("--seed", type=int, default=RECIPE["seed"], show_default=True)
@click.option(
    "--compile/--no-compile",
    "compiled",
    help="Compile the network for faster steps; needs a C++ compiler.",
)
@click.option(
    "--choose-basis",
    type=click.IntRange(0),
    default=RECIPE["basis_from"],
    show_default=True,
    help="Pictures from which the basis of the last statistics is learnt at the end; 0: not at "
    "all.",
)
@click.option("--half/--full", default=True, show_default=True, help="Store kernels as float16.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads; default: all.")
@click.option("--resume", is_flag=True, help="Continue from the last checkpoint.")
@click.option("--license-text", default="not stated", help="Licence, for the model card.")
@click.option("--out", type=_FILE, required=True, help="The .safetensors file to write.")
def command(
    *,
    teacher: Path,
    teacher_size: int,
    teacher_color: Literal["rgb", "bgr"],
    teacher_mean: float,
    teacher_std: float,
    images: Path,
    split: str | None,
    held_out: str | None,
    full_crops: bool,
    arch: str,
    width: tuple[int, int, int, int],
    start: Path | None,
    epochs: int,
    minutes: float | None,
    learning_rate: float,
    sizes: tuple[int, int, int],
    seed: int,
    compiled: bool,
    choose_basis: int,
    half: bool,
    threads: int | None,
    resume: bool,
    license_text: str,
    out: Path,
) -> None:
    """Train a small network to embed as TEACHER does and to score what TEACHER would not recognise.

    Only crops are needed, no labels. If an index.csv names identities, they improve the score.
    Weights, a model card and what is needed to resume are written to --out.
    """
    if out.suffix != ".safetensors":
        raise click.BadParameter("expected a name that ends in .safetensors", param_hint="--out")
    import torch

    from streamgate.lab.crops import split_crops
    from streamgate.lab.distill.border_augment import with_full_crops
    from streamgate.lab.distill.card import card_path
    from streamgate.lab.distill.pipeline import Pipeline
    from streamgate.lab.distill.progress import Bars
    from streamgate.lab.distill.training import Recipe
    from streamgate.lab.recogniser import OnnxRecogniser, Preprocessing
    from streamgate.quality.layout import DEPTHS, Layout

    if threads is not None:
        torch.set_num_threads(threads)
    preprocessing = Preprocessing(teacher_size, teacher_color, teacher_mean, teacher_std)
    recogniser = OnnxRecogniser(teacher, preprocessing, threads=threads)
    taught, examined = split_crops(
        images,
        split=split,
        held_out=held_out,
        seed=seed,
        skip=lambda text: click.echo(f"left out: {text}", err=True),
    )
    if full_crops:
        taught = with_full_crops(taught)
    recipe = Recipe(epochs, minutes, learning_rate, sizes, seed, compiled, choose_basis)
    layout = Layout(DEPTHS[arch], width, width[0], recogniser.embedding_size)
    pipeline = Pipeline(
        recogniser, taught, examined, layout, recipe, start, out, half, license_text
    )
    with Bars() as bars:
        result = pipeline.run(bars.listener(), resume=resume)
    click.echo(
        f"{out}: cosine to the teacher {result.likeness:.3f}, clean against augmented faces AUC "
        f"{result.separation:.3f} on {result.crops} held-out crops; card: {card_path(out)}"
    )
