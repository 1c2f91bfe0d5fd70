"""What the gate made of people whose identity is known: figures by people, not by tracks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["PeopleFigures", "judge_people"]

_GUESTS = 3
"""So many fit faces of another person make a visit one of two: a link more or less at its ends does
no harm."""


@dataclass(frozen=True, slots=True)
class PeopleFigures:
    """Counts, so that those of several scenes can be added.

    Attributes:
        people: who should have been forwarded.
        missed: of these, how many never were.
        surplus: faces that were forwarded of somebody who had been before, or of nobody.
        faces: fit faces that belong to a visit.
        at_home: of these, how many belong to the person who owns the visit.
        visits: visits with a fit face.
        false_joins: visits that hold two people.
        false_splits: visits more than people have.
        shots: how many faces were forwarded of each of the people who should have been.
    """

    people: int = 0
    missed: int = 0
    surplus: int = 0
    faces: int = 0
    at_home: int = 0
    visits: int = 0
    false_joins: int = 0
    false_splits: int = 0
    shots: tuple[int, ...] = field(default=(), compare=False)

    @property
    def purity(self) -> float:
        """Share of the faces that are of the person who owns their visit."""
        return self.at_home / self.faces if self.faces else 1.0

    def __add__(self, other: PeopleFigures) -> PeopleFigures:
        return PeopleFigures(
            people=self.people + other.people,
            missed=self.missed + other.missed,
            surplus=self.surplus + other.surplus,
            faces=self.faces + other.faces,
            at_home=self.at_home + other.at_home,
            visits=self.visits + other.visits,
            false_joins=self.false_joins + other.false_joins,
            false_splits=self.false_splits + other.false_splits,
            shots=self.shots + other.shots,
        )


def judge_people(
    seen: Mapping[int, Sequence[str | None]],
    forwarded: Sequence[str | None],
    due: frozenset[str],
) -> PeopleFigures:
    """Count what went right and wrong in one scene.

    Args:
        seen: who is on each fit face of each visit; None where it is nobody's face.
        forwarded: who is on each face that was forwarded.
        due: the people who should have been, since one of their faces was good enough.
    """
    owned = {
        visit: counts
        for visit, faces in seen.items()
        if (counts := Counter(face for face in faces if face is not None))
    }
    shots = Counter(forwarded)
    ghosts = shots.pop(None, 0)
    owners = Counter(counts.most_common(1)[0][0] for counts in owned.values())
    return PeopleFigures(
        people=len(due),
        missed=len(due - set(shots)),
        surplus=ghosts + sum(count - 1 for count in shots.values()),
        faces=sum(counts.total() for counts in owned.values()),
        at_home=sum(max(counts.values()) for counts in owned.values()),
        visits=len(owned),
        false_joins=sum(
            len(counts) > 1 and counts.most_common(2)[1][1] >= _GUESTS for counts in owned.values()
        ),
        false_splits=sum(count - 1 for count in owners.values()),
        shots=tuple(shots[name] for name in sorted(due)),
    )
