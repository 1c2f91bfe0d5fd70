"""Start, serve and stop one camera.

Stopping keeps an order: the source first, then the slot, so that the pipeline sees the end of its
frames; the pipeline ends its tracks and hands over what is due; delivery drains last. A source that
ends by itself (a file) takes the same way without the hurry of a signal.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import time
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from types import FrameType
from typing import Any, Literal

import structlog
from aiohttp import web

from streamgate.config import LoadedConfig, WhipSection
from streamgate.daemon.compose import Camera, compose
from streamgate.daemon.forced_exit import LastResort
from streamgate.daemon.health import Part
from streamgate.daemon.observer import Observer
from streamgate.daemon.reload import Reloader, hangups
from streamgate.daemon.zone_file import ZoneFile
from streamgate.errors import SourceError, StreamgateError
from streamgate.selection.profiles import choose_profile
from streamgate.telemetry.notify import feed_watchdog, notify
from streamgate.web.app import Health, build_app, serve
from streamgate.web.auth import Guard
from streamgate.web.connections import Limits, raise_descriptor_limit
from streamgate.web.live_page import add_live_routes
from streamgate.web.profile import add_profile_routes
from streamgate.web.whip import add_whip_routes
from streamgate.web.zones import add_zone_routes

__all__ = ["run_camera"]

log = structlog.get_logger(__name__)

# A service manager allows ten seconds and more; people expect five.
_PIPELINE_STOP_S = 1.0
# After the end of a file there is no hurry, but a sink that is down must not hold the process.
_DRAIN_AT_END_S = 60.0
_STALLED_S = 30.0
_JUDGE_S = 1.0
# An orderly stop takes the pipeline's second and the drain; what is left is for closing.
_STOP_S = 4.5
_BESIDE_DRAIN_S = 1.5
# timeout(1) and some shells signal a process and its group, which is meant as one signal.
_SAME_SIGNAL_S = 1.0


async def run_camera(loaded: LoadedConfig, boot_id: str, observer: Observer | None = None) -> int:
    """Run one camera until its source ends or SIGTERM or SIGINT comes.

    Returns:
        How many accepted best shots are lost because they were kept in memory only.

    Raises:
        StreamgateError: it cannot run, or its source failed for good.
    """
    raise_descriptor_limit()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    forced_exit = LastResort(
        max(_STOP_S, loaded.config.delivery.drain_s + _BESIDE_DRAIN_S),
        wake=lambda: loop.call_soon_threadsafe(lambda: None),
    )
    try:
        with forced_exit.watching(), _signals(stop), hangups(loaded.path) as asked:
            async with AsyncExitStack() as stack:
                # The models of a night's profile are those of the day's, but its thresholds count.
                start = choose_profile(
                    loaded.config, None, wall=time.time(), monotonic=time.monotonic()
                )
                in_use = loaded.under(start.name)
                camera = await _unless_stopped(compose(in_use, boot_id, stack, observer), stop)
                if camera is None:
                    log.info("stopped while it started")
                    return 0
                reloader = Reloader(camera, loaded, asked)
                return await _serve(camera, reloader, stop, stack, forced_exit)
    except* StreamgateError as failures:
        raise _first(failures) from None


async def _unless_stopped(
    composing: Coroutine[Any, Any, Camera], stop: asyncio.Event
) -> Camera | None:
    """Wait for a camera to be made, or give it up for a signal."""
    async with asyncio.TaskGroup() as group:
        making = group.create_task(composing)
        stopping = group.create_task(stop.wait())
        await asyncio.wait({making, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not making.done():
            making.cancel()
    return None if making.cancelled() else making.result()


async def _serve(
    camera: Camera,
    reloader: Reloader,
    stop: asyncio.Event,
    stack: AsyncExitStack,
    forced_exit: LastResort,
) -> int:
    config = camera.config
    forced_exit.doing = "opening the outbox"
    stack.enter_context(camera.notices.listening())
    await camera.dispatcher.open()
    forced_exit.lost = lambda: _account(camera)
    forced_exit.doing = "running"
    if config.web.enabled:
        await stack.enter_async_context(serve(_web_app(camera, reloader), config.web))
    async with asyncio.TaskGroup() as group:
        # It outlives delivery, which needs the lease to the end.
        leasing = group.create_task(_keep_lease(camera))
        delivering = group.create_task(camera.dispatcher.run())
        watching = group.create_task(camera.pipeline.run(camera.slot.frames()))
        reading = group.create_task(_read(camera))
        stopping = group.create_task(stop.wait())
        reloading = group.create_task(reloader.run())
        feeding = group.create_task(feed_watchdog(lambda: _fault(camera)))
        judging = group.create_task(_until_ill(camera))
        log.info("camera runs", source=config.source.kind, sinks=len(config.delivery.sinks))
        notify("READY=1", f"STATUS=Watches {config.camera.name}")
        await asyncio.wait({reading, stopping, judging}, return_when=asyncio.FIRST_COMPLETED)
        ill = judging.result() if judging.done() else None
        if ill is not None:
            # What is ill may not stop either.
            forced_exit.begin()
            stop.set()
        forced_exit.doing = "judging live tracks"
        notify("STOPPING=1", "STATUS=Judges live tracks and delivers what is due")
        camera.slot.close()
        reading.cancel()
        await _until(watching, stopping, camera)
        forced_exit.doing = "delivering what is due"
        drain_s = camera.dispatcher.drain_s
        left = await camera.dispatcher.drain(drain_s if stop.is_set() else _DRAIN_AT_END_S)
        await delivering
        forced_exit.doing = "closing the source"
        await asyncio.wait({reading})
        for task in (leasing, stopping, reloading, feeding, judging):
            task.cancel()
    forced_exit.doing = "closing"
    failure = None if reading.cancelled() else reading.result()
    log.info("camera stopped", undelivered=left)
    if ill is not None:
        raise StreamgateError(f"the camera cannot go on: {ill}")
    if failure is not None:
        raise failure
    return min(left, camera.outbox.perishable)


async def _keep_lease(camera: Camera) -> None:
    if camera.lease is not None:
        await camera.lease.run()


def _web_app(camera: Camera, reloader: Reloader) -> web.Application:
    """Metrics, health checks, and the pages that the camera has."""
    config = camera.config
    guard = Guard(config.web, config.camera.name)
    app = build_app(
        camera.metrics,
        lambda: health_of(camera),
        guard=guard,
        protect_metrics=config.web.protect_metrics,
        limits=Limits(
            Limits.within_descriptors(config.web.max_connections + config.web.max_viewers)
        ),
    )
    add_profile_routes(app, reloader, guard)
    if camera.live is not None:
        add_live_routes(
            app, camera.live, guard=guard, settings=config.web, health=lambda: health_of(camera)
        )
        store = ZoneFile(reloader.path, reloader.now) if reloader.path.is_file() else None
        add_zone_routes(app, guard=guard, zones=camera.live.sources.zones, store=store)
    if camera.ingest is not None and isinstance(config.source, WhipSection):
        add_whip_routes(app, camera.ingest, config.source, camera.metrics)
    return app


async def _read(camera: Camera) -> SourceError | None:
    """Run the source; its failure must not cancel the tracks that are still to be judged."""
    if camera.lease is not None:
        # Whoever has the lease watches the same camera, which may serve one connection only.
        await camera.lease.wait_first()
    try:
        await camera.source.run(camera.slot)
    except SourceError as error:
        return error
    return None


async def _until(
    watching: asyncio.Task[None], stopping: asyncio.Task[Literal[True]], camera: Camera
) -> None:
    """Wait for the pipeline's drain; from a signal on it has little time left."""
    await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not watching.done():
        camera.pipeline.limit_drain(_PIPELINE_STOP_S)
    await watching


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` at the first SIGTERM or SIGINT; leave the process at a later one."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    asked_at = math.inf

    def handle(_: int, __: FrameType | None) -> None:
        nonlocal asked_at
        now = time.monotonic()
        asked_at = min(asked_at, now)
        if now - asked_at < _SAME_SIGNAL_S:
            loop.call_soon_threadsafe(stop.set)
            return
        # No logger here: its lock may be held by what was interrupted.
        with suppress(OSError):
            os.write(2, b"streamgate: stopped at once by a second signal; some may be lost\n")
        os._exit(1)

    # Not the loop's own handlers: a second signal must be heard when the loop hangs.
    for number in numbers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


async def _until_ill(camera: Camera) -> str:
    """Return why the process should end, once it should."""
    seen = _outbox_faults(camera)
    while True:
        await asyncio.sleep(_JUDGE_S)
        faults = _outbox_faults(camera)
        if faults != seen:
            reasons = sorted(name for name in faults if faults[name] != seen.get(name))
            camera.failures.failed(Part.DISK, f"the outbox cannot be written ({reasons[0]})")
        elif camera.outbox.perishable == 0:
            camera.failures.succeeded(Part.DISK)
        seen = faults
        limit_s = camera.config.health.end_after_stall_s
        stalled_s = max(camera.pipeline.busy_s, camera.pipeline.scoring_s)
        fatal = camera.failures.fatal
        if fatal is None and limit_s is not None and stalled_s > limit_s:
            fatal = _stall(camera)
        if fatal is None and camera.lease is not None and camera.lease.taken_by is not None:
            # Started again, it waits for its turn.
            fatal = f"{camera.lease.taken_by} has taken its lease"
        if fatal is not None:
            log.error("the camera cannot go on and ends", reason=fatal)
            return fatal


def _outbox_faults(camera: Camera) -> dict[str, float]:
    """How often the outbox's file could not be used, by reason."""
    return {
        sample.labels["reason"]: sample.value
        for metric in camera.metrics.outbox_faults.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }


def _stall(camera: Camera) -> str | None:
    pipeline = camera.pipeline
    if pipeline.busy_s > _STALLED_S:
        return f"one frame has been in analysis for {pipeline.busy_s:.0f} s"
    if pipeline.scoring_s > _STALLED_S:
        return f"one batch has been with the scorer for {pipeline.scoring_s:.0f} s"
    return None


def _account(camera: Camera) -> str:
    """What is lost when the process ends now."""
    perishable = camera.outbox.perishable
    tracks = len(camera.pipeline.parts.selector.live_tracks)
    shots = f"{perishable} best shots that were in memory only are lost"
    return f"{shots}, and {tracks} live tracks are not judged"


def health_of(camera: Camera) -> Health:
    """How the camera is doing now."""
    at = camera.pipeline.last_frame_at
    age_s = None if at is None else camera.clock.monotonic() - at
    fault = _stall(camera) or camera.failures.fault
    ready = age_s is not None and age_s <= camera.config.web.ready_frame_age_s
    lost = camera.notices.fault
    unleased = None if camera.lease is None else camera.lease.fault
    if fault is not None:
        detail = fault
    elif lost is not None and not ready:
        detail = lost
    elif age_s is None and unleased is not None:
        detail = unleased
    elif age_s is None:
        detail = "no frame has come yet"
    else:
        detail = "frames arrive" if ready else f"the last frame came {age_s:.1f} s ago"
    alive = fault is None
    doubt = camera.notices.doubt or unleased or camera.scorer_doubt()
    return Health(
        camera.config.camera.name,
        age_s,
        ready and alive,
        alive,
        detail,
        doubt,
        profile=camera.profile,
    )


def _fault(camera: Camera) -> str | None:
    health = health_of(camera)
    return None if health.alive else health.detail


def _first(failures: BaseExceptionGroup[StreamgateError]) -> StreamgateError:
    failure = failures.exceptions[0]
    return _first(failure) if isinstance(failure, BaseExceptionGroup) else failure
