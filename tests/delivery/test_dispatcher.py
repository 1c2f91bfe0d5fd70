"""The dispatcher and its workers, with the outbox in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import generate_latest

from streamgate.config import DeliverySection
from streamgate.delivery.dispatcher import Dispatcher
from streamgate.delivery.outbox import MemoryOutbox
from streamgate.errors import DeliveryError, SinkFault
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Acceptance, EncodedShot
from tests.delivery.parts import Recorder, SystemClock
from tests.delivery.shots import best_shot, encoded_shot

FAST = {"initial_s": 0.01, "max_s": 0.05, "max_refusals": 3, "max_faults": 5}


class Delivery:
    """A dispatcher that runs, and its metrics."""

    def __init__(self, *sinks: Recorder, **settings: Any) -> None:
        self.metrics = Metrics("test")
        data = {
            "sinks": [
                {"kind": "directory", "name": sink.name, "path": "unused", "at_once": 3}
                for sink in sinks
            ],
            "retry": FAST,
            **settings,
        }
        self.section = DeliverySection.model_validate(data)
        clock = SystemClock()
        outbox = MemoryOutbox(
            self.section.outbox,  # type: ignore[arg-type] # the default is the one in memory
            [sink.name for sink in sinks],
            metrics=self.metrics,
            clock=clock,
        )
        self.dispatcher = Dispatcher(
            self.section, outbox=outbox, sinks=sinks, metrics=self.metrics, clock=clock
        )

    def metric(self, line: str) -> float:
        text = generate_latest(self.metrics.registry).decode()
        found = [row for row in text.splitlines() if row.startswith(line + " ")]
        return float(found[0].rsplit(" ", 1)[1]) if found else 0.0


@asynccontextmanager
async def running(*sinks: Recorder, **settings: Any) -> AsyncIterator[Delivery]:
    delivery = Delivery(*sinks, **settings)
    async with asyncio.TaskGroup() as group:
        group.create_task(delivery.dispatcher.run())
        yield delivery
        await delivery.dispatcher.drain(2.0)


async def test_every_best_shot_reaches_every_sink() -> None:
    """Three best shots, two sinks: six deliveries, nothing left."""
    one, two = Recorder("one"), Recorder("two")
    async with running(one, two) as delivery:
        for track in (1, 2, 3):
            assert await delivery.dispatcher.accept(best_shot(track)) is Acceptance.ACCEPTED
        assert await delivery.dispatcher.drain(2.0) == 0
    expected = ["door-b00t-1-1", "door-b00t-2-1", "door-b00t-3-1"]
    assert sorted(one.keys) == expected
    assert sorted(two.keys) == expected


async def test_a_track_keeps_its_order_while_others_pass() -> None:
    """Revisions of one track arrive in order, one at a time; tracks are served side by side."""
    sink = Recorder(takes_s=0.005)
    async with running(sink) as delivery:
        for revision in (1, 2, 3, 4):
            for track in (1, 2, 3, 4, 5):
                await delivery.dispatcher.accept_encoded(encoded_shot(track, revision))
        assert await delivery.dispatcher.drain(5.0) == 0
    for track in (1, 2, 3, 4, 5):
        revisions = [shot.revision for shot in sink.taken if shot.track_id == track]
        assert revisions == [1, 2, 3, 4]
    assert sink.most_under_way == 3


async def test_accept_does_not_wait_for_a_sink() -> None:
    """A sink that never answers does not hold up accept."""
    sink = Recorder(takes_s=3600)
    async with running(sink) as delivery:
        async with asyncio.timeout(1.0):
            for track in range(20):
                await delivery.dispatcher.accept_encoded(encoded_shot(track))
        assert await delivery.dispatcher.drain(0.05) == 20


async def test_accept_does_not_wait_for_a_name_server() -> None:
    """Look-ups that hang in every thread of the loop do not hold up a best shot."""
    loop, go = asyncio.get_running_loop(), threading.Event()
    loop.set_default_executor(ThreadPoolExecutor(1))
    looking_up = loop.run_in_executor(None, go.wait)
    try:
        async with running(Recorder()) as delivery, asyncio.timeout(10.0):
            assert await delivery.dispatcher.accept(best_shot()) is Acceptance.ACCEPTED
    finally:
        go.set()
        await looking_up


async def test_a_delivery_that_its_client_cancels_is_tried_again() -> None:
    """A client library that cancels a call of its own does not leave a best shot claimed."""
    sink = Recorder()

    def fail(_: EncodedShot) -> None:
        if sink.attempts == 1:
            raise asyncio.CancelledError

    sink.answer = fail
    async with running(sink) as delivery:
        await delivery.dispatcher.accept_encoded(encoded_shot())
        await sink.until(lambda: bool(sink.taken))
    assert delivery.metric('streamgate_deliveries_total{outcome="failed",sink="recorder"}') == 1


async def test_a_sink_that_fails_to_close_keeps_no_other_open() -> None:
    """Whatever a client library raises at its end, the other sinks are closed."""

    class Broken(Recorder):
        async def close(self) -> None:
            raise ConnectionResetError("gone")

    broken, other = Broken("broken"), Recorder("other")
    async with running(broken, other):
        pass
    assert other.closed


async def test_a_passing_fault_is_retried_until_it_passes() -> None:
    """A sink that fails ten times gets the best shot at the eleventh attempt."""
    sink = Recorder()

    def fail(_: EncodedShot) -> None:
        if sink.attempts <= 10:
            raise DeliveryError("away")

    sink.answer = fail
    async with running(sink) as delivery:
        await delivery.dispatcher.accept_encoded(encoded_shot())
        await sink.until(lambda: bool(sink.taken))
    assert sink.attempts == 11
    assert delivery.metric('streamgate_deliveries_total{outcome="failed",sink="recorder"}') == 10
    acknowledged = 'streamgate_deliveries_total{outcome="acknowledged",sink="recorder"}'
    assert delivery.metric(acknowledged) == 1


async def test_a_failing_sink_is_probed_by_one_delivery_at_a_time() -> None:
    """After the first fault only one delivery is under way until one succeeds."""
    sink = Recorder(takes_s=0.002)

    def fail(_: EncodedShot) -> None:
        if sink.attempts == 3:
            sink.most_under_way = 0
        if sink.attempts <= 12:
            raise DeliveryError("away")

    sink.answer = fail
    async with running(sink) as delivery:
        for track in range(6):
            await delivery.dispatcher.accept_encoded(encoded_shot(track))
        await sink.until(lambda: sink.attempts == 12)
        assert sink.most_under_way == 1
        await sink.until(lambda: len(sink.taken) == 6)


async def test_a_failing_sink_holds_up_no_other() -> None:
    """One sink is down for good; the other has everything."""
    down, up = Recorder("down"), Recorder("up")

    def fail(_: EncodedShot) -> None:
        raise DeliveryError("away")

    down.answer = fail
    async with running(down, up) as delivery:
        for track in range(5):
            await delivery.dispatcher.accept_encoded(encoded_shot(track))
        await up.until(lambda: len(up.taken) == 5)
        assert await delivery.dispatcher.drain(0.05) == 5
    assert down.taken == []


async def test_a_refused_best_shot_is_given_up_and_lets_its_successor_pass() -> None:
    """After max_refusals permanent refusals the next of the track is delivered."""
    sink = Recorder()

    def refuse_first(shot: EncodedShot) -> None:
        if shot.revision == 1:
            raise DeliveryError("no face in it", fault=SinkFault.REFUSED)

    sink.answer = refuse_first
    async with running(sink) as delivery:
        await delivery.dispatcher.accept_encoded(encoded_shot(1, 1))
        await delivery.dispatcher.accept_encoded(encoded_shot(1, 2))
        await sink.until(lambda: bool(sink.taken))
    assert sink.keys == ["door-b00t-1-2"]
    # A try counts only where another passes before the next.
    assert sink.attempts >= 4
    dropped = 'streamgate_outbox_dropped_total{reason="refused",sink="recorder"}'
    assert delivery.metric(dropped) == 1


async def test_the_sinks_wish_to_wait_is_honoured() -> None:
    """After retry_after_s the next attempt does not come sooner."""
    sink = Recorder()
    times: list[float] = []

    def busy_once(_: EncodedShot) -> None:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 1:
            raise DeliveryError("busy", retry_after_s=0.3)

    sink.answer = busy_once
    async with running(sink) as delivery:
        await delivery.dispatcher.accept_encoded(encoded_shot())
        await sink.until(lambda: bool(sink.taken))
    assert times[1] - times[0] >= 0.3


async def test_an_unforeseen_exception_is_a_passing_fault_without_its_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A sink that raises anything is retried, and what it says is not logged."""
    sink = Recorder()

    def explode(_: EncodedShot) -> None:
        if sink.attempts == 1:
            raise KeyError("password=hunter2")

    sink.answer = explode
    async with running(sink) as delivery:
        await delivery.dispatcher.accept_encoded(encoded_shot())
        await sink.until(lambda: bool(sink.taken))
    said = capsys.readouterr().out
    assert "KeyError at test_dispatcher.py" in said
    assert "hunter2" not in said


