"""`streamgate extract`: score files in the published format, for existing evaluation scripts."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

import click
import numpy as np
from numpy.typing import NDArray

from streamgate.cli.pictures import Picture, find, read, watched
from streamgate.lab.resize import resized
from streamgate.quality import GROUPS, Group, GroupScores, Scorer
from streamgate.quality.layout import DEPTHS

__all__ = ["command"]


@click.command("extract")
@click.option(
    "--image-path",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="Folder of aligned face pictures.",
)
@click.option(
    "--image-extension", default="jpg", show_default=True, help="Of the pictures, e.g. jpg, png."
)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("output"),
    show_default=True,
    help="Folder for the score files; made where it does not exist.",
)
@click.option(
    "--backbone",
    type=click.Choice(list(DEPTHS)),
    help="Layout that the weights must have; read from the weights where it is not given.",
)
@click.option(
    "--weights",
    default="default",
    show_default=True,
    help="default, or a .pth or .safetensors file.",
)
@click.option("--gpu", type=click.IntRange(min=0), help="Number of the CUDA device.")
@click.option("--device", help="auto, cpu or cuda:N; auto where neither this nor --gpu is given.")
@click.option("--path-replace", help="Part of the paths that is replaced in the score files.")
@click.option("--path-replace-with", default="", help="What replaces it.")
@click.option(
    "--bgr2rgb",
    is_flag=True,
    help="Turn OpenCV's BGR into RGB before scoring; without it the network sees BGR, as in the "
    "published scores. The default weights want RGB.",
)
@click.option(
    "--groups",
    default=",".join(GROUPS),
    show_default=True,
    help="Which scores, separated by commas; the earliest decides what they cost.",
)
@click.option("--batch-size", type=click.IntRange(min=1), help="Pictures scored at once.")
@click.option("--recursive", is_flag=True, help="Read the folders below --image-path too.")
@click.option(
    "--embeddings",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write paths and embeddings to this .npz file, for streamgate edc.",
)
def command(
    *,
    image_path: Path,
    image_extension: str,
    output_dir: Path,
    backbone: str | None,
    weights: str,
    gpu: int | None,
    device: str | None,
    path_replace: str | None,
    path_replace_with: str,
    bgr2rgb: bool,
    groups: str,
    batch_size: int | None,
    recursive: bool,
    embeddings: Path | None,
) -> None:
    """Write GraFIQs_<group>.txt with a line "path score" for every picture; lower is better.

    A picture that cannot be read is reported and skipped, and the exit code is then 1.
    """
    wanted = _groups(groups)
    scorer = Scorer.load(
        weights, backbone=backbone, device=_device(gpu, device), batch_size=batch_size
    )
    suffix = "." + image_extension.lower().lstrip(".")
    paths = find([image_path], suffixes=(suffix,), recursive=recursive)
    names = _Names(path_replace, path_replace_with)
    count = 0
    collected: list[NDArray[np.float32]] = []
    written: list[str] = []
    with ExitStack() as stack:
        output_dir.mkdir(parents=True, exist_ok=True)
        files = {
            group: stack.enter_context(_score_file(output_dir, group).open("w", encoding="utf-8"))
            for group in wanted
        }
        pictures = watched(read(paths), len(paths), "scoring")
        for batch in _batches(pictures, scorer.batch_size):
            scores = scorer.score_groups(_crops(batch, bgr2rgb=bgr2rgb), wanted)
            labels = [names.of(picture.path) for picture in batch]
            _write(files, labels, scores)
            count += len(batch)
            if embeddings is not None:
                collected.append(scores.embedding)
                written += labels
    if embeddings is not None:
        joined = np.concatenate(collected) if collected else np.empty((0, scorer.embedding_size))
        np.savez(embeddings, paths=np.array(written), embeddings=joined)
    click.echo(f"{count} of {len(paths)} pictures scored: {output_dir}", err=True)
    if count < len(paths):
        sys.exit(1)


@dataclass(frozen=True, slots=True)
class _Names:
    """How paths are called in the score files."""

    replaced: str | None
    replacement: str

    def of(self, path: Path) -> str:
        # Wherever it stands, as in the published script, though it is mostly a prefix.
        return str(path).replace(self.replaced, self.replacement) if self.replaced else str(path)


def _groups(names: str) -> list[Group]:
    try:
        return [Group(name.strip()) for name in names.split(",")]
    except ValueError:
        raise click.BadParameter(
            f"{names!r}: expected some of {','.join(GROUPS)}", param_hint="--groups"
        ) from None


def _device(gpu: int | None, device: str | None) -> str:
    if gpu is None:
        return device or "auto"
    if device is not None:
        raise click.UsageError("--gpu and --device exclude each other")
    return f"cuda:{gpu}"


def _score_file(folder: Path, group: Group) -> Path:
    return folder / f"GraFIQs_{group}.txt"


def _batches(pictures: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    readable = (picture for picture in pictures if picture.image is not None)
    while batch := list(islice(readable, size)):
        yield batch


def _crops(batch: list[Picture], *, bgr2rgb: bool) -> NDArray[np.uint8]:
    crops = np.stack([resized(picture.image) for picture in batch if picture.image is not None])
    # Pictures are RGB here; the published way scores them as OpenCV reads them unless told not to.
    return crops if bgr2rgb else crops[..., ::-1]


def _write(files: Mapping[Group, TextIO], labels: list[str], scores: GroupScores) -> None:
    for group, file in files.items():
        raw = scores.raw[group].tolist()
        file.writelines(f"{label} {value!r}\n" for label, value in zip(labels, raw, strict=True))
