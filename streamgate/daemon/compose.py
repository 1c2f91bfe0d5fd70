"""The composition root: the one place that names concrete classes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import cache

from streamgate.config import (
    CameraConfig,
    FileSection,
    LoadedConfig,
)
from streamgate.daemon.delivery import build_outbox, build_sink
from streamgate.daemon.gauges import show_config, show_parts
from streamgate.daemon.health import Failures
from streamgate.daemon.lease import build_keeper
from streamgate.daemon.listeners import Listeners
from streamgate.daemon.observer import Observer
from streamgate.daemon.sketch import SketchKeeper
from streamgate.daemon.source import build_source
from streamgate.delivery.decision_log import DecisionLog
from streamgate.delivery.dispatcher import Dispatcher
from streamgate.delivery.lease.keeper import LeaseKeeper
from streamgate.delivery.lease.permit import LeasePermit
from streamgate.delivery.outbox import Outbox
from streamgate.faces.analyse import FaceAnalyser
from streamgate.faces.bystanders import BystanderHider
from streamgate.faces.detect import YuNetDetector
from streamgate.faces.track import FaceTracker
from streamgate.models.registry import installed
from streamgate.pipeline import (
    CameraPipeline,
    PipelineIdentity,
    PipelineParts,
    Publisher,
    SystemClock,
)
from streamgate.pipeline.slot import LatestSlot
from streamgate.ports import Clock, FrameSource, ShotOutbox, WebRtcIngest
from streamgate.quality import Calibration
from streamgate.quality.non_faces import load_non_faces
from streamgate.quality.start import CameraScorer, start_scorer
from streamgate.quality.threshold import with_threshold
from streamgate.selection.decision_record import DecidedUnder
from streamgate.selection.identity import IdentityRules
from streamgate.selection.selector import Selector
from streamgate.telemetry.drift import QualityDrift
from streamgate.telemetry.metrics import Metrics
from streamgate.telemetry.notices import SourceNotices
from streamgate.telemetry.tracing import FrameTracer
from streamgate.values import BestShot, Frame, Image, PassReason, TrackDecision
from streamgate.web.live import LiveSources, LiveView

__all__ = ["Camera", "compose"]

_CONTEXT_SIDE_PX = 1280


@dataclass(frozen=True, slots=True)
class Camera:
    """The parts that the lifecycle starts and stops."""

    config: CameraConfig
    metrics: Metrics
    clock: Clock
    source: FrameSource
    slot: LatestSlot
    pipeline: CameraPipeline
    dispatcher: Dispatcher
    outbox: Outbox
    ingest: WebRtcIngest | None
    analyser: FaceAnalyser
    detector: YuNetDetector
    decisions: DecisionLog | None
    live: LiveView | None
    failures: Failures
    notices: SourceNotices
    calibration: Calibration | None = None
    scorer_doubt: Callable[[], str | None] = lambda: None
    lease: LeaseKeeper | None = None

    @property
    def profile(self) -> str:
        """The profile in use."""
        return self.pipeline.parts.publisher.identity.profile


async def compose(
    loaded: LoadedConfig, boot_id: str, stack: AsyncExitStack, observer: Observer | None
) -> Camera:
    """Build a camera; what must be closed is left on the stack.

    Raises:
        StreamgateError: a model, a file or a device is not as configured.
    """
    clock, metrics = SystemClock(), Metrics(loaded.config.camera.name)
    config, scorer = await _load_scorer(loaded.config, metrics, stack)
    analysis = await _build_analysis(config, clock, stack)
    selector = Selector(
        config.gate,
        max_pending=config.quality.max_pending,
        share=config.quality.score_share,
        identity=IdentityRules.of(config.gate.visit_s, scorer.identity),
        zones=config.zones,
        non_faces=await asyncio.to_thread(
            load_non_faces,
            config.quality.weights,
            scorer.model_hash,
            config.quality.max_non_face_similarity,
        ),
    )
    outbox = build_outbox(config, metrics, clock)
    listeners = Listeners(
        drift=QualityDrift(config.quality.drift, calibrated=scorer.calibrated),
        sketch=_sketch(config, scorer, clock, stack),
        live=_live_view(config, selector, analysis.analyser, outbox, scorer),
        tracer=_tracer(config, boot_id, clock, stack),
        observer=observer,
    )
    lease = build_keeper(config.lease, config.camera.name, boot_id, metrics)
    dispatcher = Dispatcher(
        config.delivery,
        outbox=outbox,
        sinks=[build_sink(section, config.camera.name) for section in config.delivery.sinks],
        metrics=metrics,
        clock=clock,
        on_outcome=listeners.delivered,
        hide_bystanders=_bystander_hider(config),
        permit=None if lease is None else LeasePermit(lease),
    )
    failures = Failures(config.health)
    identity = PipelineIdentity(
        config.camera.name,
        boot_id,
        loaded.config_hash,
        scorer.model_hash,
        profile=loaded.profile,
    )
    decisions = _decision_log(config, identity, dispatcher, metrics, stack)

    async def decided(decision: TrackDecision) -> None:
        if decisions is not None:
            await decisions.decided(decision)
        listeners.decided(decision)

    pipeline = CameraPipeline(
        PipelineParts(
            analyser=analysis.analyser,
            detection=analysis.thread,
            scorer=scorer,
            selector=selector,
            publisher=Publisher(
                identity,
                decisions or dispatcher,
                metrics=metrics,
                clock=clock,
                on_decision=decided,
                on_shot=listeners.released,
            ),
            metrics=metrics,
            clock=clock,
            on_scored=listeners.scored,
            on_analysed=listeners.analysed,
            on_joined=listeners.joined,
            on_outcome=failures.note,
            lossless=_is_lossless(config),
        )
    )
    if lease is not None:
        _connect(lease, pipeline, dispatcher, stack)
    show_config(config, loaded.config_hash, metrics, clock)
    show_parts(pipeline, scorer, listeners.drift, metrics)
    if observer is not None:
        observer.started(metrics)
    source = build_source(config.source, metrics, clock)
    return Camera(
        config=config,
        metrics=metrics,
        clock=clock,
        source=source,
        slot=LatestSlot(
            metrics.frames_dropped.labels("replaced").inc,
            _wanted(analysis.analyser, listeners.live, metrics),
        ),
        pipeline=pipeline,
        dispatcher=dispatcher,
        outbox=outbox,
        ingest=source if isinstance(source, WebRtcIngest) else None,
        analyser=analysis.analyser,
        detector=analysis.detector,
        decisions=decisions,
        live=listeners.live,
        failures=failures,
        notices=_notices(listeners.live),
        calibration=scorer.calibration,
        scorer_doubt=lambda: scorer.doubt,
        lease=lease,
    )


def _wanted(
    analyser: FaceAnalyser, live: LiveView | None, metrics: Metrics
) -> Callable[[Frame], bool]:
    """Return whether a frame is worth waking the event loop for; those that are not are counted."""
    passed = {reason: metrics.frames_passed.labels(reason.value) for reason in PassReason}

    def is_wanted(frame: Frame) -> bool:
        pause = analyser.pause
        # Who looks at the page sees every frame.
        if pause is None or not pause.covers(frame.captured_at) or (live and live.viewers):
            return True
        passed[pause.reason].inc()
        return False

    return is_wanted


def _connect(
    lease: LeaseKeeper, pipeline: CameraPipeline, dispatcher: Dispatcher, stack: AsyncExitStack
) -> None:
    """Let a lease's epoch stand in all that is released, and its return wake the sinks."""
    publisher = pipeline.parts.publisher

    def adopt(epoch: int) -> None:
        publisher.identity = replace(publisher.identity, epoch=epoch)

    lease.on_epoch, lease.on_held = adopt, dispatcher.wake
    stack.push_async_callback(lease.close)