async def test_what_is_over_the_size_goes_lowest_quality_first() -> None:
    """A full outbox gives up the lowest quality, of equals the oldest, and counts exactly."""
    sink = Recorder(takes_s=3600)
    qualities = [50.0, 20.0, 90.0, 20.0, 60.0, 10.0]
    async with running(sink, outbox={"kind": "memory", "max_shots": 3}) as delivery:
        # One track, so that only its first can be under way and be spared for that.
        answers = [
            await delivery.dispatcher.accept_encoded(encoded_shot(1, n + 1, quality=quality))
            for n, quality in enumerate(qualities)
        ]
        assert await delivery.dispatcher.drain(0.01) == 3
    assert answers[-1] is Acceptance.DROPPED
    assert delivery.metric('streamgate_outbox_dropped_total{reason="full",sink="recorder"}') == 3


async def test_drain_keeps_its_deadline_and_tells_what_is_left() -> None:
    """A sink that never answers does not hold up the stop."""
    sink = Recorder(takes_s=3600)
    async with running(sink) as delivery:
        await delivery.dispatcher.accept_encoded(encoded_shot())
        started = asyncio.get_running_loop().time()
        assert await delivery.dispatcher.drain(0.1) == 1
        assert asyncio.get_running_loop().time() - started < 1.0
    assert sink.closed


