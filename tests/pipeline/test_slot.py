"""The one-frame slot between the decode thread and the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streamgate.pipeline.slot import LatestSlot
from streamgate.values import ArrayPixels, Discontinuity, Frame

PIXELS = ArrayPixels(np.zeros((2, 2, 3), np.uint8))


def frame(index: int) -> Frame:
    return Frame(PIXELS, index, 0, float(index), float(index), float(index))


def lost(number: int) -> Discontinuity:
    return Discontinuity(str(number), float(number))


def name(item: Frame | Discontinuity) -> str:
    return f"frame {item.index}" if isinstance(item, Frame) else f"lost {item.reason}"


async def drained(slot: LatestSlot) -> list[str]:
    slot.close()
    return [name(item) async for item in slot.frames()]


async def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    """Of three frames that nobody took, the last is read and two are counted."""
    replaced: list[int] = []
    slot = LatestSlot(lambda: replaced.append(1))
    for index in range(3):
        slot.put(frame(index))
    assert await drained(slot) == ["frame 2"]
    assert len(replaced) == 2


async def test_what_nobody_wants_is_not_handed_over() -> None:
    """It wakes no reader, replaces no frame, and is not counted as replaced."""
    replaced: list[int] = []
    slot = LatestSlot(lambda: replaced.append(1), lambda frame: frame.index % 2 == 0)
    for index in (0, 1, 3):
        slot.put(frame(index))
    assert await drained(slot) == ["frame 0"]
    assert not replaced


async def test_an_interruption_keeps_its_place() -> None:
    """Frames of before and after a loss are told apart."""
    slot = LatestSlot()
    slot.put(frame(0))
    slot.mark(lost(1))
    assert await drained(slot) == ["frame 0", "lost 1"]


async def test_an_interruption_outlives_the_frame_before_it() -> None:
    """A frame of the next connection replaces the last one's, never the word of the loss."""
    slot = LatestSlot()
    slot.put(frame(0))
    slot.mark(lost(1))
    slot.put(frame(2))
    assert await drained(slot) == ["lost 1", "frame 2"]


async def test_after_closing_nothing_is_taken_in() -> None:
    """What comes after `close` is dropped, by every door."""
    slot = LatestSlot()
    slot.close()
    slot.put(frame(0))
    slot.mark(lost(1))
    assert slot.offer(frame(2), timeout_s=0.0)
    assert [item async for item in slot.frames()] == []


@dataclass
class SlotModel:
    """What the slot holds, as a list: at most one frame, no two discontinuities side by side."""

    items: list[str] = field(default_factory=list)
    replaced: int = 0

    def put(self, index: int) -> None:
        kept = [item for item in self.items if not item.startswith("frame")]
        self.replaced += len(self.items) - len(kept)
        self.items = [*kept[-1:], f"frame {index}"]

    def mark(self, number: int) -> None:
        if self.items and self.items[-1].startswith("lost"):
            self.items.pop()
        self.items.append(f"lost {number}")


@given(st.lists(st.sampled_from(["put", "interrupt", "take"]), max_size=40))
def test_the_slot_is_its_model(steps: list[str]) -> None:
    """Whatever the order of calls, the slot yields what the list of newest items holds."""

    async def play() -> None:
        replaced: list[int] = []
        slot, model = LatestSlot(lambda: replaced.append(1)), SlotModel()
        items = slot.frames()
        for number, step in enumerate(steps):
            if step == "put":
                slot.put(frame(number))
                model.put(number)
            elif step == "interrupt":
                slot.mark(lost(number))
                model.mark(number)
            elif model.items:
                assert name(await anext(items)) == model.items.pop(0)
        assert await drained(slot) == model.items
        assert len(replaced) == model.replaced

    asyncio.run(play())


async def test_a_waiting_reader_is_woken_from_another_thread() -> None:
    """A frame put by a thread reaches a reader that waits already."""
    slot = LatestSlot()
    reading = asyncio.ensure_future(anext(slot.frames()))
    await asyncio.sleep(0)
    threading.Thread(target=slot.put, args=(frame(7),)).start()
    assert name(await reading) == "frame 7"


async def test_a_busy_loop_is_woken_once() -> None:
    """A thousand frames while the loop is busy queue one callback, and pin one frame."""
    slot = LatestSlot()
    reading = asyncio.ensure_future(anext(slot.frames()))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    calls = 0
    original = loop.call_soon_threadsafe

    def counted(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        return original(*args, **kwargs)  # type: ignore[arg-type]  # passed on as they came

    def put_many() -> None:
        for index in range(1000):
            slot.put(frame(index))

    loop.call_soon_threadsafe = counted  # type: ignore[assignment]  # taken back below
    try:
        writer = threading.Thread(target=put_many)
        writer.start()
        writer.join()
    finally:
        loop.call_soon_threadsafe = original  # type: ignore[method-assign]
    assert calls == 1
    assert name(await reading) == "frame 999"


async def test_an_offer_waits_for_the_reader() -> None:
    """With a frame in the slot an offer is refused in time, and replaces nothing."""
    slot = LatestSlot()
    assert slot.offer(frame(0), timeout_s=0.0)
    began_at = time.monotonic()
    assert not slot.offer(frame(1), timeout_s=0.05)
    assert time.monotonic() - began_at < 1.0
    assert await drained(slot) == ["frame 0"]


async def test_every_offered_frame_is_read_in_order() -> None:
    """A thread that offers and a slow reader exchange all frames and the discontinuity."""
    slot = LatestSlot()

    def write() -> None:
        for index in range(200):
            while not slot.offer(frame(index), timeout_s=0.1):
                pass
        slot.mark(lost(200))
        slot.close()

    writer = threading.Thread(target=write)
    writer.start()
    names = []
    async for item in slot.frames():
        names.append(name(item))
        await asyncio.sleep(0)
    writer.join()
    assert names == [f"frame {index}" for index in range(200)] + ["lost 200"]


async def test_closing_lets_a_waiting_writer_go() -> None:
    """A writer that waits for its reader returns at once when the slot is closed."""
    slot = LatestSlot()
    slot.put(frame(0))
    began_at = time.monotonic()
    offering = asyncio.to_thread(slot.offer, frame(1), timeout_s=30.0)
    task = asyncio.ensure_future(offering)
    await asyncio.sleep(0)
    slot.close()
    assert await task
    assert time.monotonic() - began_at < 5.0


async def test_threads_lose_no_interruption_and_no_order() -> None:
    """Under a writer at full speed frames come in order, the last is read, and all are counted."""
    replaced: list[int] = []
    slot = LatestSlot(lambda: replaced.append(1))
    total = 20_000

    def write() -> None:
        for index in range(total):
            slot.put(frame(index))
            if index % 1000 == 999:
                slot.mark(lost(index))
        slot.close()

    writer = threading.Thread(target=write)
    writer.start()
    numbers, losses = [], []
    async for item in slot.frames():
        if isinstance(item, Frame):
            numbers.append(item.index)
        else:
            losses.append(int(item.reason))
    writer.join()
    assert numbers == sorted(set(numbers))
    assert len(numbers) + len(replaced) == total
    assert losses == sorted(losses)
    assert losses[-1] == total - 1


def test_a_slot_whose_loop_has_gone_takes_frames_still() -> None:
    """A decode thread that outlives the loop by a moment does not fail."""
    slot = LatestSlot()

    async def leave_waiting() -> None:
        with_timeout = asyncio.wait_for(anext(slot.frames()), 0.01)
        try:
            await with_timeout
        except TimeoutError:
            return

    asyncio.run(leave_waiting())
    slot.put(frame(0))
    slot.mark(lost(1))
