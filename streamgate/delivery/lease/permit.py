"""What a sink worker asks before it sends: may I, how long, and in which words."""

from __future__ import annotations

from typing import Protocol

from streamgate.delivery.lease.keeper import LeaseKeeper
from streamgate.delivery.lease.marks import as_drained, as_sent
from streamgate.values import EncodedShot

__all__ = ["DrainPermit", "FreePermit", "LeasePermit", "SendPermit"]


class SendPermit(Protocol):
    """Whether deliveries may begin, and what they carry."""

    @property
    def limit_s(self) -> float | None:
        """How long a delivery that begins now may take: 0 for none, None for no limit."""
        ...

    @property
    def takes_new(self) -> bool:
        """Whether new best shots are accepted."""
        ...

    def message(self, shot: EncodedShot) -> EncodedShot:
        """The message for a stored best shot."""
        ...

    def fenced(self) -> None:
        """A receiver has heard from a later tenure."""
        ...


class FreePermit:
    """For a camera without a lease."""

    limit_s = None
    takes_new = True

    def message(self, shot: EncodedShot) -> EncodedShot:
        """The best shot as it is stored."""
        return shot

    def fenced(self) -> None:
        """Nothing to give up."""


class DrainPermit(FreePermit):
    """For an outbox of an earlier tenure: what has an epoch is marked."""

    def message(self, shot: EncodedShot) -> EncodedShot:
        """The best shot, marked as drained."""
        return as_drained(shot)


class LeasePermit:
    """For a camera with a lease."""

    def __init__(self, keeper: LeaseKeeper) -> None:
        self._keeper = keeper

    @property
    def limit_s(self) -> float:
        """How long the lease may still be used."""
        return self._keeper.remaining_s

    @property
    def takes_new(self) -> bool:
        """Whether nobody else has taken the lease: who has sees the same people."""
        return self._keeper.taken_by is None

    def message(self, shot: EncodedShot) -> EncodedShot:
        """The best shot, marked where it is of an earlier tenure."""
        epoch = self._keeper.epoch
        return shot if epoch is None else as_sent(shot, epoch)

    def fenced(self) -> None:
        """Give the tenure up."""
        self._keeper.surrender()
