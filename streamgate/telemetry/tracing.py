"""Where the time of a sampled frame went, as OpenTelemetry spans.

Each stage is measured anyway; here the measurements of one frame are put side by side, from the
camera to the acknowledgement. Nothing is timed twice, and no stage depends on tracing: the
pipeline's observers are called, and spans are written with the times that the values carry.

What is remembered of traced frames is bounded, and the spans are sent by a thread of the SDK, which
drops them where the receiver cannot keep up.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from streamgate.config import TracingSection
from streamgate.errors import StreamgateError
from streamgate.ports import Clock
from streamgate.values import Analysis, BestShot, Frame, PassReason, ScoredFace

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["FrameTracer"]

_MOST_REMEMBERED = 256
_NANOSECONDS = 1_000_000_000
_Key = TypeVar("_Key")
_Attributes = dict[str, str | int | float]


class _Recent(Generic[_Key]):
    """The traces of the last frames, or best shots, with the Unix time at which a stage ended."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, tuple[Context, float]] = OrderedDict()

    def add(self, key: _Key, trace: Context, ended: float) -> None:
        self._known[key] = trace, ended
        if len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)

    def get(self, key: _Key) -> tuple[Context, float] | None:
        return self._known.get(key)


class FrameTracer:
    """Writes a trace for each sampled frame; belongs to the event loop.

    Args:
        settings: with an endpoint.
        camera: its name.
        boot_id: of this run of the process.
        clock: the pipeline's.
        chance: uniform in 0..1, decides which frames are sampled.

    Raises:
        StreamgateError: OpenTelemetry is not installed.
    """

    def __init__(
        self,
        settings: TracingSection,
        *,
        camera: str,
        boot_id: str,
        clock: Clock,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._provider = _provider(settings, camera, boot_id)
        self._tracer = self._provider.get_tracer("streamgate")
        self._share = settings.sample_share
        self._clock = clock
        self._chance = chance
        self._frames: _Recent[int] = _Recent()
        self._shots: _Recent[str] = _Recent()

    def analysed(self, frame: Frame, analysis: Analysis) -> None:
        """Write the stages from the camera to the aligned faces, of some frames."""
        from opentelemetry import trace  # noqa: PLC0415 # an optional package

        if isinstance(analysis.look, PassReason) or self._chance() >= self._share:
            return
        now = self._clock.wall()
        root = self._tracer.start_span(
            "frame",
            start_time=_ns(frame.captured_wall),
            attributes={"frame": frame.index, "faces": len(analysis.faces)},
        )
        context = trace.set_span_in_context(root)
        decoded = frame.captured_wall + frame.decoded_at - frame.captured_at
        began = now - sum(analysis.seconds.values())
        self._span("receive", context, frame.captured_wall, decoded)
        self._span("wait", context, decoded, max(decoded, began))
        for stage, seconds in analysis.seconds.items():
            self._span(stage, context, began, began + seconds)
            began += seconds
        root.end(end_time=_ns(now))
        if any(seen.candidate is not None for seen in analysis.faces):
            self._frames.add(frame.index, context, now)

    def scored(self, face: ScoredFace) -> None:
        """Write the spans of a face from its alignment to its score."""
        known = self._frames.get(face.candidate.frame_index)
        if known is not None:
            self._span(
                "score", *known, _wall(face, face.scored_at),
                {"track": face.candidate.track_id, "quality": face.quality},
            )  # fmt: skip

    def released(self, shot: BestShot) -> None:
        """Write how long the gate kept a face before it was forwarded."""
        known = self._frames.get(shot.face.candidate.frame_index)
        if known is None:
            return
        scored = _wall(shot.face, shot.face.scored_at)
        decided = max(scored, _wall(shot.face, shot.decided_at))
        facts: _Attributes = {"track": shot.track_id, "reason": str(shot.reason), "key": shot.key}
        self._span("gate", known[0], scored, decided, facts)
        self._shots.add(shot.key, known[0], decided)

    def delivered(self, key: str, sink: str, state: str) -> None:
        """Write how long a sink took to acknowledge, or to refuse, a best shot."""
        known = self._shots.get(key)
        if known is not None:
            self._span("deliver", *known, self._clock.wall(), {"sink": sink, "state": state})

    def close(self) -> None:
        """Send what is left, waiting no longer than configured; may block."""
        self._provider.shutdown()

    def _span(
        self,
        name: str,
        context: Context,
        began: float,
        ended: float,
        facts: _Attributes | None = None,
    ) -> None:
        span = self._tracer.start_span(
            name, context=context, start_time=_ns(began), attributes=facts
        )
        span.end(end_time=_ns(max(began, ended)))


def _provider(settings: TracingSection, camera: str, boot_id: str) -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        raise StreamgateError(
            "tracing.endpoint needs OpenTelemetry: pip install 'streamgate[otel]'"
        ) from None
    headers = None
    if settings.token is not None:
        headers = {"Authorization": f"Bearer {settings.token.get_secret_value()}"}
    exporter = OTLPSpanExporter(
        endpoint=settings.endpoint, headers=headers, timeout=settings.timeout_s
    )
    about = {"service.name": "streamgate", "service.instance.id": boot_id, "camera": camera}
    provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter, schedule_delay_millis=1000, export_timeout_millis=settings.timeout_s * 1000
        )
    )
    return provider


def _wall(face: ScoredFace, at: float) -> float:
    return face.candidate.captured_wall + at - face.candidate.captured_at


def _ns(wall: float) -> int:
    return int(wall * _NANOSECONDS)
