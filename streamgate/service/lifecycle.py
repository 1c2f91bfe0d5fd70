"""Start, serve and stop the scorer service.

A stop keeps an order: health says so first, what waits is answered, then connections are closed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager, suppress
from dataclasses import asdict

import structlog

from streamgate.config import ScorerConfig
from streamgate.errors import StreamgateError
from streamgate.quality.calibration import Calibration
from streamgate.quality.thread import GrafiqsScorer
from streamgate.service.health import HealthService
from streamgate.service.inference import InferenceService
from streamgate.service.requests import ServedModel
from streamgate.service.server import Listeners
from streamgate.service.shared_engine import EngineState, SharedEngine
from streamgate.telemetry.notify import feed_watchdog, notify
from streamgate.telemetry.scorer_metrics import ScorerMetrics
from streamgate.web.app import Health, build_app, serve
from streamgate.web.auth import Guard
from streamgate.web.connections import Limits, raise_descriptor_limit

__all__ = ["run_scorer"]

log = structlog.get_logger(__name__)

# So that the answers of a dead engine still reach their clients.
_LAST_WORDS_S = 1.0
_CLOSE_S = 2.0


async def run_scorer(config: ScorerConfig) -> None:
    """Serve until SIGTERM or SIGINT comes.

    Raises:
        StreamgateError: it cannot serve, or its engine is dead.
    """
    raise_descriptor_limit()
    stop = asyncio.Event()
    try:
        with _signals(stop):
            async with AsyncExitStack() as stack:
                scorer = await _unless_stopped(config, stop)
                if scorer is None:
                    log.info("stopped while it started")
                    return
                stack.push_async_callback(_close, scorer)
                await _serve(config, scorer, stop, stack)
    except* StreamgateError as failures:
        raise _first(failures) from None


async def _unless_stopped(config: ScorerConfig, stop: asyncio.Event) -> GrafiqsScorer | None:
    """Load the network, or give it up for a signal."""
    threads = config.quality.threads or len(os.sched_getaffinity(0))
    settings = config.quality.model_copy(update={"threads": threads})
    async with asyncio.TaskGroup() as group:
        loading = group.create_task(GrafiqsScorer.start(settings))
        stopping = group.create_task(stop.wait())
        await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not loading.done():
            loading.cancel()
    return None if loading.cancelled() else loading.result()


async def _serve(
    config: ScorerConfig, scorer: GrafiqsScorer, stop: asyncio.Event, stack: AsyncExitStack
) -> None:
    metrics = ScorerMetrics(config.metrics.named_cameras)
    model = served_model(config, scorer)
    metrics.model.info({"sha256": model.model_hash, "group": model.group})
    engine = SharedEngine(scorer, config, metrics, clock=asyncio.get_running_loop().time)
    listeners = Listeners(config.listen, config.limits, metrics, batch_size=scorer.batch_size)
    health = HealthService(lambda: engine.state is EngineState.SERVING)
    await listeners.start(
        InferenceService(engine, model, config, metrics).handler(), health.handler()
    )
    try:
        if config.metrics.enabled:
            # It reads the page of the login, which no listener without a page shows.
            guard = await asyncio.to_thread(Guard, config.metrics.web, config.scorer.name)
            await stack.enter_async_context(_metrics_listener(config, metrics, engine, guard))
        async with asyncio.TaskGroup() as group:
            running = group.create_task(engine.run())
            stopping = group.create_task(stop.wait())
            dying = group.create_task(engine.died())
            feeding = group.create_task(feed_watchdog(lambda: engine.fault))
            notify("READY=1", f"STATUS=Scores with {model.backbone} {model.model_hash[:12]}")
            await asyncio.wait({stopping, dying}, return_when=asyncio.FIRST_COMPLETED)
            notify("STOPPING=1", "STATUS=Answers what waits")
            if engine.fault is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(config.engine.drain_s):
                        await engine.drain()
            for task in (running, stopping, dying, feeding):
                task.cancel()
    finally:
        # The last answers are written, not waited for.
        await listeners.stop(_LAST_WORDS_S)
    log.info("scorer service stopped")
    if engine.fault is not None:
        raise StreamgateError(engine.fault)


def served_model(config: ScorerConfig, scorer: GrafiqsScorer) -> ServedModel:
    """What the metadata tell."""
    calibration = scorer.calibration
    return ServedModel(
        name=config.quality.model,
        model_hash=scorer.model_hash,
        group=config.quality.group,
        calibration="none" if calibration is None else _hash_of(calibration),
        batch_size=scorer.batch_size,
        embedding_size=scorer.embedding_size,
        backbone=scorer.backbone,
        precision=config.quality.precision,
    )


def _hash_of(calibration: Calibration) -> str:
    canonical = json.dumps(asdict(calibration), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _metrics_listener(
    config: ScorerConfig, metrics: ScorerMetrics, engine: SharedEngine, guard: Guard
) -> AbstractAsyncContextManager[int]:
    settings = config.metrics.web

    def health() -> Health:
        serving = engine.state is EngineState.SERVING
        detail = engine.fault or ("requests are taken" if serving else "the service is stopping")
        alive = engine.fault is None
        return Health(config.scorer.name, None, serving, alive, detail, kind="scorer")

    app = build_app(
        metrics,
        health,
        guard=guard,
        protect_metrics=settings.protect_metrics,
        limits=Limits(Limits.within_descriptors(settings.max_connections)),
    )
    return serve(app, settings)


async def _close(scorer: GrafiqsScorer) -> None:
    """Free the device; an engine that hangs is left to the end of the process."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_S):
            await scorer.close()


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """Set `stop` at SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _first(failures: BaseExceptionGroup[StreamgateError]) -> StreamgateError:
    failure = failures.exceptions[0]
    return _first(failure) if isinstance(failure, BaseExceptionGroup) else failure
