"""Traces, as a receiver of OTLP over HTTP gets them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from streamgate.config import TracingSection
from streamgate.telemetry.tracing import FrameTracer
from streamgate.values import Analysis, BestShot, ReleaseReason, SeenFace
from tests import builders

pytest.importorskip("opentelemetry.sdk", reason="needs the extra otel")

TOKEN = "a token of the receiver"


@dataclass
class Receiver:
    """What a collector was sent."""

    url: str = ""
    spans: list[Any] = field(default_factory=list)
    resources: list[dict[str, str]] = field(default_factory=list)
    authorization: set[str | None] = field(default_factory=set)

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415
        ExportTraceServiceRequest,
    )

    got = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = ExportTraceServiceRequest.FromString(body)
            for part in request.resource_spans:
                about = {a.key: a.value.string_value for a in part.resource.attributes}
                got.resources.append(about)
                for scope in part.scope_spans:
                    got.spans += scope.spans
            got.authorization.add(self.headers["Authorization"])
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        got.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        yield got
        server.shutdown()
        thread.join()


class Clock:
    """Time that stands still between what a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return builders.WALL + self.now


def tracer(url: str, clock: Clock, chance: float = 0.0, share: float = 0.5) -> FrameTracer:
    settings = TracingSection.model_validate(
        {"endpoint": url, "sample_share": share, "token": TOKEN}
    )
    return FrameTracer(settings, camera="door", boot_id="b00t", clock=clock, chance=lambda: chance)


def seen(at: float) -> Analysis:
    """A frame in which one face is fit to be scored."""
    candidate = builders.candidate(track=3, at=at)
    return Analysis(
        frame_index=candidate.frame_index,
        captured_at=at,
        captured_wall=candidate.captured_wall,
        faces=(SeenFace(candidate.tracked, candidate, None),),
        ended=(),
        seconds={"detect": 0.02, "track": 0.01, "align": 0.005},
    )


def follow(traced: FrameTracer, clock: Clock) -> None:
    """Let one face go through all stages: captured at 1.0, acknowledged at 1.9."""
    clock.now = 1.1
    traced.analysed(builders.frame(25, at=1.0), seen(1.0))
    face = builders.scored(track=3, at=1.0, quality=70.0)
    object.__setattr__(face, "scored_at", 1.2)
    traced.scored(face)
    shot = BestShot(
        camera="door", boot_id="b00t", revision=1, rank=1, reason=ReleaseReason.TRACK_ENDED,
        face=face, decided_at=1.6, decided_wall=builders.WALL + 1.6, model_hash="m",
        config_hash="c", visit=3,
    )  # fmt: skip
    traced.released(shot)
    clock.now = 1.9
    traced.delivered(shot.key, "http", "delivered")
    traced.delivered("another-key", "http", "delivered")
    traced.close()


def test_a_sampled_frame_has_a_span_for_each_stage(receiver: Receiver) -> None:
    """In one trace, with the times that the stages took, up to the acknowledgement."""
    clock = Clock()
    follow(tracer(receiver.url, clock), clock)
    (root,) = receiver.named("frame")
    children = [span for span in receiver.spans if span.name != "frame"]
    assert {span.trace_id for span in children} == {root.trace_id}
    assert {span.parent_span_id for span in children} == {root.span_id}
    lasted = {
        span.name: (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
        for span in receiver.spans
    }
    assert lasted == pytest.approx(
        {"frame": 0.1, "receive": 0.0, "wait": 0.065, "detect": 0.02, "track": 0.01,
         "align": 0.005, "score": 0.1, "gate": 0.4, "deliver": 0.3}, abs=1e-5,
    )  # fmt: skip


def test_a_trace_says_where_it_comes_from_and_no_secret(receiver: Receiver) -> None:
    """The token is in the header alone."""
    clock = Clock()
    follow(tracer(receiver.url, clock), clock)
    assert receiver.authorization == {f"Bearer {TOKEN}"}
    (about,) = receiver.resources
    assert about["service.name"] == "streamgate"
    assert (about["camera"], about["service.instance.id"]) == ("door", "b00t")
    (gate,) = receiver.named("gate")
    facts = {fact.key: fact.value for fact in gate.attributes}
    assert facts["track"].int_value == 3
    assert facts["key"].string_value == "door-b00t-3-1"


def test_a_frame_that_is_not_sampled_leaves_nothing(receiver: Receiver) -> None:
    """Neither do the stages that its faces go through."""
    clock = Clock()
    follow(tracer(receiver.url, clock, chance=0.5), clock)
    assert receiver.spans == []


def test_what_is_remembered_is_bounded(receiver: Receiver) -> None:
    """Faces of old frames that are scored late are left out."""
    clock = Clock()
    traced = tracer(receiver.url, clock, share=1.0)
    for number in range(300):
        clock.now = number / 25
        traced.analysed(builders.frame(number, at=clock.now), seen(clock.now))
    traced.scored(builders.scored(track=3, at=1.0))
    traced.scored(builders.scored(track=3, at=290 / 25))
    traced.close()
    assert len(receiver.named("score")) == 1


@pytest.mark.parametrize("endpoint", ["collector:4318", "ftp://x/", "http://u:p@x/v1/traces"])
def test_an_endpoint_is_a_url_without_credentials(endpoint: str) -> None:
    """And the message does not repeat them."""
    with pytest.raises(ValueError, match=r"wanted an http|holds credentials"):
        TracingSection.model_validate({"endpoint": endpoint})
