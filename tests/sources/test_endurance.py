"""Ending in time, and not growing while a camera is away."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from streamgate.config.source import DeviceSection, ReconnectSection, RtspSection
from streamgate.pipeline.slot import LatestSlot
from streamgate.sources.device import DeviceSource
from streamgate.sources.rtsp import RtspSource
from streamgate.sources.worker import run_in_thread
from streamgate.telemetry.metrics import Metrics
from tests.servers.rtsp import RtspServer
from tests.sources.viewer import SystemClock, reach, until, watching

pytestmark = pytest.mark.live

AT_ONCE = ReconnectSection(initial_s=0.001, max_s=0.001)


def source(url: str, metrics: Metrics, **settings: Any) -> RtspSource:
    config = RtspSection(kind="rtsp", url=url, **{"reconnect": AT_ONCE, **settings})
    return RtspSource(config, metrics, SystemClock())


@contextmanager
def listener(*, silent: bool) -> Iterator[str]:
    """A host that accepts connections and then says nothing, or hangs up."""

    def hang_up() -> None:
        with suppress(OSError):
            while True:
                host.accept()[0].close()

    with socket.create_server(("127.0.0.1", 0)) as host:
        # The kernel accepts on behalf of one that never does.
        thread = threading.Thread(target=hang_up, name="host")
        if not silent:
            thread.start()
        yield f"rtsp://127.0.0.1:{host.getsockname()[1]}/camera"
        # Closing alone would not end an `accept` that waits.
        host.shutdown(socket.SHUT_RDWR)
    if not silent:
        thread.join()


async def cancelled_after_s(task: asyncio.Task[None]) -> float:
    began_at = time.monotonic()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return time.monotonic() - began_at


async def test_a_running_camera_is_let_go_at_once(clip: Path) -> None:
    """Cancelling between two pictures ends the thread within a picture or so."""
    metrics = Metrics()
    threads = threading.active_count()
    with RtspServer(clip) as server:
        task = asyncio.create_task(source(server.url, metrics).run(LatestSlot()))
        await reach(metrics, "source_up", 1)
        assert await cancelled_after_s(task) < 1.0
    assert threading.active_count() == threads


async def test_a_frozen_camera_is_let_go_within_the_read_timeout(clip: Path) -> None:
    """Cancelling in the middle of a read waits for that read alone."""
    metrics = Metrics()
    with RtspServer(clip) as server:
        frozen = source(server.url, metrics, read_timeout_s=1.5)
        task = asyncio.create_task(frozen.run(LatestSlot()))
        await reach(metrics, "source_up", 1)
        server.freeze()
        assert await cancelled_after_s(task) < 2.5


async def test_a_black_hole_cannot_hold_the_process() -> None:
    """An opening that would take a minute is left alone after the bound."""
    metrics = Metrics()
    with listener(silent=True) as url:
        slow = source(url, metrics, open_timeout_s=60, read_timeout_s=60)
        task = asyncio.create_task(slow.run(LatestSlot()))
        await asyncio.sleep(0.3)
        assert await cancelled_after_s(task) < 4.0
    # The host has hung up by now, and the thread ends by itself.
    await until(
        lambda: all(thread.name not in {"read", "decode"} for thread in threading.enumerate())
    )


@pytest.fixture
def quiet() -> Iterator[None]:
    """Keep the log out of the memory that pytest collects."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("quiet")
async def test_threads_memory_and_files_are_flat_over_many_attempts() -> None:
    """A camera that accepts and hangs up hundreds of times leaves nothing behind."""
    metrics = Metrics()
    with listener(silent=False) as url:
        async with watching(source(url, metrics)):
            await reach(metrics, "source_faults_total", 150, reason="invalid_data")
            before = _footprint()
            await reach(metrics, "source_faults_total", 600, reason="invalid_data")
            after = _footprint()
    threads, files, memory_kib = (b - a for a, b in zip(before, after, strict=True))
    assert threads == 0
    assert abs(files) <= 3
    assert memory_kib < 6_000


async def test_threads_memory_and_files_are_flat_over_many_streams(small_clip: Path) -> None:
    """A camera that is killed and restarted again and again leaves nothing behind."""
    metrics = Metrics()
    with RtspServer(small_clip, codec="mjpeg") as server:
        async with watching(source(server.url, metrics)) as viewer:
            footprints = []
            for _ in range(6):
                await viewer.frames(2)
                footprints.append(_footprint())
                server.kill()
                await viewer.discontinuity()
                server.restart()
    threads, files, memory_kib = (b - a for a, b in zip(*footprints[2::3], strict=True))
    assert threads == 0
    assert abs(files) <= 3
    assert memory_kib < 6_000


async def test_a_missing_device_is_tried_for_ever() -> None:
    """A camera that is not plugged in is a fault, not the end."""
    metrics = Metrics()
    config = DeviceSection(kind="device", path=Path("/dev/video-none"), reconnect=AT_ONCE)
    async with watching(DeviceSource(config, metrics, SystemClock())):
        await reach(metrics, "source_faults_total", 3, reason="not_found")


async def test_what_the_thread_raises_is_raised_in_the_task() -> None:
    """An error that nobody foresaw ends the source and is not swallowed."""

    def fail(stop: threading.Event) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run_in_thread(fail, name="failing")


def _footprint() -> tuple[int, int, int]:
    """Threads, open files and resident KiB of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    files = len(list(Path("/proc/self/fd").iterdir()))
    return threading.active_count(), files, pages * resource.getpagesize() // 1024
