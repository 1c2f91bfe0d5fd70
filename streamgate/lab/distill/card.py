"""The model card: how a network was made, how good it is, and what it is not for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streamgate.lab.crops import CropSet
from streamgate.lab.distill.evaluation import Evaluation
from streamgate.lab.distill.training import Recipe
from streamgate.lab.recogniser import OnnxRecogniser
from streamgate.quality.layout import Layout

__all__ = ["Card", "card_path"]


def card_path(weights: Path) -> Path:
    """Return the path of the card of these weights: `<name>.card.md`."""
    return weights.with_suffix(".card.md")


@dataclass(frozen=True, slots=True, eq=False)
class Card:
    """The facts about a student.

    Attributes:
        weights: its file.
        layout: of the network.
        recipe: as configured.
        teacher: the recogniser that it imitates.
        taught: the crops that it was trained on.
        start: weights that it started from.
        steps, minutes: how long the training took.
        evaluation: on held-out crops.
        license_text: as given by the user.
    """

    weights: Path
    layout: Layout
    recipe: Recipe
    teacher: OnnxRecogniser
    taught: CropSet
    start: Path | None
    steps: int
    minutes: float
    evaluation: Evaluation
    license_text: str

    def text(self) -> str:
        """Return the card as Markdown."""
        sections = {
            "What it is for": self._purpose(),
            "Network": self._network(),
            "Made of": self._origin(),
            "Examination on held-out crops": self._figures(),
            "Licence": iter([self.license_text]),
        }
        parts = [f"# {self.weights.name}"]
        for title, lines in sections.items():
            parts.append(f"## {title}\n\n" + "\n".join(lines))
        return "\n\n".join(parts) + "\n"

    def _purpose(self) -> Iterator[str]:
        yield (
            "Scores aligned face crops (112×112 pixels, ArcFace template) with GraFIQs at "
            "`block4`: how useful a face is to the recogniser named below. It is not a face "
            "detector, it does not say who somebody is, and its embeddings do not replace those "
            "of its teacher's."
        )

    def _network(self) -> Iterator[str]:
        content = self.weights.read_bytes()
        yield f"- layout: {self.layout.name}, stem {self.layout.stem_width}, widths "
        yield f"  {'/'.join(map(str, self.layout.widths))}, embeddings of {self._embedding()}"
        yield f"- file: {len(content):,} bytes, sha256 `{hashlib.sha256(content).hexdigest()}`"
        yield f"- BatchNorm statistics: counted over the {len(self.taught):,} crops below,"
        yield "  unaltered; then every BatchNorm input scaled to variance 1 (outputs unchanged)"

    def _embedding(self) -> str:
        return f"{self.layout.embedding_size} numbers"

    def _origin(self) -> Iterator[str]:
        seen = self.teacher.preprocessing
        people = len(set(self.taught.identities.tolist()) - {""})
        yield f"- teacher: {self.teacher.path.name}, sha256 `{self.teacher.sha256}`, input "
        yield f"  {seen.size}×{seen.size} {seen.color}, (x - {seen.mean:g}) / {seen.std:g}"
        yield f"- data: {self.taught.source}, {len(self.taught):,} crops, {people:,} known people"
        yield f"- start: {self.start.name if self.start else 'random weights'}"
        yield f"- training: {self.steps:,} steps in {self.minutes:.0f} minutes, seed "
        yield f"  {self.recipe.seed}, peak learning rate {self.recipe.learning_rate:g}, "
        sizes = self.recipe.sizes
        yield f"  {sizes[0]} clean, {sizes[1]} ranked and {sizes[2]} degraded faces per step"

    def _figures(self) -> Iterator[str]:
        result = self.evaluation
        yield f"- crops: {result.crops:,}"
        yield f"- mean cosine to the teacher's embedding: {result.likeness:.3f}"
        yield f"- clean compared with degraded faces by the score: AUC {result.separation:.3f}"
        yield "- rank correlation (Spearman) of the score with the similarity of degraded to "
        "clean faces:"
        yield f"  {result.rank_correlation:.3f}"
        if result.recognition is not None:
            own = result.recognition
            yield f"- recognition by its own embedding: AUC {own.separation:.4f}, accept rate "
            yield f"  {own.accept_rate:.3f} at a false match rate of {own.false_match_rate:g}"
            yield f"  ({own.pairs:,} pairs of one person)"
