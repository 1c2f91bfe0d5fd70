"""Offers that nobody follows up: as many as somebody cares to send leave nothing behind.

STREAMGATE_HALF_OPEN sets how many are sent; it is kept small so that the suite is quick.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.sources.viewer import reach, until, value
from tests.sources.webrtc.ingest import Publisher, ingest, offer_of
from tests.sources.webrtc.tracks import FileTrack

pytestmark = [pytest.mark.live, pytest.mark.slow]

OFFERS = int(os.environ.get("STREAMGATE_HALF_OPEN", "200"))
WARM_UP = 50


@pytest.fixture
def quiet() -> Iterator[None]:
    """Keep the log out of the memory that pytest collects."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("quiet")
async def test_half_open_offers_leave_nothing_where_they_replace_each_other(clip: Path) -> None:
    """Each closes the one before it; a real publisher then comes through at once."""
    offer = await offer_of("video")
    async with ingest(on_conflict="takeover") as target:
        footprints = []
        for count in (WARM_UP, OFFERS):
            for _ in range(count):
                assert (await target.post(offer)).status == 201
            footprints.append(await _calm_footprint())
        async with Publisher(target, FileTrack(clip)):
            await target.viewer.frames(2)
        await until(lambda: "webrtc-decoder" not in {t.name for t in threading.enumerate()})
    tasks, threads, files, memory_kib = (b - a for a, b in zip(*footprints, strict=True))
    assert (threads, files) == (0, 0)
    # The newest one is caught in the middle of opening, with a task more or less.
    assert abs(tasks) <= 3
    assert memory_kib < 4_000 + 4 * OFFERS


@pytest.mark.usefixtures("quiet")
async def test_half_open_offers_are_refused_where_one_has_the_place(clip: Path) -> None:
    """One holds the place for the connection timeout and no longer; the others cost nothing."""
    offer = await offer_of("video")
    async with ingest(connect_timeout_s=3.0) as target:
        assert (await target.post(offer)).status == 201
        before = await _calm_footprint()
        statuses = {(await target.post(offer)).status for _ in range(OFFERS)}
        after = await _calm_footprint()
        assert statuses <= {409, 201}
        await reach(target.metrics, "source_faults_total", 1, reason="never_connected")
        await until(lambda: value(target.metrics, "webrtc_state", state="waiting") == 1)
        async with Publisher(target, FileTrack(clip)):
            await target.viewer.frames(2)
    tasks, threads, files, memory_kib = (b - a for a, b in zip(before, after, strict=True))
    assert (threads, files) == (0, 0)
    # The one that has the place begins to check its candidates meanwhile.
    assert abs(tasks) <= 3
    assert memory_kib < 4_000


async def _calm_footprint() -> tuple[int, int, int, int]:
    # aiortc's connecting tasks look 50 times a second whether they have been closed.
    await until(lambda: _connecting() <= 1)
    return _footprint()


def _footprint() -> tuple[int, int, int, int]:
    """Tasks, threads, open files and resident KiB of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    files = len(list(Path("/proc/self/fd").iterdir()))
    memory_kib = pages * resource.getpagesize() // 1024
    return len(asyncio.all_tasks()), threading.active_count(), files, memory_kib


def _connecting() -> int:
    names = [str(task.get_coro()) for task in asyncio.all_tasks()]
    return sum("__connect" in name for name in names)
