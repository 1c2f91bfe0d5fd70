"""The composition root: the one place that names concrete classes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass

from streamgate.config import (
    CameraConfig,
    DeviceSource,
    DirectorySink,
    FileSource,
    HttpSink,
    LoadedConfig,
    MemoryOutbox,
    RtspSource,
    SinkSection,
    SourceSection,
    WhepSource,
    WhipSource,
)
from streamgate.daemon.gauges import show_config, show_parts
from streamgate.daemon.observer import Observer
from streamgate.delivery import outbox as outboxes
from streamgate.delivery.dispatcher import Dispatcher
from streamgate.delivery.sinks.directory import DirectoryDelivery
from streamgate.delivery.sinks.http import HttpDelivery
from streamgate.drift import QualityDrift
from streamgate.errors import ConfigError
from streamgate.faces.analyse import FaceAnalyser
from streamgate.faces.detect import YuNetDetector
from streamgate.gate import QualityGate
from streamgate.metrics import Metrics
from streamgate.models.registry import path_of
from streamgate.pipeline import (
    CameraPipeline,
    PipelineIdentity,
    PipelineParts,
    Publisher,
    SystemClock,
)
from streamgate.ports import Clock, FrameSource, Sink, WebRtcIngest
from streamgate.quality import GrafiqsScorer
from streamgate.shortlist import Shortlist
from streamgate.slot import LatestSlot
from streamgate.sources import device, file, rtsp, whep, whip
from streamgate.tracking import FaceTracker
from streamgate.values import ScoredFace, TrackDecision

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
    durable: bool
    ingest: WebRtcIngest | None


async def compose(
    loaded: LoadedConfig, boot_id: str, stack: AsyncExitStack, observer: Observer | None
) -> Camera:
    """Build a camera; what must be closed is left on the stack.

    Raises:
        StreamgateError: a model, a file or a device is not as configured.
    """
    config, clock = loaded.config, SystemClock()
    metrics = Metrics(config.camera.name)
    # Fetching and loading models takes seconds; signals must be heard meanwhile.
    detector_path = await asyncio.to_thread(path_of, config.detector.model)
    scorer = await stack.enter_async_context(await GrafiqsScorer.start(config.quality))
    detection = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="detection"))
    detector = await asyncio.get_running_loop().run_in_executor(
        detection, YuNetDetector, config.detector, detector_path
    )
    outbox = _outbox(config, metrics, clock)
    dispatcher = Dispatcher(
        config.delivery,
        outbox=outbox,
        sinks=[_sink(section) for section in config.delivery.sinks],
        metrics=metrics,
        clock=clock,
    )

    drift = QualityDrift(config.quality.drift, calibrated=scorer.calibrated)

    def scored(face: ScoredFace) -> None:
        drift.scored(face.candidate.track_id, face.quality)
        if observer is not None:
            observer.scored(face)

    async def decided(decision: TrackDecision) -> None:
        drift.decided(decision)
        if observer is not None:
            observer.decided(decision)

    publisher = Publisher(
        PipelineIdentity(config.camera.name, boot_id, loaded.config_hash, scorer.model_hash),
        dispatcher,
        metrics=metrics,
        clock=clock,
        on_decision=decided,
        on_shot=observer.released if observer is not None else lambda _shot: None,
    )
    pipeline = CameraPipeline(
        PipelineParts(
            analyser=FaceAnalyser(config, detector, FaceTracker(config.tracker), clock),
            detection=detection,
            scorer=scorer,
            gate=QualityGate(config.gate),
            shortlist=Shortlist(config.quality.max_pending),
            publisher=publisher,
            metrics=metrics,
            clock=clock,
            on_scored=scored,
            lossless=isinstance(config.source, FileSource) and config.source.pace == "fast",
        )
    )
    show_config(loaded, metrics, clock)
    show_parts(pipeline, scorer, drift, metrics)
    if observer is not None:
        observer.started(metrics)
    source = _source(config.source, metrics, clock)
    return Camera(
        config=config,
        metrics=metrics,
        clock=clock,
        source=source,
        slot=LatestSlot(metrics.frames_dropped.labels("replaced").inc),
        pipeline=pipeline,
        dispatcher=dispatcher,
        durable=outbox.durable,
        ingest=source if isinstance(source, whip.WhipFrames) else None,
    )


def _source(section: SourceSection, metrics: Metrics, clock: Clock) -> FrameSource:
    match section:
        case RtspSource():
            return rtsp.RtspSource(section, metrics, clock)
        case FileSource():
            return file.FileSource(section, metrics, clock)
        case DeviceSource():
            return device.DeviceSource(section, metrics, clock)
        case WhipSource():
            return whip.WhipFrames(section, metrics, clock)
        case WhepSource():
            return whep.WhepFrames(section, metrics, clock)


def _outbox(config: CameraConfig, metrics: Metrics, clock: Clock) -> outboxes.Outbox:
    section, names = config.delivery.outbox, [sink.name for sink in config.delivery.sinks]
    match section:
        case MemoryOutbox():
            return outboxes.MemoryOutbox(section, names, metrics=metrics, clock=clock)
    raise ConfigError(f"delivery.outbox.kind {section.kind} is not served yet")


def _sink(section: SinkSection) -> Sink:
    match section:
        case DirectorySink():
            return DirectoryDelivery(section)
        case HttpSink():
            return HttpDelivery(section)
    raise ConfigError(f"sink kind {section.kind} is not served yet")
