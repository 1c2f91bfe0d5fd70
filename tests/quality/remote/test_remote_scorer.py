"""A camera's scorer against real services: what is found, lost, black-holed and found again."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamgate.config import QualitySection
from streamgate.errors import ScorerAwayError
from streamgate.quality import Scorer
from streamgate.quality.remote.scorer import RemoteScorer
from streamgate.telemetry.metrics import Metrics
from tests.servers.scorer import ScorerService
from tests.servers.tls import Authority
from tests.service.parts import until

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]
TOKEN = "a token of enough characters"
CROPS = np.random.default_rng(0).integers(0, 256, (4, 112, 112, 3), np.uint8)


@pytest.fixture(scope="module")
def expected() -> Any:
    return Scorer.load(device="cpu", threads=1).score(CROPS)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScorerService]:
    """A service that no test stops."""
    with ScorerService(tmp_path_factory.mktemp("scorer")) as running:
        yield running


class Camera:
    """A scorer and what it counts."""

    def __init__(self, scorer: RemoteScorer, metrics: Metrics) -> None:
        self.scorer = scorer
        self._metrics = metrics

    def faults(self, reason: str) -> float:
        return float(self._metrics.remote_scorer_faults.labels(reason)._value.get())

    def is_up(self, service: str) -> bool:
        return bool(self._metrics.remote_scorer_up.labels(service)._value.get() == 1.0)

    @property
    def is_local(self) -> bool:
        return bool(self._metrics.remote_scorer_local._value.get() == 1.0)


@asynccontextmanager
async def camera(*services: str, **settings: Any) -> AsyncIterator[Camera]:
    section = QualitySection.model_validate({"service": list(services), **settings})
    metrics = Metrics()
    before = asyncio.all_tasks()
    scorer = await RemoteScorer.start(section, camera="door", metrics=metrics)
    async with scorer:
        yield Camera(scorer, metrics)
    # gRPC's own poller is the loop's for good.
    left = {task for task in asyncio.all_tasks() - before if "streamgate" in repr(task.get_coro())}
    assert not left


async def test_scores_are_those_of_the_network_itself(
    service: ScorerService, expected: Any
) -> None:
    """Raw score, quality and embedding, to 1e-5."""
    async with camera(service.address) as door:
        scores = await door.scorer.score(CROPS)
        assert door.scorer.doubt is None
    assert np.abs(scores.raw / expected.raw - 1).max() < 1e-5
    assert np.abs(scores.quality - expected.quality).max() < 1e-3
    assert np.abs(scores.embedding - expected.embedding).max() < 1e-5
    assert scores.calibrated


async def test_a_service_that_is_killed_and_started_again_is_used_again(
    tmp_path: Path, expected: Any
) -> None:
    """Meanwhile faces are skipped at once, and the doubt names the service."""
    started = ScorerService(tmp_path)
    with started as running:
        async with camera(running.address, service_timeout_s=1) as door:
            await door.scorer.score(CROPS)
            await asyncio.to_thread(running.kill)
            with pytest.raises(ScorerAwayError):
                await door.scorer.score(CROPS)
            assert not door.is_up(running.address)
            assert "faces are skipped" in str(door.scorer.doubt)
            began_at = time.monotonic()
            with pytest.raises(ScorerAwayError):
                await door.scorer.score(CROPS)
            assert time.monotonic() - began_at < 0.5
            await asyncio.to_thread(started.__enter__)
            await until(lambda: door.scorer.doubt is None, 20)
            scores = await door.scorer.score(CROPS)
    assert np.abs(scores.raw / expected.raw - 1).max() < 1e-5


async def test_a_short_loss_costs_no_face(tmp_path: Path) -> None:
    """A batch waits within its deadline for a service that comes back."""
    started = ScorerService(tmp_path)
    async with camera(started.address, service_timeout_s=30) as door:
        asked = asyncio.create_task(door.scorer.score(CROPS))
        await asyncio.to_thread(started.__enter__)
        try:
            assert len(await asked) == 4
        finally:
            await asyncio.to_thread(started.stop)


async def test_a_service_that_swallows_requests_costs_half_of_one_deadline(
    tmp_path: Path, service: ScorerService
) -> None:
    """It is stopped by a signal; the next address has the other half, and then comes first."""
    with ScorerService(tmp_path) as hole:
        async with camera(hole.address, service.address, service_timeout_s=2) as door:
            await until(lambda: door.is_up(hole.address) and door.is_up(service.address))
            hole.send(signal.SIGSTOP)
            began_at = time.monotonic()
            await door.scorer.score(CROPS)
            assert 0.9 < time.monotonic() - began_at < 2.0
            assert door.faults("timeout") == 1
            began_at = time.monotonic()
            await door.scorer.score(CROPS)
            assert time.monotonic() - began_at < 0.9
            hole.send(signal.SIGCONT)
            await until(lambda: door.is_up(hole.address))


async def test_alone_it_costs_one_deadline_and_then_nothing(tmp_path: Path) -> None:
    """Later batches are skipped at once."""
    with ScorerService(tmp_path) as hole:
        async with camera(hole.address, service_timeout_s=0.5) as door:
            await until(lambda: door.is_up(hole.address))
            hole.send(signal.SIGSTOP)
            for most_s in (1.0, 0.3):
                await asyncio.sleep(0)
                began_at = time.monotonic()
                with pytest.raises(ScorerAwayError):
                    await door.scorer.score(CROPS)
                assert time.monotonic() - began_at < most_s
            hole.send(signal.SIGCONT)


async def test_the_network_is_loaded_on_a_loss_where_that_is_wanted(
    tmp_path: Path, service: ScorerService, expected: Any
) -> None:
    """It gives the same scores."""
    async with camera(f"unix:{tmp_path}/none.sock", on_loss="local") as door:
        scores = await door.scorer.score(CROPS)
        assert door.is_local
        assert "faces are scored here" in str(door.scorer.doubt)
        assert (await door.scorer.explain(CROPS[0])).overlay.shape == (112, 112, 3)
    assert np.array_equal(scores.raw, expected.raw)
    async with camera(service.address, on_loss="local") as door:
        await door.scorer.score(CROPS)
        assert not door.is_local


async def test_another_group_is_refused_and_told(service: ScorerService) -> None:
    """No face is scored by a network that the camera does not expect."""
    async with camera(service.address, group="block3", service_timeout_s=0.5) as door:
        with pytest.raises(ScorerAwayError, match="scores group block4"):
            await door.scorer.score(CROPS)
        assert door.faults("other_model") == 1


async def test_a_token_and_tls_are_wanted_and_given(tmp_path: Path) -> None:
    """By name and authority; without the token, the authority or the certificate nothing comes."""
    authority = Authority(tmp_path / "ca")
    server, ours = authority.certificate("localhost"), authority.certificate("camera")
    listen = {
        "port": 0,
        "host": "127.0.0.1",
        "cert_file": str(server),
        "key_file": str(server),
        "client_ca_file": str(authority.ca_file),
        "token": TOKEN,
    }
    right = {
        "service_ca_file": authority.ca_file,
        "service_cert_file": ours,
        "service_token": TOKEN,
        "service_timeout_s": 3,
    }
    with ScorerService(tmp_path, listen=listen) as running:
        address = f"grpcs://localhost:{running.port}"
        async with camera(address, **right) as door:
            assert len(await door.scorer.score(CROPS)) == 4
        for without, fault in (
            ("service_token", "not_admitted"),
            ("service_cert_file", "unreachable"),
            ("service_ca_file", "unreachable"),
        ):
            settings = {name: value for name, value in right.items() if name != without}
            async with camera(address, **{**settings, "service_timeout_s": 1}) as door:
                with pytest.raises(ScorerAwayError) as away:
                    await door.scorer.score(CROPS)
                assert door.faults(fault) == 1, (without, away.value)
                assert TOKEN not in str(away.value)