async def test_without_sinks_accepting_costs_nothing() -> None:
    """No sink: accepted, and nothing waits."""
    async with running() as delivery:
        assert await delivery.dispatcher.accept(best_shot()) is Acceptance.ACCEPTED
        assert delivery.dispatcher.pending() == 0


# Whose fault it is


def failing_on(*keys: str, fault: SinkFault = SinkFault.UNCLEAR) -> Callable[[EncodedShot], None]:
    def answer(shot: EncodedShot) -> None:
        if shot.key in keys:
            raise DeliveryError("it chokes", fault=fault)

    return answer


FAULTS = [SinkFault.UNCLEAR, SinkFault.REFUSED, SinkFault.CREDENTIALS]


@pytest.mark.parametrize("fault", FAULTS)
async def test_one_that_a_sink_cannot_digest_holds_up_no_other(fault: SinkFault) -> None:
    """Twenty others pass while one fails at each try; it is told as its own fault."""
    sink = Recorder()
    sink.answer = failing_on("door-b00t-1-1", fault=fault)
    async with running(sink, retry={**FAST, "max_refusals": 900, "max_faults": 900}) as delivery:
        for track in range(1, 22):
            await delivery.dispatcher.accept_encoded(encoded_shot(track))
        await sink.until(lambda: len(sink.taken) == 20, limit_s=2.0)
        assert delivery.metric('streamgate_sink_up{sink="recorder"}') == 1
        assert await delivery.dispatcher.drain(0.01) == 1


