"""Keeps the lease: takes it, renews it, and says before each delivery whether it still holds.

A deadline that nobody can set decides, not an answer: a process that was stopped for a while finds
its deadline behind it before it has asked anybody. A server that is away is asked again and again;
meanwhile best shots are accepted and wait, because nobody else can take the lease either.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress

import structlog

from streamgate.delivery.lease.tenure import Tenure, margin_s, since_boot_s
from streamgate.errors import LeaseError
from streamgate.ports import LeaseStore
from streamgate.telemetry.metrics import Metrics
from streamgate.values.backoff import Backoff, pause_s
from streamgate.values.reasons import LeaseLoss

__all__ = ["LeaseKeeper"]

log = structlog.get_logger(__name__)

_RENEWALS = 3
"""So many times within its validity a lease is renewed: two may fail."""
_WAITING_S = 1.0
_CLOSE_S = 1.0
_LONGEST_PAUSE_S = 5.0


class LeaseKeeper:
    """One camera's lease; for one event loop.

    Args:
        ttl_s: how long the lease is valid after each renewal.
        now: seconds that never run backwards, sleep of the machine included.
        on_epoch: called with the epoch of each new tenure, before anything is delivered under it.
        on_held: called once deliveries may go on.
    """

    def __init__(  # noqa: PLR0913 # its server, its clock, and whom it tells
        self,
        store: LeaseStore,
        ttl_s: float,
        *,
        metrics: Metrics,
        now: Callable[[], float] = since_boot_s,
        on_epoch: Callable[[int], None] = lambda _epoch: None,
        on_held: Callable[[], None] = lambda: None,
    ) -> None:
        self.on_epoch = on_epoch
        self.on_held = on_held
        self._store = store
        self._ttl_s = ttl_s
        self._margin_s = margin_s(ttl_s)
        self._metrics = metrics
        self._now = now
        self._tenure: Tenure | None = None
        self._has_held = asyncio.Event()
        self._asked = asyncio.Event()
        self._taken_by: str | None = None
        self._holder = ""
        self._failures = 0
        self._fault = "the lease was not asked for yet"
        self._told_lost = True
        metrics.watch(metrics.lease_held, lambda: float(self.remaining_s > 0))

    @property
    def epoch(self) -> int | None:
        """The epoch of the tenure, None where there is none."""
        return None if self._tenure is None else self._tenure.epoch

    @property
    def remaining_s(self) -> float:
        """How long a delivery that begins now may take; 0 where none may begin."""
        if self._tenure is None:
            return 0.0
        return max(0.0, self._tenure.until - self._margin_s - self._now())

    @property
    def taken_by(self) -> str | None:
        """Who has taken the lease that was ours; None while nobody has."""
        return self._taken_by

    @property
    def fault(self) -> str | None:
        """Why nothing is delivered now, in words."""
        return None if self.remaining_s > 0 else self._fault

    async def wait_first(self) -> None:
        """Return once the lease has been held for the first time."""
        await self._has_held.wait()

    def surrender(self) -> None:
        """Give the tenure up: a receiver has heard from a later one."""
        if self._tenure is not None:
            self._lose(LeaseLoss.FENCED, "a receiver has heard from a later tenure")
            self._asked.set()

    async def run(self) -> None:
        """Keep the lease until cancelled, or until another has taken it."""
        while self._taken_by is None:
            self._asked.clear()
            wait_s = await self._step()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._asked.wait()

    async def close(self) -> None:
        """Give the lease back, so that whoever comes next need not wait, and disconnect."""
        tenure, self._tenure = self._tenure, None
        with suppress(TimeoutError, LeaseError):
            async with asyncio.timeout(_CLOSE_S):
                if tenure is not None:
                    await self._store.release(tenure.epoch)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._store.close()

    async def _step(self) -> float:
        """Ask the server once; return how long to wait before the next time."""
        # The validity counts from before the question: the server's answer may be late.
        asked_at = self._now()
        try:
            async with asyncio.timeout(max(1.0, self._ttl_s / _RENEWALS)):
                await self._ask(asked_at)
        except (LeaseError, TimeoutError) as error:
            return self._unusable(str(error) or "the lease server did not answer in time")
        if self._failures:
            log.info("the lease server answers again", failures=self._failures)
            self._failures = 0
        self._metrics.lease_server_up.set(1)
        return self._ttl_s / _RENEWALS if self._tenure is not None else min(
            _WAITING_S, self._ttl_s / _RENEWALS
        )  # fmt: skip

    async def _ask(self, asked_at: float) -> None:
        tenure = self._tenure
        if tenure is not None:
            if await self._store.renew(tenure.epoch):
                # A receiver's refusal may have come meanwhile.
                if self._tenure is tenure:
                    self._hold(Tenure(tenure.epoch, asked_at + self._ttl_s))
                return
            if self._tenure is not None:
                self._lose(LeaseLoss.EXPIRED, "the lease has run out")
            asked_at = self._now()
        epoch = await self._store.acquire()
        if epoch is not None:
            self.on_epoch(epoch)
            self._metrics.lease_epoch.set(epoch)
            log.info("the lease is held", epoch=epoch)
            self._hold(Tenure(epoch, asked_at + self._ttl_s))
            return
        holder = await self._store.holder() or "another process"
        if self._has_held.is_set():
            self._taken_by = holder
            self._metrics.lease_lost.labels(LeaseLoss.TAKEN.value).inc()
            log.error("another process has taken the lease", holder=holder)
        elif holder != self._holder:
            log.warning("waits for the lease, which another process holds", holder=holder)
        self._holder = holder
        self._fault = f"the lease is held by {holder}"

    def _hold(self, tenure: Tenure) -> None:
        was_held = self.remaining_s > 0
        self._tenure = tenure
        self._told_lost = False
        self._has_held.set()
        if not was_held:
            self.on_held()

    def _lose(self, reason: LeaseLoss, why: str) -> None:
        self._tenure = None
        self._fault = why
        self._metrics.lease_lost.labels(reason.value).inc()
        log.warning("the lease is lost; nothing is delivered", reason=why)

    def _unusable(self, error: str) -> float:
        self._failures += 1
        self._metrics.lease_server_up.set(0)
        self._metrics.lease_faults.inc()
        self._fault = f"the lease server cannot be used: {error}"
        if self._failures == 1:
            log.warning("the lease server cannot be used", error=error)
        if self.remaining_s == 0 and not self._told_lost:
            self._told_lost = True
            log.error("the lease cannot be renewed; best shots wait in the outbox", error=error)
        pauses = Backoff(min(0.5, self._ttl_s / 10), min(_LONGEST_PAUSE_S, self._ttl_s / _RENEWALS))
        return pause_s(self._failures, pauses, random.random())  # noqa: S311 - spreads retries
