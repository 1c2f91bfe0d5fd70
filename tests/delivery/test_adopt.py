"""Sinks and pace that change while best shots wait and are under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from streamgate.config import DeliverySection, MemoryOutboxSection, SqliteOutboxSection
from streamgate.delivery import outbox as outboxes
from streamgate.delivery.dispatcher import Dispatcher
from streamgate.delivery.durable import outbox as durable
from streamgate.errors import DeliveryError
from streamgate.telemetry.metrics import Metrics
from streamgate.values import EncodedShot
from tests.delivery.parts import Recorder, SystemClock
from tests.delivery.shots import best_shot


def section(*names: str, **settings: Any) -> DeliverySection:
    sinks = [{"kind": "directory", "name": name, "path": "unused"} for name in names]
    retry = {"initial_s": 0.01, "max_s": 0.05}
    return DeliverySection.model_validate(
        {"sinks": sinks, "retry": retry, "drain_s": 0.2, **settings}
    )


class Delivery:
    def __init__(self, first: DeliverySection, *sinks: Recorder) -> None:
        self.metrics = Metrics("door")
        self.outcomes: list[tuple[str, str, str]] = []
        self.outbox = self._outbox(first)
        self.dispatcher = Dispatcher(
            first,
            outbox=self.outbox,
            sinks=sinks,
            metrics=self.metrics,
            clock=SystemClock(),
            on_outcome=lambda *outcome: self.outcomes.append(outcome),
        )

    def _outbox(self, first: DeliverySection) -> outboxes.Outbox:
        names = [sink.name for sink in first.sinks]
        if isinstance(first.outbox, MemoryOutboxSection):
            return outboxes.MemoryOutbox(
                first.outbox, names, metrics=self.metrics, clock=SystemClock()
            )
        assert isinstance(first.outbox, SqliteOutboxSection)
        return durable.SqliteOutbox(
            first.outbox, names, camera="door", metrics=self.metrics, clock=SystemClock()
        )

    def given_up(self, sink: str) -> float:
        child = self.metrics.outbox_dropped.labels(sink, "sink_removed")
        return float(child._value.get())


@asynccontextmanager
async def running(first: DeliverySection, *sinks: Recorder) -> AsyncIterator[Delivery]:
    delivery = Delivery(first, *sinks)
    async with asyncio.TaskGroup() as group:
        group.create_task(delivery.dispatcher.run())
        yield delivery
        await delivery.dispatcher.drain(2.0)


def broken(name: str) -> Recorder:
    def refuse(_: EncodedShot) -> None:
        raise DeliveryError("away")

    sink = Recorder(name)
    sink.answer = refuse
    return sink


async def begun(sink: Recorder) -> None:
    """Wait until a delivery is under way."""
    await sink.until(lambda: bool(sink.under_way))


async def test_a_new_sink_is_given_what_comes_from_now_on() -> None:
    """A sink that is added gets the next best shot and not the one before."""
    one, two = Recorder("one"), Recorder("two")
    async with running(section("one"), one) as delivery:
        await delivery.dispatcher.accept(best_shot(1))
        await one.until(lambda: len(one.keys) == 1)
        await delivery.dispatcher.adopt(section("one", "two"), [two])
        await delivery.dispatcher.accept(best_shot(2))
        await two.until(lambda: len(two.keys) == 1)
    assert one.keys == ["door-b00t-1-1", "door-b00t-2-1"]
    assert two.keys == ["door-b00t-2-1"]
    assert ("door-b00t-2-1", "two", "delivered") in delivery.outcomes


async def test_a_sink_with_other_settings_takes_over_what_waits() -> None:
    """What a sink could not deliver is delivered by the one of its name that replaces it."""
    away, back = broken("one"), Recorder("one")
    async with running(section("one"), away) as delivery:
        await delivery.dispatcher.accept(best_shot(1))
        await away.until(lambda: away.attempts > 1)
        await delivery.dispatcher.adopt(section("one"), [back])
        await back.until(lambda: len(back.keys) == 1)
        assert away.closed
        assert not back.closed
    assert ("door-b00t-1-1", "one", "failing") in delivery.outcomes
    assert delivery.given_up("one") == 0


async def test_what_is_under_way_when_a_sink_is_replaced_is_not_given_twice() -> None:
    """A delivery that is under way may finish; the replacement is not given it again."""
    slow, fresh = Recorder("one", takes_s=0.05), Recorder("one")
    async with running(section("one", drain_s=10), slow) as delivery:
        await delivery.dispatcher.accept(best_shot(1))
        await begun(slow)
        await delivery.dispatcher.adopt(section("one", drain_s=10), [fresh])
        await delivery.dispatcher.accept(best_shot(2))
        await fresh.until(lambda: len(fresh.keys) == 1)
    assert slow.keys == ["door-b00t-1-1"]
    assert fresh.keys == ["door-b00t-2-1"]


async def test_a_sink_that_hangs_is_replaced_all_the_same() -> None:
    """A delivery that does not end is broken off after drain_s and made by the replacement."""
    hung, fresh = Recorder("one", takes_s=3600), Recorder("one")
    async with running(section("one"), hung) as delivery:
        await delivery.dispatcher.accept(best_shot(1))
        await begun(hung)
        await delivery.dispatcher.adopt(section("one"), [fresh])
        await fresh.until(lambda: len(fresh.keys) == 1)


async def test_what_waits_for_a_removed_sink_is_counted_as_given_up() -> None:
    """In memory: after drain_s it is given up by name, and other sinks still get it."""
    away, other = broken("away"), broken("other")
    async with running(section("away", "other"), away, other) as delivery:
        await delivery.dispatcher.accept(best_shot(1))
        await away.until(lambda: away.attempts > 1)
        await delivery.dispatcher.adopt(section("other"), [])
        assert delivery.given_up("away") == 1
        assert delivery.dispatcher.pending() == 1
        other.answer = lambda _shot: None
        await other.until(lambda: len(other.keys) == 1)
        assert delivery.dispatcher.pending() == 0
    assert away.closed


async def test_a_removed_sink_is_given_what_waits_while_there_is_time() -> None:
    """A sink that works loses nothing by its removal."""
    slow = Recorder("one", takes_s=0.01)
    async with running(section("one", drain_s=20), slow) as delivery:
        for track in range(8):
            await delivery.dispatcher.accept(best_shot(track))
        await delivery.dispatcher.adopt(section(drain_s=20), [])
        assert len(slow.keys) == 8
        assert delivery.given_up("one") == 0


async def test_on_disk_what_waits_for_a_removed_sink_waits_for_its_return(tmp_path: Path) -> None:
    """A durable outbox gives nothing up: the sink comes back and gets what waited."""
    outbox = {
        "kind": "sqlite", "path": tmp_path / "outbox.db", "store_pictures_unencrypted": True
    }  # fmt: skip
    away, back = broken("one"), Recorder("one")
    async with running(section("one", outbox=outbox), away) as delivery:
        await delivery.dispatcher.accept(best_shot(1))
        await away.until(lambda: away.attempts > 1)
        await delivery.dispatcher.adopt(section(outbox=outbox), [])
        assert delivery.outbox.holds("door-b00t-1-1")
        assert delivery.given_up("one") == 0
        await delivery.dispatcher.adopt(section("one", outbox=outbox), [back])
        await back.until(lambda: len(back.keys) == 1)


async def test_a_stop_does_not_wait_for_a_change_under_way() -> None:
    """Delivery that stops while a sink is being removed stops within its own deadline."""
    hung = Recorder("one", takes_s=3600)
    delivery = Delivery(section("one", drain_s=3600), hung)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(delivery.dispatcher.run())
        await delivery.dispatcher.accept(best_shot(1))
        await begun(hung)
        group.create_task(delivery.dispatcher.adopt(section(drain_s=3600), []))
        await asyncio.sleep(0)
        await delivery.dispatcher.drain(0.1)
    assert hung.closed
