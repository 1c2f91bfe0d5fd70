"""A camera's scorer and a service that is slow, full, wrong or broken."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from streamgate.config import QualitySection
from streamgate.daemon.online_services import ask_services
from streamgate.errors import ScorerAwayError
from streamgate.quality.remote.endpoint import Access
from streamgate.quality.remote.expected import ExpectedModel
from streamgate.quality.remote.scorer import RemoteScorer
from streamgate.telemetry.metrics import Metrics
from tests.service.parts import HASH, MODEL, FakeScorer, Running, faces, running, until


class Camera:
    """A scorer that expects the model of the tests' service."""

    def __init__(self, scorer: RemoteScorer, metrics: Metrics) -> None:
        self.scorer = scorer
        self._metrics = metrics

    def faults(self, reason: str) -> float:
        return float(self._metrics.remote_scorer_faults.labels(reason)._value.get())


@asynccontextmanager
async def camera(*services: Running | str, **settings: Any) -> AsyncIterator[Camera]:
    addresses = [
        service if isinstance(service, str) else f"grpc://127.0.0.1:{service.port}"
        for service in services
    ]
    section = QualitySection.model_validate({"service": addresses, **settings})
    metrics, expected = Metrics(), ExpectedModel(HASH, None)
    scorer = RemoteScorer(section, expected, Access((), None), camera="door", metrics=metrics)
    async with scorer:
        yield Camera(scorer, metrics)


async def test_a_slow_service_is_asked_again_and_the_face_skipped() -> None:
    """It says itself that it is late, so it is not lost; the next batch finds it as before."""
    scorer = FakeScorer()
    async with running(scorer) as service, camera(service, service_timeout_s=1) as door:
        await door.scorer.score(faces())
        scorer.free.clear()
        with pytest.raises(ScorerAwayError):
            await door.scorer.score(faces())
        assert door.faults("busy") == 1
        assert door.scorer.doubt is None
        scorer.free.set()
        assert len(await door.scorer.score(faces(3))) == 3


async def test_a_full_service_is_passed_over() -> None:
    """The next address scores the batch at once."""
    full, free = FakeScorer(), FakeScorer()
    full.free.clear()
    queue = {"max_faces": 8, "max_faces_per_camera": 8}
    async with (
        running(full, queue=queue) as one,
        running(free) as two,
        camera(one) as first,
        camera(one, two, service_timeout_s=10) as door,
    ):
        # The second waits, while the first holds the device.
        held = [asyncio.create_task(first.scorer.score(faces(8))) for _ in range(2)]
        await until(lambda: one.engine._open == 2)
        await until(lambda: len(two.engine._queue) == 0 and door.scorer.doubt is None)
        await until(lambda: all(peer.model is not None for peer in door.scorer._peers))
        await door.scorer.score(faces(2))
        assert free.batches == [2]
        assert door.faults("busy") == 1
        full.free.set()
        await asyncio.gather(*held)


async def test_other_weights_are_refused_and_the_right_service_is_used() -> None:
    """Whatever its place among the addresses."""
    wrong, right = FakeScorer(), FakeScorer()
    other = replace(MODEL, model_hash="cd" * 32)
    async with running(wrong, other) as one, running(right) as two, camera(one, two) as door:
        await door.scorer.score(faces())
        await until(lambda: door.faults("other_model") == 1)
    assert (wrong.batches, right.batches) == ([], [1])


async def test_weights_that_change_behind_an_address_are_noticed() -> None:
    """A request names the hash that it expects, so a scorer started with others scores nothing."""
    async with running(FakeScorer()) as service, camera(service, service_timeout_s=0.5) as door:
        await door.scorer.score(faces())
        port = service.port
        await service.listeners.stop(0)
        other = replace(MODEL, model_hash="cd" * 32)
        async with running(FakeScorer(), other, listen={"port": port}) as changed:
            with pytest.raises(ScorerAwayError):
                await door.scorer.score(faces())
            await until(lambda: "other weights" in str(door.scorer.doubt))
            assert changed.metrics is not service.metrics


async def test_a_broken_engine_is_left_for_the_next_address() -> None:
    """Scoring is a pure function, so it may be asked for twice."""
    broken, sound = FakeScorer(broken=True), FakeScorer()
    async with running(broken) as one, running(sound) as two, camera(one, two) as door:
        await until(lambda: all(peer.model is not None for peer in door.scorer._peers))
        await door.scorer.score(faces())
        assert door.faults("failed") == 1
    assert (broken.batches, sound.batches) == ([1], [1])


async def test_a_check_says_what_is_wrong_with_each_service() -> None:
    """And what to do about it."""
    async with running(FakeScorer()) as service:
        settings = QualitySection(
            service=(f"grpc://127.0.0.1:{service.port}", "unix:/nowhere/scorer.sock")
        )
        other, away = await ask_services(settings)
    assert not other.ok
    assert "other weights" in other.told
    assert "same weights" in other.remedy
    assert not away.ok
    assert "streamgate serve" in away.remedy


def test_a_camera_without_a_service_imports_no_grpc() -> None:
    """Neither gRPC nor protobuf, which it need not even have."""
    code = (
        "import sys, streamgate.daemon, streamgate.cli.check, streamgate.cli.run;"
        "import streamgate.daemon.online, streamgate.quality.start;"
        "print([name for name in ('grpc', 'google.protobuf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
