"""The service's process: how it ends, and what it does not leave."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import grpc
import pytest

from streamgate.config import ScorerConfig
from streamgate.errors import ModelError, StreamgateError
from streamgate.quality.thread import GrafiqsScorer
from streamgate.service.lifecycle import run_scorer
from tests.service.parts import HASH, Client, FakeScorer, request, until

# They send signals to the process that they run in.
pytestmark = pytest.mark.live


class Loaded(FakeScorer):
    """What `GrafiqsScorer.start` gives, as far as the service asks."""

    model_hash = HASH
    backbone = "iresnet18"
    embedding_size = 4
    calibration = None
    closed = False

    async def close(self) -> None:
        self.closed = True


def config(folder: Path, **settings: Any) -> ScorerConfig:
    listen = {"unix": str(folder / "s.sock"), "port": None}
    usual = {"listen": listen, "quality": {"batch_size": 8}, "metrics": {"port": 0}}
    return ScorerConfig.model_validate({**usual, **settings})


@pytest.fixture
def scorer(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    made = Loaded()

    async def start(_settings: object) -> Loaded:
        return made

    monkeypatch.setattr(GrafiqsScorer, "start", start)
    return made


async def test_a_signal_has_what_waits_answered(tmp_path: Path, scorer: Loaded) -> None:
    """Then it ends in order, closes its engine and removes its socket."""
    scorer.free.clear()
    serving = asyncio.create_task(run_scorer(config(tmp_path)))
    await until((tmp_path / "s.sock").exists)
    async with Client(f"unix:{tmp_path}/s.sock") as client:
        waiting = asyncio.create_task(client.status(request()))
        await until(lambda: scorer.batches)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0)
        scorer.free.set()
        assert await waiting == (grpc.StatusCode.OK, "")
        await serving
    assert scorer.closed
    assert not (tmp_path / "s.sock").exists()


async def test_a_dead_engine_ends_the_process_with_its_reason(
    tmp_path: Path, scorer: Loaded
) -> None:
    """After it has been told to who waited."""
    scorer.broken = True
    serving = asyncio.create_task(run_scorer(config(tmp_path, engine={"end_after_failures": 1})))
    await until((tmp_path / "s.sock").exists)
    async with Client(f"unix:{tmp_path}/s.sock") as client:
        told = await client.status(request())
        assert told == (grpc.StatusCode.UNAVAILABLE, "the engine is dead")
        with pytest.raises(StreamgateError, match="the engine is dead: the device is gone"):
            await serving


async def test_a_model_that_cannot_be_loaded_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As itself, and before anybody listens."""

    async def start(_settings: object) -> Loaded:
        raise ModelError("weights.pth: no such file")

    monkeypatch.setattr(GrafiqsScorer, "start", start)
    with pytest.raises(ModelError, match="no such file"):
        await run_scorer(config(tmp_path))
    assert not (tmp_path / "s.sock").exists()


@pytest.mark.parametrize(
    ("listen", "wanted"),
    [
        ({"host": "0.0.0.0"}, "wanted token"),
        ({"host": "0.0.0.0", "token": "short"}, "16 characters"),
        ({"port": None}, "wanted unix, port, or both"),
        ({"client_ca_file": "/etc/hostname"}, "needs cert_file"),
    ],
)
def test_a_listener_beyond_loopback_wants_a_proof(listen: dict[str, Any], wanted: str) -> None:
    """A configuration that would let everybody in is refused."""
    with pytest.raises(ValueError, match=wanted):
        ScorerConfig.model_validate({"listen": listen})
