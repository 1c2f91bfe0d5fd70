"""A distillation from end to end, on a teacher of two layers and a handful of crops."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from streamgate.cli.distill import command
from streamgate.errors import ModelError
from streamgate.lab.crops import CropSet, hold_out, read_crops
from streamgate.lab.distill.batches import Batch, Batches
from streamgate.lab.recogniser import OnnxRecogniser, Preprocessing
from streamgate.quality.scorer import Scorer
from streamgate.quality.weights import load_weights
from tests.lab.distill.teachers import EMBEDDING_SIZE, write_crops, write_teacher

TINY = (
    "--width",
    "4/4/6/8",
    "--batch",
    "6",
    "2",
    "4",
    "--teacher-size",
    "28",
    "--threads",
    "1",
    "--choose_basis",
    "64",
)


class PowerCutError(Exception):
    """What interrupts a training in a test."""


def run(folder: Path, *extra: str) -> Result:
    """Run the command on the teacher and the crops in `folder`, which are made if missing."""
    if not (folder / "teacher.onnx").exists():
        write_teacher(folder)
        write_crops(folder / "crops", people=8, pictures_each=3)
    files = ("--teacher", folder / "teacher.onnx", "--images", folder / "crops")
    return CliRunner().invoke(
        command,
        [*map(str, files), "--out", str(folder / "student.safetensors"), *TINY, *extra],
        catch_exceptions=False,
    )


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a distillation has ended."""
    folder = tmp_path_factory.mktemp("distilled")
    result = run(folder, "--epochs", "2", "--license-text", "only for the test")
    assert result.exit_code == 0, result.output
    return folder


def test_the_student_can_be_loaded_and_embeds_as_large_as_its_teacher(distilled: Path) -> None:
    """What distill writes is what the scorer loads."""
    scorer = Scorer.load(distilled / "student.safetensors")
    scores = scorer.score(read_crops(distilled / "crops").images)
    assert scores.embedding.shape == (24, EMBEDDING_SIZE)
    assert np.all(np.isfinite(scores.raw))


def test_without_attuning_the_statistics_are_whitened(tmp_path: Path) -> None:
    """At the last BatchNorm, the one that block4 reads, every channel has variance 1 then."""
    run(tmp_path, "--epochs", "1", "--choose_basis", "0")
    variance = load_weights(tmp_path / "student.safetensors").tensors["bn2.running_var"]
    assert np.allclose(variance, np.ones_like(variance), atol=1e-5)


def test_crops_can_be_taught_once_more_without_their_borders(tmp_path: Path) -> None:
    """--full-crops doubles what is taught."""
    run(tmp_path, "--epochs", "1", "--choose_basis", "0")
    plain = (tmp_path / "student.card.md").read_text(encoding="utf-8")
    run(tmp_path, "--epochs", "1", "--choose_basis", "0", "--full-crops")
    full = (tmp_path / "student.card.md").read_text(encoding="utf-8")
    assert _taught(full) == 2 * _taught(plain)


def _taught(card: str) -> int:
    found = re.search(r"crops, ([0-9,]+) crops", card)
    assert found is not None
    return int(found[1].replace(",", ""))


@pytest.mark.parametrize(
    "said",
    ["teacher.onnx", "crops", "only for the test", "AUC", "sha256", "detector"],
)
def test_the_card_says_what_it_is_made_of(distilled: Path, said: str) -> None:
    """The card names teacher, data, licence, figures, hash and what it is not for."""
    assert said in (distilled / "student.card.md").read_text(encoding="utf-8")


def test_the_same_seed_gives_the_same_weights(distilled: Path, tmp_path: Path) -> None:
    """A distillation can be repeated."""
    run(tmp_path, "--epochs", "2")
    first, second = (
        load_weights(folder / "student.safetensors").tensors for folder in (distilled, tmp_path)
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_resumed_training_ends_where_an_unbroken_one_does(
    distilled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in its second epoch and resumed: the weights are the same."""
    draw = Batches.draw

    def interrupted(self: Batches, step: int) -> Batch:
        if step == self.steps_per_epoch + 1:
            raise PowerCutError
        return draw(self, step)

    monkeypatch.setattr(Batches, "draw", interrupted)
    with pytest.raises(PowerCutError):
        run(tmp_path, "--epochs", "2")
    monkeypatch.setattr(Batches, "draw", draw)
    assert run(tmp_path, "--epochs", "2", "--resume").exit_code == 0
    first, second = (
        load_weights(folder / "student.safetensors").tensors for folder in (distilled, tmp_path)
    )
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_training_makes_the_student_like_its_teacher(distilled: Path) -> None:
    """After sixty steps it embeds more like the teacher than after six."""
    before = Scorer.load(distilled / "student.safetensors")
    run(distilled, "--epochs", "20")
    after = Scorer.load(distilled / "student.safetensors")
    crops = read_crops(distilled / "crops").images
    seen = Preprocessing(size=28)
    answers = OnnxRecogniser(distilled / "teacher.onnx", seen, threads=1)(crops)
    likeness = [(s.score(crops).embedding * answers).sum(axis=1).mean() for s in (before, after)]
    assert likeness[1] > likeness[0] + 0.05


def test_growing_from_wider_weights_is_refused(distilled: Path) -> None:
    """--start takes weights that are as wide or narrower, and says so."""
    with pytest.raises(ModelError, match="same or smaller widths"):
        run(distilled, "--width", "2/2/2/2", "--start", str(distilled / "student.safetensors"))


def test_nobody_is_both_taught_and_examined() -> None:
    """People are held out whole."""
    names = tuple(f"{i}.jpg" for i in range(40))
    people = tuple(f"person{i // 4}" for i in range(40))
    images = np.zeros((40, 112, 112, 3), dtype=np.uint8)
    crops = CropSet(images, names, {"identity": people}, "crops")
    taught, held = hold_out(crops, 0.3, seed=0)
    assert len(taught) + len(held) == 40
    assert not set(taught.identities) & set(held.identities)