async def _load_scorer(
    config: CameraConfig, metrics: Metrics, stack: AsyncExitStack
) -> tuple[CameraConfig, CameraScorer]:
    """Start the scorer, and set the gate's threshold as a quality, however it was asked for."""
    scorer = await stack.enter_async_context(
        await start_scorer(config.quality, camera=config.camera.name, metrics=metrics)
    )
    gate = with_threshold(config.gate, scorer.calibration)
    return config.model_copy(update={"gate": gate}), scorer


@dataclass(frozen=True, slots=True)
class _Analysis:
    """The face analyser, and the one thread that it belongs to."""

    thread: ThreadPoolExecutor
    detector: YuNetDetector
    analyser: FaceAnalyser


def _is_lossless(config: CameraConfig) -> bool:
    """Whether every frame counts: a recording that is read as fast as it can be judged."""
    return isinstance(config.source, FileSection) and config.source.pace == "fast"


async def _build_analysis(config: CameraConfig, clock: Clock, stack: AsyncExitStack) -> _Analysis:
    # Loading models takes seconds; signals must be heard meanwhile.
    path = await asyncio.to_thread(installed, config.detector.model)
    thread = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="detection"))
    detector = await asyncio.get_running_loop().run_in_executor(
        thread, YuNetDetector, config.detector, path
    )
    analyser = FaceAnalyser(
        config,
        detector,
        FaceTracker(config.tracker),
        clock,
        every_frame=_is_lossless(config),
    )
    return _Analysis(thread, detector, analyser)