@pytest.mark.parametrize("fault", FAULTS)
async def test_it_is_given_up_after_its_tries_while_others_pass(
    fault: SinkFault, capsys: pytest.CaptureFixture[str]
) -> None:
    """max_refusals where the sink has answered, max_faults where it has failed."""
    sink = Recorder()
    sink.answer = failing_on("door-b00t-1-1", fault=fault)
    dropped = 'streamgate_outbox_dropped_total{reason="refused",sink="recorder"}'
    async with running(sink) as delivery:
        await delivery.dispatcher.accept_encoded(encoded_shot(1))
        for track in range(2, 2000):
            await delivery.dispatcher.accept_encoded(encoded_shot(track))
            await asyncio.sleep(0.005)
            if delivery.metric(dropped):
                break
        wanted = 3 if fault is SinkFault.REFUSED else 5
        # A try counts only where another passes before the next.
        assert sink.attempts - len(sink.taken) >= wanted
        assert f"refusals={wanted} " in capsys.readouterr().out


async def test_a_sink_that_takes_none_makes_no_dead_letter() -> None:
    """Whatever it answers, where no other passes none is to blame; all arrive in the end."""
    sink = Recorder()
    broken = True

    def answer(_: EncodedShot) -> None:
        if broken:
            raise DeliveryError("no such path", fault=SinkFault.REFUSED)

    sink.answer = answer
    async with running(sink) as delivery:
        for track in range(1, 9):
            await delivery.dispatcher.accept_encoded(encoded_shot(track))
        await sink.until(lambda: sink.attempts > 40)
        assert delivery.metric('streamgate_sink_up{sink="recorder"}') == 0
        broken = False
        await sink.until(lambda: len(sink.taken) == 8)
        assert delivery.metric('streamgate_sink_up{sink="recorder"}') == 1
    dropped = 'streamgate_outbox_dropped_total{reason="refused",sink="recorder"}'
    assert delivery.metric(dropped) == 0


async def test_refused_credentials_are_an_outage_and_name_their_setting(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Down at the first answer, kept, tried slowly; the log says which key to look at."""
    sink = Recorder()

    def answer(_: EncodedShot) -> None:
        raise DeliveryError("it answered 401", fault=SinkFault.CREDENTIALS, setting="token")

    sink.answer = answer
    async with running(sink, retry={**FAST, "max_s": 30.0}) as delivery:
        for track in range(1, 6):
            await delivery.dispatcher.accept_encoded(encoded_shot(track))
        await sink.until(lambda: sink.attempts >= 1)
        await sink.until(lambda: delivery.metric('streamgate_sink_up{sink="recorder"}') == 0)
        await asyncio.sleep(0.3)
        assert sink.attempts <= 2 + 3, "what was under way, one probe, and then the longest pause"
        assert await delivery.dispatcher.drain(0.01) == 5
    assert "it answered 401; check delivery.sinks[0].token" in capsys.readouterr().out


async def test_after_an_outage_each_track_is_in_order_again() -> None:
    """A broker that was away kept nothing from its place."""
    sink = Recorder()
    away = True

    def answer(_: EncodedShot) -> None:
        if away:
            raise DeliveryError("refused", fault=SinkFault.AWAY)

    sink.answer = answer
    async with running(sink) as delivery:
        for revision in (1, 2, 3):
            for track in (1, 2):
                await delivery.dispatcher.accept_encoded(encoded_shot(track, revision))
        await sink.until(lambda: sink.attempts > 5)
        away = False
        await sink.until(lambda: len(sink.taken) == 6)
    for track in (1, 2):
        assert [shot.revision for shot in sink.taken if shot.track_id == track] == [1, 2, 3]


async def test_a_wish_to_wait_for_one_makes_no_other_wait() -> None:
    """An hour asked for one key: the others pass at once."""
    sink = Recorder()

    def answer(shot: EncodedShot) -> None:
        if shot.track_id == 1:
            raise DeliveryError("busy", retry_after_s=3600)

    sink.answer = answer
    async with running(sink) as delivery:
        for track in (1, 2, 3, 4):
            await delivery.dispatcher.accept_encoded(encoded_shot(track))
        await sink.until(lambda: len(sink.taken) == 3, limit_s=2.0)
        assert await delivery.dispatcher.drain(0.01) == 1
