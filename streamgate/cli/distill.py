"""`streamgate distill`: make a quality network out of any recogniser."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from streamgate.lab.crops import CropSet, hold_out, read_crops
from streamgate.lab.distill.border_augment import with_full_crops
from streamgate.lab.distill.card import card_path
from streamgate.lab.distill.pipeline import Listener, Pipeline
from streamgate.lab.distill.training import Progress as Step
from streamgate.lab.distill.training import Recipe
from streamgate.lab.recogniser import OnnxRecogniser, Preprocessing
from streamgate.quality.layout import DEPTHS, Layout

__all__ = ["command"]

_FILE = click.Path(path_type=Path)
_DEFAULT_WIDTH = 16
_DEFAULTS = Recipe()


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


@click.command("distill")
@click.option("--teacher", type=_FILE, required=True, help="The recogniser, an ONNX file.")
@click.option("--teacher-size", type=int, default=112, show_default=True, help="Its input, pixels.")
@click.option(
    "--teacher-color",
    type=click.Choice(["rgb", "bgr"]),
    default="rgb",
    show_default=True,
    help="The order of its channels.",
)
@click.option("--teacher-mean", type=float, default=127.5, show_default=True)
@click.option("--teacher-std", type=float, default=127.5, show_default=True)
@click.option(
    "--images",
    type=_FILE,
    required=True,
    help="Folder or tar archive of aligned 112×112 crops; an index.csv in it is used.",
)
@click.option("--split", help="Teach only with this `split` of the index.")
@click.option(
    "--held-out",
    help="Examine on this `split` of the index; without it, one person in ten is held out.",
)
@click.option(
    "--full-crops",
    is_flag=True,
    help="Teach each crop once more with its black border filled and, where it is grey, in colour.",
)
@click.option(
    "--arch",
    type=click.Choice(list(DEPTHS)),
    default="iresnet18",
    show_default=True,
    help="Depths of the network.",
)
@click.option(
    "--width",
    type=_Widths(),
    default=str(_DEFAULT_WIDTH),
    show_default=True,
    help="Channels of stage 1, doubled at each next one, or all four as 16/32/64/160.",
)
@click.option("--start", type=_FILE, help="Weights to start from, as wide or narrower.")
@click.option("--epochs", type=click.IntRange(1), default=_DEFAULTS.epochs, show_default=True)
@click.option("--minutes", type=float, help="Stop after this time, epochs left or not.")
@click.option("--learning-rate", type=float, default=_DEFAULTS.learning_rate, show_default=True)
@click.option(
    "--batch",
    "sizes",
    type=(int, int, int),
    default=_DEFAULTS.sizes,
    show_default=True,
    help="Clean, ranked and augmented faces of a step.",
)
@click.option("--seed", type=int, default=_DEFAULTS.seed, show_default=True)
@click.option("--compile/--no-compile", "compiled", help="Faster steps; needs a C++ compiler.")
@click.option(
    "--choose_basis",
    type=click.IntRange(0),
    default=_DEFAULTS.basis_from,
    show_default=True,
    help="Pictures by which the basis of the last statistics is learnt at the end; 0: none.",
)
@click.option("--half/--full", default=True, show_default=True, help="Store kernels as float16.")
@click.option("--threads", type=click.IntRange(1), help="Of the processor; default: all.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint.")
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
    """Teach a small network to embed as TEACHER does, and to know faces that it would not know.

    Only crops are needed, no labels; where an index.csv names identities, they sharpen the idea of
    a useful face. Weights, a model card and what is needed to resume are written at --out.
    """
    if out.suffix != ".safetensors":
        raise click.BadParameter("expected a name that ends in .safetensors", param_hint="--out")
    if threads is not None:
        torch.set_num_threads(threads)
    preprocessing = Preprocessing(teacher_size, teacher_color, teacher_mean, teacher_std)
    recogniser = OnnxRecogniser(teacher, preprocessing, threads=threads)
    taught, examined = _crops(images, split, held_out, seed)
    if full_crops:
        taught = with_full_crops(taught)
    recipe = Recipe(epochs, minutes, learning_rate, sizes, seed, compiled, choose_basis)
    layout = Layout(DEPTHS[arch], width, width[0], recogniser.embedding_size)
    pipeline = Pipeline(
        recogniser, taught, examined, layout, recipe, start, out, half, license_text
    )
    with _Bars() as bars:
        result = pipeline.run(bars.listener(), resume=resume)
    click.echo(
        f"{out}: cosine to the teacher {result.likeness:.3f}, clean against augmented faces AUC "
        f"{result.separation:.3f} on {result.crops} held-out crops; card: {card_path(out)}"
    )


def _crops(
    images: Path, split: str | None, held_out: str | None, seed: int
) -> tuple[CropSet, CropSet]:
    taught = read_crops(images, split=split)
    if held_out is not None:
        return taught, read_crops(images, split=held_out)
    return hold_out(taught, 0.1, seed)


class _Bars:
    """Progress bars on stderr: the teacher's answers, the training, the statistics basis."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._asking = self._progress.add_task("teacher", total=1.0, note="")
        self._training = self._progress.add_task("training", total=1.0, note="")
        self._attuning = self._progress.add_task("choosing_basis", total=1.0, note="")

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def listener(self) -> Listener:
        """Return what moves the bars."""
        return Listener(asked=self._asked, trained=self._trained, basis_chosen=self._basis_chosen)

    def _basis_chosen(self, step: int, loss: float) -> None:
        done = (step + 1) / _DEFAULTS.attuning_steps
        self._progress.update(self._attuning, completed=done, note=f"loss {loss:.3f}")

    def _asked(self, done: int, total: int) -> None:
        self._progress.update(self._asking, completed=done / total)

    def _trained(self, step: Step) -> None:
        losses = ", ".join(f"{name} {loss:.3f}" for name, loss in step.losses.items())
        note = f"epoch {step.epoch + 1}, step {step.step}: {losses}"
        self._progress.update(self._asking, completed=1.0)
        self._progress.update(self._training, completed=step.share, note=note)
