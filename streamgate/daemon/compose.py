"""The composition root: the one place that names concrete classes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass

from streamgate.config import (
    CameraConfig,
    FileSection,
    LoadedConfig,
)
from streamgate.daemon.delivery import build_outbox, build_sink
from streamgate.daemon.gauges import show_config, show_parts
from streamgate.daemon.observer import Observer, tell_all
from streamgate.daemon.sketch import SketchKeeper
from streamgate.daemon.source import build_source
from streamgate.delivery.decision_log import DecisionLog
from streamgate.delivery.dispatcher import Dispatcher
from streamgate.delivery.outbox import Outbox
from streamgate.faces.analyse import FaceAnalyser
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
from streamgate.quality import Calibration, GrafiqsScorer
from streamgate.quality.threshold import with_threshold
from streamgate.selection.decision_record import DecidedUnder
from streamgate.selection.gate import QualityGate
from streamgate.selection.scheduler import Scheduler
from streamgate.sources.webrtc import whip
from streamgate.telemetry.drift import QualityDrift
from streamgate.telemetry.metrics import Metrics
from streamgate.telemetry.tracing import FrameTracer
from streamgate.values import Analysis, Frame, Image, ScoredFace, TrackDecision
from streamgate.web.live import LiveSources, LiveView

__all__ = ["Camera", "compose"]


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
    calibration: Calibration | None = None


async def compose(
    loaded: LoadedConfig, boot_id: str, stack: AsyncExitStack, observer: Observer | None
) -> Camera:
    """Build a camera; what must be closed is left on the stack.

    Raises:
        StreamgateError: a model, a file or a device is not as configured.
    """
    config, clock = loaded.config, SystemClock()
    metrics = Metrics(config.camera.name)
    # Loading models takes seconds; signals must be heard meanwhile.
    detector_path = await asyncio.to_thread(installed, config.detector.model)
    scorer = await stack.enter_async_context(await GrafiqsScorer.start(config.quality))
    gate_settings = with_threshold(config.gate, scorer.calibration)
    config = config.model_copy(update={"gate": gate_settings})
    sketch = _sketch(config, scorer, clock)
    if sketch is not None:
        stack.enter_context(sketch)
    detection = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="detection"))
    detector = await asyncio.get_running_loop().run_in_executor(
        detection, YuNetDetector, config.detector, detector_path
    )
    outbox = build_outbox(config, metrics, clock)
    # Who looks at the whole way of a face; filled below, as the live page needs the dispatcher.
    seers: list[LiveView | FrameTracer] = []

    def tell_outcome(key: str, sink: str, state: str) -> None:
        for seer in seers:
            seer.delivered(key, sink, state)

    dispatcher = Dispatcher(
        config.delivery,
        outbox=outbox,
        sinks=[build_sink(section) for section in config.delivery.sinks],
        metrics=metrics,
        clock=clock,
        on_outcome=tell_outcome,
    )
    analyser = FaceAnalyser(config, detector, FaceTracker(config.tracker), clock)
    gate = QualityGate(config.gate)
    live = _live_view(config, gate, analyser, dispatcher, scorer)
    tracer = _tracer(config, boot_id, clock, stack)
    seers += [seer for seer in (live, tracer) if seer is not None]

    def analysed(frame: Frame, analysis: Analysis) -> None:
        for seer in seers:
            seer.analysed(frame, analysis)

    drift = QualityDrift(config.quality.drift, calibrated=scorer.calibrated)

    watchers = [watcher for watcher in (live, observer) if watcher is not None]
    traced = [tracer] if tracer is not None else []
    tell_scored = tell_all([watcher.scored for watcher in (*watchers, *traced)])
    tell_decided = tell_all([watcher.decided for watcher in watchers])

    def scored(face: ScoredFace) -> None:
        drift.scored(face.candidate.track_id, face.quality)
        if sketch is not None:
            sketch.add(face.raw)
        tell_scored(face)

    identity = PipelineIdentity(config.camera.name, boot_id, loaded.config_hash, scorer.model_hash)
    decisions = _decision_log(config, identity, dispatcher, metrics)
    if decisions is not None:
        stack.push_async_callback(decisions.close)

    async def decided(decision: TrackDecision) -> None:
        if decisions is not None:
            await decisions.decided(decision)
        drift.decided(decision)
        tell_decided(decision)

    publisher = Publisher(
        identity,
        decisions or dispatcher,
        metrics=metrics,
        clock=clock,
        on_decision=decided,
        on_shot=tell_all([watcher.released for watcher in (*watchers, *traced)]),
    )
    pipeline = CameraPipeline(
        PipelineParts(
            analyser=analyser,
            detection=detection,
            scorer=scorer,
            gate=gate,
            scheduler=Scheduler(
                config.quality.max_pending,
                share=config.quality.score_share,
                target_of=gate.release_target,
            ),
            publisher=publisher,
            metrics=metrics,
            clock=clock,
            on_scored=scored,
            on_analysed=analysed,
            lossless=isinstance(config.source, FileSection) and config.source.pace == "fast",
        )
    )
    show_config(config, loaded.config_hash, metrics, clock)
    show_parts(pipeline, scorer, drift, metrics)
    if observer is not None:
        observer.started(metrics)
    source = build_source(config.source, metrics, clock)
    return Camera(
        config=config,
        metrics=metrics,
        clock=clock,
        source=source,
        slot=LatestSlot(metrics.frames_dropped.labels("replaced").inc),
        pipeline=pipeline,
        dispatcher=dispatcher,
        outbox=outbox,
        ingest=source if isinstance(source, whip.WhipSource) else None,
        analyser=analyser,
        detector=detector,
        decisions=decisions,
        live=live,
        calibration=scorer.calibration,
    )


def _sketch(config: CameraConfig, scorer: GrafiqsScorer, clock: Clock) -> SketchKeeper | None:
    path = config.quality.sketch
    if path is None:
        return None
    return SketchKeeper(path, scorer.model_hash, config.quality.group, clock)


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
    gate: QualityGate,
    analyser: FaceAnalyser,
    dispatcher: Dispatcher,
    scorer: GrafiqsScorer,
) -> LiveView | None:
    if not (config.web.enabled and config.web.live_page):
        return None

    async def explain(crop: Image) -> Image:
        return (await scorer.explain(crop)).overlay

    sources = LiveSources(
        gate=lambda: gate.settings,
        prechecks=lambda: analyser.prechecks,
        sinks=dispatcher.sink_names,
        holds=dispatcher.holds,
        explain=explain,
    )
    return LiveView(config.web, sources, SystemClock())


def _decision_log(
    config: CameraConfig, identity: PipelineIdentity, outbox: ShotOutbox, metrics: Metrics
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
        outbox=config.delivery.outbox.kind,
        sinks=tuple(sink.name for sink in config.delivery.sinks),
    )
    return DecisionLog(section, outbox, under, metrics=metrics)
