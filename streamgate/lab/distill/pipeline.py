"""A whole distillation: run the teacher, train, finalize, examine, write weights and card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from streamgate.errors import ModelError
from streamgate.lab.crops import CropSet
from streamgate.lab.distill.batches import Batches, BatchSources
from streamgate.lab.distill.card import Card, card_path
from streamgate.lab.distill.evaluation import Evaluation, evaluate
from streamgate.lab.distill.finalize import finalize
from streamgate.lab.distill.statistics_basis import choose_basis
from streamgate.lab.distill.training import Progress, Recipe, Training
from streamgate.lab.distill.widen import widen
from streamgate.lab.recogniser import OnnxRecogniser
from streamgate.quality.iresnet import IResNet
from streamgate.quality.layout import Layout
from streamgate.quality.scorer import Scorer
from streamgate.quality.weights import load_weights

__all__ = ["Listener", "Pipeline"]

_ASKED_AT_ONCE = 256
_CHECKPOINT = "checkpoint.pt"
_ANSWERS = "teacher.npz"
# Numbers of unaltered and augmented faces, and a seed that no training of the same recipe uses.
_JUDGED_AT_ONCE = (64, 192)
_ATTUNING_SEED = 7


@dataclass(frozen=True, slots=True)
class Listener:
    """Callbacks that report progress.

    Attributes:
        asked: called with the number of crops embedded so far and of all.
        trained: called after each step.
        basis_chosen: called after each step of choosing the statistics basis, with its loss.
    """

    asked: Callable[[int, int], None]
    trained: Callable[[Progress], None]
    basis_chosen: Callable[[int, float], None] = lambda _step, _loss: None


@dataclass(frozen=True, slots=True, eq=False)
class Pipeline:
    """The inputs of a distillation.

    Attributes:
        teacher: the recogniser to imitate.
        taught: crops to train on.
        held_out: crops of other people, to examine on.
        layout: of the student.
        recipe: how to train.
        start: weights to start from, with the same depths and the same or smaller widths.
        out: the `.safetensors` file to write; a folder beside it holds what is needed to resume.
        half: store kernels as float16.
        license_text: the licence that the card names.
    """

    teacher: OnnxRecogniser
    taught: CropSet
    held_out: CropSet
    layout: Layout
    recipe: Recipe
    start: Path | None
    out: Path
    half: bool
    license_text: str

    @property
    def folder(self) -> Path:
        """The folder of the checkpoint and the teacher's embeddings."""
        return self.out.with_suffix(".training")

    def run(self, listener: Listener, *, resume: bool) -> Evaluation:
        """Run the pipeline, or the rest of it after a checkpoint.

        Raises:
            ModelError: there is nothing to resume, or `start` does not fit.
        """
        with _small_numbers_as_zero():
            return self._run(listener, resume=resume)

    def _run(self, listener: Listener, *, resume: bool) -> Evaluation:
        torch.manual_seed(self.recipe.seed)
        self.folder.mkdir(parents=True, exist_ok=True)
        network = IResNet(self.layout)
        if self.start is not None:
            start = load_weights(self.start)
            widen(network, start.build().state_dict(), start.layout)
        sources = self._batch_sources(listener)
        sizes, seed = self.recipe.sizes, self.recipe.seed
        batches = Batches(sources, self.teacher, sizes=sizes, seed=seed)
        training = Training(network, batches, self.recipe, self.folder / _CHECKPOINT)
        if resume:
            training.resume()
        training.run(listener.trained)
        finalize(
            training.average, self.taught.images, self.out,
            half=self.half, choosing_basis=partial(self._choose_basis, sources, listener),
        )  # fmt: skip
        scorer = Scorer.load(self.out, calibration=None)
        evaluation = evaluate(scorer, self.teacher, self.held_out)
        card = Card(
            weights=self.out,
            layout=self.layout,
            recipe=self.recipe,
            teacher=self.teacher,
            taught=self.taught,
            start=self.start,
            steps=training.step,
            minutes=training.seconds / 60,
            evaluation=evaluation,
            license_text=self.license_text,
        )
        card_path(self.out).write_text(card.text(), encoding="utf-8")
        return evaluation

    def _choose_basis(self, sources: BatchSources, listener: Listener, network: IResNet) -> None:
        """Learn the basis of the last statistics from pictures that training did not use."""
        recipe = self.recipe
        if not recipe.basis_from:
            return
        sizes, seed = _JUDGED_AT_ONCE, recipe.seed + _ATTUNING_SEED
        batches = Batches(sources, self.teacher, sizes=(1, *sizes), seed=seed)
        drawn = (batches.draw(step) for step in range(-(-recipe.basis_from // sum(sizes))))
        choose_basis(
            network, self.taught.images, ((batch.judged, batch.utility) for batch in drawn),
            steps=recipe.attuning_steps, seed=seed, report=listener.basis_chosen,
        )  # fmt: skip

    def _batch_sources(self, listener: Listener) -> BatchSources:
        """Return the teacher's embeddings, from the folder if the same teacher made those there."""
        images = self.taught.images
        key = hashlib.sha256(self.teacher.sha256.encode())
        key.update(repr(self.teacher.preprocessing).encode())
        key.update(images.tobytes())
        path = self.folder / _ANSWERS
        answers = _stored(path, key.hexdigest())
        if answers is None:
            answers = self._ask(images, listener)
            np.savez(path, key=np.array(key.hexdigest()), answers=answers)
        clean, mirrored = np.split(answers, 2)
        return BatchSources(images, clean, mirrored, self.taught.identities)

    def _ask(self, images: NDArray[np.uint8], listener: Listener) -> NDArray[np.float32]:
        """Embed the crops, then their mirrors, [2N, E]."""
        parts = []
        for done, pictures in ((0, images), (len(images), images[:, :, ::-1])):
            for first in range(0, len(images), _ASKED_AT_ONCE):
                crops = pictures[first : first + _ASKED_AT_ONCE]
                parts.append(self.teacher(crops))
                listener.asked(done + first + len(crops), 2 * len(images))
        return np.concatenate(parts)


@contextmanager
def _small_numbers_as_zero() -> Iterator[None]:
    """Round denormal numbers to zero: training creates them, and they are a hundredfold slower."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _stored(path: Path, key: str) -> NDArray[np.float32] | None:
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["key"]) != key:
                return None
            return np.asarray(stored["answers"], dtype=np.float32)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: damaged ({error}); delete it") from error
