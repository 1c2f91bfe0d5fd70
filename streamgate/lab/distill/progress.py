"""How far a distillation is, for somebody who watches it."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from streamgate.lab.distill.pipeline import Listener
from streamgate.lab.distill.training import Progress as Step
from streamgate.lab.distill.training import Recipe

__all__ = ["Bars"]


class Bars:
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
        self._attuning = self._progress.add_task("basis", total=1.0, note="")

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def listener(self) -> Listener:
        """Return what moves the bars."""
        return Listener(asked=self._asked, trained=self._trained, basis_chosen=self._basis_chosen)

    def _basis_chosen(self, step: int, loss: float) -> None:
        done = (step + 1) / Recipe().attuning_steps
        self._progress.update(self._attuning, completed=done, note=f"loss {loss:.3f}")

    def _asked(self, done: int, total: int) -> None:
        self._progress.update(self._asking, completed=done / total)

    def _trained(self, step: Step) -> None:
        losses = ", ".join(f"{name} {loss:.3f}" for name, loss in step.losses.items())
        note = f"epoch {step.epoch + 1}, step {step.step}: {losses}"
        self._progress.update(self._asking, completed=1.0)
        self._progress.update(self._training, completed=step.share, note=note)
