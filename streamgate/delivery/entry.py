"""What the outbox knows of a best shot without looking at its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "DeliveryState",
    "DropReason",
    "Dropped",
    "Entry",
    "Limits",
    "ShotSummary",
    "Track",
    "dropped_from",
]

Track = tuple[str, int]
"""Boot and track, see `EncodedShot.track`."""


class DropReason(StrEnum):
    """Why a best shot was given up."""

    FULL = "full"
    UNWRITABLE = "unwritable"
    EXPIRED = "expired"
    REFUSED = "refused"
    DAMAGED = "damaged"
    PURGED = "purged"
    SINK_REMOVED = "sink_removed"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may wait, and for how long."""

    max_shots: int
    max_bytes: int
    ttl_s: float


@dataclass(frozen=True, slots=True)
class ShotSummary:
    """What the index needs to know of a best shot.

    Attributes:
        key: idempotency key.
        track: boot and track.
        quality: 0-100.
        size: bytes that it occupies.
        decided_wall: Unix seconds, for people.
        accepted_at: when the outbox took it, from which its age counts: seconds on the index's
            clock, which nobody can set; negative for one that is older than the process.
    """

    key: str
    track: Track
    quality: float
    size: int
    decided_wall: float
    accepted_at: float = 0.0


@dataclass(slots=True)
class DeliveryState:
    """How a best shot stands with one sink.

    Attributes:
        refusals: how often the sink has failed on it while it took others.
        due: before which it is not offered again; seconds on the index's clock.
        dead: whether it is no longer offered.
        claimed: whether it is being delivered now.
        aside: whether the others of its track may pass it.
        failures: attempts in a row that have failed, those of a sink that took nothing among them.
        error: what was wrong when it last failed.
    """

    refusals: int = 0
    due: float = 0.0
    dead: bool = False
    claimed: bool = False
    aside: bool = False
    failures: int = 0
    error: str = ""


@dataclass(slots=True)
class Entry:
    """A best shot and the sinks that have not acknowledged it."""

    number: int
    summary: ShotSummary
    sinks: dict[str, DeliveryState]

    @property
    def dead(self) -> bool:
        """Whether no sink is left that it will be offered to."""
        return all(state.dead for state in self.sinks.values())

    @property
    def claimed(self) -> bool:
        """Whether it is being delivered now."""
        return any(state.claimed for state in self.sinks.values())


@dataclass(frozen=True, slots=True)
class Dropped:
    """A best shot that was given up.

    Attributes:
        sinks: those that it still waited for; a dead letter waits for none.
    """

    number: int
    key: str
    quality: float
    reason: DropReason
    sinks: tuple[str, ...]


def dropped_from(entry: Entry, reason: DropReason) -> Dropped:
    """What is told of an entry that is given up."""
    alive = tuple(name for name, state in entry.sinks.items() if not state.dead)
    return Dropped(entry.number, entry.summary.key, entry.summary.quality, reason, alive)
