"""What a lease means for delivery: without it nothing is sent, and with it in which words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import jsonschema
import pytest

from streamgate.config import DeliverySection
from streamgate.delivery.dispatcher import Dispatcher
from streamgate.delivery.lease.keeper import LeaseKeeper
from streamgate.delivery.lease.marks import as_drained, as_sent, epoch_of, headers_of
from streamgate.delivery.lease.permit import LeasePermit
from streamgate.delivery.lease.tenure import ORIGIN_WALL, next_epoch
from streamgate.delivery.outbox import MemoryOutbox
from streamgate.delivery.payload import encode_shot, payload_schema
from streamgate.errors import DeliveryError, LeaseError, SinkFault
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Acceptance, EncodedShot
from tests.delivery.parts import HandClock, Recorder, SystemClock
from tests.delivery.shots import best_shot

TTL_S = 10.0


class Store:
    """A server of one lease that does as it is told."""

    def __init__(self) -> None:
        self.epoch = 7
        self.held_by = ""
        self.away = False
        self.asked = 0

    async def acquire(self) -> int | None:
        self._ask()
        if self.held_by not in ("", "us"):
            return None
        self.epoch += 1
        self.held_by = "us"
        return self.epoch

    async def renew(self, epoch: int) -> bool:
        self._ask()
        return self.held_by == "us" and epoch == self.epoch

    async def release(self, epoch: int) -> None:
        if epoch == self.epoch:
            self.held_by = ""

    async def holder(self) -> str:
        return self.held_by

    async def close(self) -> None:
        return

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise LeaseError("nobody is there")


class Camera:
    """A keeper with a dispatcher behind it; the keeper is asked by hand."""

    def __init__(self, sink: Recorder) -> None:
        self.store, self.clock, self.metrics = Store(), HandClock(), Metrics("door")
        self.epochs: list[int] = []
        self.keeper = LeaseKeeper(
            self.store, TTL_S, metrics=self.metrics, now=self.clock.monotonic,
            on_epoch=self.epochs.append,
        )  # fmt: skip
        section = DeliverySection.model_validate(
            {"sinks": [{"kind": "directory", "name": sink.name, "path": "unused"}]}
        )
        outbox = MemoryOutbox(
            section.outbox,  # type: ignore[arg-type] # the default is the one in memory
            [sink.name],
            metrics=self.metrics,
            clock=SystemClock(),
        )
        self.dispatcher = Dispatcher(
            section, outbox=outbox, sinks=[sink], metrics=self.metrics, clock=SystemClock(),
            permit=LeasePermit(self.keeper),
        )  # fmt: skip
        self.keeper.on_held = self.dispatcher.wake

    async def ask(self) -> None:
        await self.keeper._step()

    async def accept(self, track: int, epoch: int | None = None) -> Acceptance:
        shot = replace(best_shot(track), epoch=epoch or self.keeper.epoch)
        return await self.dispatcher.accept(shot)


@asynccontextmanager
async def running(sink: Recorder) -> AsyncIterator[Camera]:
    camera = Camera(sink)
    async with asyncio.TaskGroup() as group:
        group.create_task(camera.dispatcher.run())
        yield camera
        await camera.dispatcher.drain(0.2)


def test_epochs_grow_from_the_last_and_from_the_time() -> None:
    """One more than the last, or the seconds since 2025, whichever is larger; never 0."""
    assert next_epoch(41, ORIGIN_WALL + 5.9) == 42
    assert next_epoch(0, ORIGIN_WALL + 5.9) == 5
    assert next_epoch(0, 0.0) == 1


async def test_without_a_lease_nothing_is_delivered() -> None:
    """Another holds it: best shots wait. It is given back: they are delivered at once."""
    sink = Recorder()
    async with running(sink) as camera:
        camera.store.held_by = "other"
        await camera.ask()
        assert camera.keeper.fault == "the lease is held by other"
        await camera.accept(1, epoch=3)
        assert camera.dispatcher.pending() == 1
        assert sink.attempts == 0
        camera.store.held_by = ""
        await camera.ask()
        await sink.until(lambda: len(sink.taken) == 1)
    assert camera.epochs == [8]


async def test_a_tenure_ends_by_the_clock_and_not_by_an_answer() -> None:
    """Nobody answers, time passes: deliveries end before the server lets another in."""
    camera = Camera(Recorder())
    await camera.ask()
    assert camera.keeper.remaining_s == pytest.approx(9.0)
    camera.clock.pass_s(8.9)
    assert camera.keeper.remaining_s > 0
    camera.clock.pass_s(0.2)
    assert camera.keeper.remaining_s == 0


async def test_a_process_that_was_stopped_finds_its_lease_taken() -> None:
    """Its time has passed and another has the lease: it says so and takes no new best shots."""
    sink = Recorder()
    async with running(sink) as camera:
        await camera.ask()
        camera.clock.pass_s(60)
        camera.store.held_by, camera.store.epoch = "other", 9
        assert await camera.accept(1) is Acceptance.ACCEPTED
        await camera.ask()
        assert camera.keeper.taken_by == "other"
        assert await camera.accept(2) is Acceptance.DROPPED
        assert camera.dispatcher.pending() == 1
    assert sink.attempts == 0


async def test_a_server_that_is_away_stops_delivery_and_loses_nothing() -> None:
    """Shots that were accepted meanwhile are delivered when it is back, as they are."""
    sink = Recorder()
    async with running(sink) as camera:
        await camera.ask()
        camera.store.away = True
        camera.clock.pass_s(30)
        await camera.ask()
        assert camera.keeper.fault == "the lease server cannot be used: nobody is there"
        assert await camera.accept(1) is Acceptance.ACCEPTED
        camera.store.away = False
        await camera.ask()
        await sink.until(lambda: len(sink.taken) == 1)
    assert camera.epochs == [8], "nobody else had it: it is the same tenure"
    assert sink.keys == ["door-e8-b00t-1-1"]
    assert not sink.taken[0].drained


async def test_a_best_shot_of_an_earlier_tenure_is_sent_as_drained() -> None:
    """Its key keeps its epoch, and a mark tells receivers that it is no double's."""
    sink = Recorder()
    async with running(sink) as camera:
        await camera.ask()
        await camera.accept(1, epoch=3)
        await camera.accept(2)
        await sink.until(lambda: len(sink.taken) == 2)
    old, new = sorted(sink.taken, key=lambda shot: shot.track_id)
    assert old.key == "door-e3-b00t-1-1"
    assert headers_of(old) == {"Streamgate-Drained": "3"}
    assert headers_of(new) == {"Streamgate-Epoch": "8"}
    said = json.loads(old.metadata)
    assert (said["epoch"], said["drained"]) == (3, True)
    for shot in (old, new):
        jsonschema.Draft202012Validator(payload_schema()).validate(json.loads(shot.metadata))


