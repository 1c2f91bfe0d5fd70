"""What the student sees in one step: clean faces, faces to rank, and augmented ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from streamgate.lab.distill.augment import augment, jitter
from streamgate.lab.distill.objective import augmented_utility, clean_utility
from streamgate.lab.distill.precise_bn import normalised

__all__ = ["Batch", "BatchSources", "Batches", "Embedder"]

Embedder = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""A function from RGB crops uint8 [N, 112, 112, 3] to embeddings of length 1, float32 [N, E]."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The pictures of one step, and the teacher's outputs for them.

    Attributes:
        clean: [N, 3, 112, 112], normalised.
        clean_targets: the teacher's embeddings of them, [N, E].
        judged: R unaltered faces, then S augmented ones, [R+S, 3, 112, 112].
        utility: of the judged, [R+S].
        spoiled_targets: the teacher's embeddings of the augmented, [S, E].
        is_face: whether an augmented one is still a face, 0 or 1, [S].
    """

    clean: Tensor
    clean_targets: Tensor
    judged: Tensor
    utility: Tensor
    spoiled_targets: Tensor
    is_face: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class BatchSources:
    """The crops, and the teacher's outputs for the unaltered crops.

    Attributes:
        images: RGB uint8 [N, 112, 112, 3].
        embeddings, mirrored: the teacher's, for the crops and their mirror images, float32 [N, E].
        identities: empty where unknown, [N].
    """

    images: NDArray[np.uint8]
    embeddings: NDArray[np.float32]
    mirrored: NDArray[np.float32]
    identities: NDArray[np.str_]


class Batches:
    """Draws batches; the same step of the same seed always gives the same pictures.

    Args:
        sources: crops and the teacher's embeddings of them.
        teacher: embeds augmented faces.
        sizes: of a batch: clean, ranked and augmented faces.
        seed: of all random choices.
    """

    def __init__(
        self, sources: BatchSources, teacher: Embedder, *, sizes: tuple[int, int, int], seed: int
    ) -> None:
        self._batch_sources = sources
        self._teacher = teacher
        self._sizes = sizes
        self._seed = seed
        utility = clean_utility(sources.embeddings, sources.identities)
        known = np.isfinite(utility)
        # The utility of faces of people with one picture is unknown: they count as average and are
        # not ranked.
        self._utility = np.where(known, utility, utility[known].mean() if known.any() else 1.0)
        self._rankable = np.flatnonzero(known) if known.any() else np.arange(len(utility))

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches that show each face once among the clean ones."""
        return max(len(self._batch_sources.images) // self._sizes[0], 1)

    def draw(self, step: int) -> Batch:
        """Return the batch of a step."""
        chance = np.random.default_rng((self._seed, 1, step))
        images = self._batch_sources.images
        clean, targets = self._clean(step, chance)
        _, ranked_count, augmented_count = self._sizes
        ranked = chance.choice(self._rankable, ranked_count)
        augmented = chance.integers(len(images), size=augmented_count)
        others = chance.integers(len(images), size=augmented_count)
        results = [
            augment(_maybe_mirrored(images[i], chance), images[j], chance)
            for i, j in zip(augmented, others, strict=True)
        ]
        pictures = np.stack([result.image for result in results])
        answers = self._teacher(pictures)
        is_face = np.array([result.is_face for result in results])
        utility = augmented_utility(
            self._utility[augmented].astype(np.float32),
            (answers * self._batch_sources.embeddings[augmented]).sum(axis=1),
            np.array([result.strength for result in results], dtype=np.float32),
            is_face,
        )
        shown = np.stack([jitter(images[i], chance) for i in ranked])
        return Batch(
            clean=normalised(clean),
            clean_targets=torch.from_numpy(targets),
            judged=normalised(np.concatenate([shown, pictures])),
            utility=torch.from_numpy(
                np.concatenate([self._utility[ranked], utility]).astype(np.float32)
            ),
            spoiled_targets=torch.from_numpy(answers),
            is_face=torch.from_numpy(is_face.astype(np.float32)),
        )

    def _clean(self, step: int, chance: Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        sources, size = self._batch_sources, self._sizes[0]
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng((self._seed, 0, epoch)).permutation(len(sources.images))
        chosen = order[place * size : (place + 1) * size]
        mirror = chance.random(len(chosen)) < 0.5
        pictures = [
            jitter(sources.images[i, :, ::-1] if flip else sources.images[i], chance)
            for i, flip in zip(chosen, mirror, strict=True)
        ]
        targets = np.where(mirror[:, None], sources.mirrored[chosen], sources.embeddings[chosen])
        return np.stack(pictures), targets


def _maybe_mirrored(image: NDArray[np.uint8], chance: Generator) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image[:, ::-1]) if chance.random() < 0.5 else image