def _bystander_hider(config: CameraConfig) -> Callable[[BestShot], Image | None]:
    """Load a detector of its own when the first context picture is sent: most cameras send none."""
    # A context is small: it is looked at in full, also where frames are scaled down further.
    side_px = max(_CONTEXT_SIDE_PX, config.detector.max_side_px)
    settings = config.detector.model_copy(update={"max_side_px": side_px})

    @cache
    def hider() -> BystanderHider:
        return BystanderHider(YuNetDetector(settings, installed(settings.model)))

    def hide(shot: BestShot) -> Image | None:
        return hider()(shot)

    return hide


def _sketch(
    config: CameraConfig, scorer: CameraScorer, clock: Clock, stack: AsyncExitStack
) -> SketchKeeper | None:
    path = config.quality.sketch
    if path is None:
        return None
    keeper = SketchKeeper(path, scorer.model_hash, config.quality.group, clock)
    return stack.enter_context(keeper)


def _tracer(
    config: CameraConfig, boot_id: str, clock: Clock, stack: AsyncExitStack
) -> FrameTracer | None:
    if config.tracing.endpoint is None:
        return None
    tracer = FrameTracer(config.tracing, camera=config.camera.name, boot_id=boot_id, clock=clock)
    # What is left is sent over the network, with a deadline.
    stack.push_async_callback(asyncio.to_thread, tracer.close)
    return tracer


def _live_view(
    config: CameraConfig,
    selector: Selector,
    analyser: FaceAnalyser,
    outbox: Outbox,
    scorer: CameraScorer,
) -> LiveView | None:
    if not (config.web.enabled and config.web.live_page):
        return None

    async def explain(crop: Image) -> Image:
        return (await scorer.explain(crop)).overlay

    sources = LiveSources(
        gate=lambda: selector.settings,
        prechecks=lambda: analyser.prechecks,
        zones=lambda: analyser.zones.sections,
        sinks=lambda: outbox.sinks,
        holds=outbox.holds,
        explain=explain,
        explains=f"It shows the {config.quality.group} score.",
    )
    return LiveView(config.web, sources, SystemClock())


def _notices(live: LiveView | None) -> SourceNotices:
    """Hear what the source logs; the live page repeats it."""
    loop = asyncio.get_running_loop()

    def tell(text: str) -> None:
        # A source's threads may outlive the loop by a moment.
        if live is not None and not loop.is_closed():
            loop.call_soon_threadsafe(live.say, text)

    return SourceNotices(tell)


def _decision_log(
    config: CameraConfig,
    identity: PipelineIdentity,
    outbox: ShotOutbox,
    metrics: Metrics,
    stack: AsyncExitStack,
) -> DecisionLog | None:
    section = config.delivery.decision_log
    if section is None:
        return None
    under = DecidedUnder(
        camera=identity.camera,
        boot_id=identity.boot_id,
        model_hash=identity.model_hash,
        config_hash=identity.config_hash,
        gate=config.gate,
        precheck=config.precheck,
        zones=config.zones,
        outbox=config.delivery.outbox.kind,
        sinks=tuple(sink.name for sink in config.delivery.sinks),
        profile=identity.profile,
    )
    log = DecisionLog(section, outbox, under, metrics=metrics)
    stack.push_async_callback(log.close)
    return log