async def test_an_attempt_ends_with_the_tenure() -> None:
    """A sink that hangs is broken off before the lease runs out; nobody is blamed, nothing lost."""
    sink = Recorder(takes_s=60)
    async with running(sink) as camera:
        camera.keeper._ttl_s = camera.keeper._margin_s + 0.4
        await camera.ask()
        await camera.accept(1)
        await sink.until(lambda: sink.attempts == 1)
        await sink.until(lambda: not sink.under_way)
        # The hand clock stands, so that it is tried again as long as the test lets it.
        camera.clock.pass_s(60)
        await asyncio.sleep(0)
        assert camera.dispatcher.pending() == 1
    assert not sink.taken


async def test_a_receiver_that_knows_a_later_tenure_ends_ours() -> None:
    """It answers that it is fenced: the tenure is given up, the best shot kept and sent again."""
    sink = Recorder()

    def refuse(shot: EncodedShot) -> None:
        if not shot.drained:
            raise DeliveryError("409", fault=SinkFault.FENCED)

    sink.answer = refuse
    async with running(sink) as camera:
        await camera.ask()
        await camera.accept(1)
        await sink.until(lambda: sink.attempts == 1)
        async with asyncio.timeout(5):
            while camera.keeper.epoch is not None:  # noqa: ASYNC110 # it sets no event
                await asyncio.sleep(0)
        await camera.ask()
        await sink.until(lambda: len(sink.taken) == 1)
    assert sink.taken[0].key == "door-e8-b00t-1-1"
    assert sink.taken[0].drained


async def test_the_keeper_gives_the_lease_back() -> None:
    """A stop in order leaves nothing to wait for."""
    camera = Camera(Recorder())
    keeping = asyncio.create_task(camera.keeper.run())
    await camera.keeper.wait_first()
    keeping.cancel()
    with suppress(asyncio.CancelledError):
        await keeping
    await camera.keeper.close()
    assert camera.store.held_by == ""


def test_a_best_shot_without_an_epoch_is_sent_as_it_is() -> None:
    """One from before the camera had a lease: no header, no mark, the same bytes."""
    shot = encode_shot(best_shot())
    assert epoch_of(shot) is None
    assert as_sent(shot, 9) is shot
    assert as_drained(shot) is shot
    assert headers_of(shot) == {}
