"""The training loop: resumable at every epoch, and reproducible with the same seed.

Clean faces pass in training mode, and the running statistics come from them alone. Augmented ones
pass in evaluation mode, because statistics that include blur would no longer reveal it. The result
is a moving average of the weights.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from streamgate.errors import ModelError
from streamgate.lab.distill.batches import Batch, Batches
from streamgate.lab.distill.objective import (
    cosine_loss,
    log_raw,
    ranking_loss,
    similarity_loss,
)
from streamgate.quality.iresnet import IResNet
from streamgate.quality.layout import Layout

__all__ = ["Progress", "Recipe", "Training"]

_SIMILARITY_WEIGHT = 2.0
_AUGMENTED_WEIGHT = 0.3
_RANKING_WEIGHT = 0.3
_WEIGHT_DECAY = 0.05
_WARM_UP_STEPS = 100
_LARGEST_GRADIENT = 5.0
_AVERAGING = 0.998
_STATISTICS_MOMENTUM = 0.05


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: how often each face is shown among the clean ones.
        minutes: stop after this time even if epochs are left; the learning rate falls accordingly.
        learning_rate: its peak.
        sizes: of a step: clean, ranked and augmented faces.
        seed: of all random choices.
        compiled: compile the network first, which needs a C++ compiler, takes a minute and makes
            each step 1.7 times as fast (measured on two cores).
        basis_from: pictures from which the basis of the last statistics is learnt afterwards; with
            0 the network is only whitened.
        attuning_steps: of learning the basis.
    """

    epochs: int = 12
    minutes: float | None = None
    learning_rate: float = 1e-3
    sizes: tuple[int, int, int] = (64, 16, 36)
    seed: int = 0
    compiled: bool = False
    basis_from: int = 16_384
    attuning_steps: int = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """The progress of the training.

    Attributes:
        step: steps done.
        share: of the whole training, 0-1.
        epoch: epochs done.
        losses: the parts of the loss of this step.
    """

    step: int
    share: float
    epoch: int
    losses: Mapping[str, float]


class Training:
    """Trains a student.

    Args:
        network: the student.
        batches: the pictures that it sees.
        recipe: how to train.
        checkpoint: file that is written after every epoch.

    Attributes:
        average: moving average of the student; its statistics must be computed afterwards.
        step: steps done.
        seconds: time spent, over all resumptions.
    """

    def __init__(
        self, network: IResNet, batches: Batches, recipe: Recipe, checkpoint: Path
    ) -> None:
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        self.step = 0
        self.seconds = 0.0
        self._network = network
        self._lessons = batches
        self._recipe = recipe
        self._checkpoint = checkpoint
        # The scale of an embedding's dimensions is lost by its normalisation to length 1.
        network.features.weight.requires_grad_(False)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.momentum = _STATISTICS_MOMENTUM
        self._format = _memory_format(network.layout)
        network.to(memory_format=self._format)
        student = _Student(network)
        self._student = cast(nn.Module, torch.compile(student)) if recipe.compiled else student
        self._optimizer = _optimizer(network, recipe.learning_rate)

    def resume(self) -> None:
        """Continue from the checkpoint.

        Raises:
            ModelError: there is none, or it belongs to another network.
        """
        try:
            state = torch.load(self._checkpoint, weights_only=True)
            self._network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self._optimizer.load_state_dict(state["optimizer"])
        except FileNotFoundError:
            raise ModelError(
                f"{self._checkpoint}: nothing to resume; run without --resume"
            ) from None
        except (OSError, RuntimeError, KeyError, ValueError) as error:
            raise ModelError(f"{self._checkpoint}: cannot be resumed: {error}") from error
        self.step = int(state["step"])
        self.seconds = float(state["seconds"])

    def run(self, report: Callable[[Progress], None]) -> None:
        """Train to the end, calling `report` after each step."""
        per_epoch = self._lessons.steps_per_epoch
        while (share := self._share()) < 1:
            started = time.monotonic()
            losses = self._learn(self._lessons.draw(self.step), self._rate(share))
            self.step += 1
            self.seconds += time.monotonic() - started
            if self.step % per_epoch == 0:
                self._save()
            report(Progress(self.step, self._share(), self.step // per_epoch, losses))
        self._save()

    def _share(self) -> float:
        steps = self.step / (self._recipe.epochs * self._lessons.steps_per_epoch)
        if self._recipe.minutes is None:
            return min(steps, 1.0)
        return min(max(steps, self.seconds / 60 / self._recipe.minutes), 1.0)

    def _rate(self, share: float) -> float:
        warm = min(1.0, (self.step + 1) / _WARM_UP_STEPS)
        return self._recipe.learning_rate * warm * (0.5 * (1 + math.cos(math.pi * share)) + 0.002)

    def _learn(self, batch: Batch, rate: float) -> Mapping[str, float]:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        network = self._network.train()
        _, embeddings = self._student(batch.clean.contiguous(memory_format=self._format))
        likeness = cosine_loss(embeddings, batch.clean_targets).mean()
        similarity = similarity_loss(embeddings, batch.clean_targets)
        torch.autograd.backward(likeness + _SIMILARITY_WEIGHT * similarity)
        network.eval()
        features, embeddings = self._student(batch.judged.contiguous(memory_format=self._format))
        augmented = embeddings[-len(batch.spoiled_targets) :]
        likeness_spoiled = (cosine_loss(augmented, batch.spoiled_targets) * batch.is_face).mean()
        ranking = ranking_loss(log_raw(features, network.bn2), batch.utility)
        torch.autograd.backward(_AUGMENTED_WEIGHT * likeness_spoiled + _RANKING_WEIGHT * ranking)
        nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
        self._optimizer.step()
        self._average()
        losses = {
            "likeness": likeness,
            "similarity": similarity,
            "augmented likeness": likeness_spoiled,
            "ranking": ranking,
        }
        return {name: loss.item() for name, loss in losses.items()}

    @torch.no_grad()
    def _average(self) -> None:
        # At first the average follows closely, or it would retain the random start.
        share = 1 - min(_AVERAGING, (self.step + 1) / (self.step + 10))
        pairs = zip(self.average.parameters(), self._network.parameters(), strict=True)
        for kept, current in pairs:
            kept.lerp_(current, share)

    def _save(self) -> None:
        state: dict[str, Any] = {
            "network": self._network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        # A crash while writing must not destroy the previous checkpoint.
        partial = self._checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self._checkpoint)


class _Student(nn.Module):
    """The network with the two outputs that the losses use."""

    def __init__(self, network: IResNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output of stage 4, and the embeddings of length 1."""
        network = self.network
        features = network.forward_features(pictures)
        embeddings = network.features(network.fc(torch.flatten(network.bn2(features), 1)))
        return features, functional.normalize(embeddings)


def _memory_format(layout: Layout) -> torch.memory_format:
    """Return the memory format of activations: channels last is faster where it works.

    With torch 2.14 on a CPU the backward pass of a convolution in that order crashes the process
    where an early layer has fewer than 16 channels.
    """
    narrow = min(layout.stem_width, *layout.widths) < 16
    return torch.contiguous_format if narrow else torch.channels_last


def _optimizer(network: IResNet, rate: float) -> torch.optim.Optimizer:
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    groups = [
        {
            "params": [weight for weight in trained if weight.ndim > 1],
            "weight_decay": _WEIGHT_DECAY,
        },
        # Weight decay would pull scales and shifts towards zero, but a scale of zero is no simpler
        # than one.
        {"params": [weight for weight in trained if weight.ndim == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
