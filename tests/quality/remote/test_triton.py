"""The same client against Triton's core, which serves the exported graph."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from streamgate.config import QualitySection
from streamgate.errors import ScorerAwayError
from streamgate.lab.export import export_onnx
from streamgate.quality import Scorer
from streamgate.quality.remote.scorer import RemoteScorer
from streamgate.telemetry.metrics import Metrics
from tests import needs

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(180)]

SERVERS = needs.ROOT / "tests" / "servers"
START_S = 90.0
CLIENTS = 4
CROPS = np.random.default_rng(0).integers(0, 256, (4, 112, 112, 3), np.uint8)


def python() -> Path:
    """The Python that has Triton, or a skip."""
    system = Path("/usr/bin/python3")
    told = ["-c", "import sys; print(*sys.version_info[:2])"]
    version = (
        subprocess.run([system, *told], capture_output=True, text=True, check=False).stdout.strip()
        if system.exists()
        else ""
    )
    if version != "3 11" or platform.machine() != "x86_64":
        pytest.skip("pytriton needs Debian's Python 3.11 on x86_64, and this machine has another")
    found = SERVERS / "triton" / "bin" / "python"
    if not found.exists():
        needs.missing("Triton", "tools/test_triton.sh .venv/bin/python")
    return found


@dataclass(frozen=True)
class Triton:
    """Triton as it runs."""

    address: str
    log: Path

    @property
    def batches(self) -> list[int]:
        """The sizes of its batches."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [int(line.split()[1]) for line in lines if line.startswith("batch ")]


@pytest.fixture(scope="module")
def weights_hash() -> str:
    return Scorer.load(device="cpu", threads=1).model_hash


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory, weights_hash: str) -> Iterator[Triton]:
    """Triton with the graph of `streamgate export`, its model named by the weights' hash."""
    interpreter, folder = python(), tmp_path_factory.mktemp("triton")
    export_onnx("default", folder / "grafiqs.onnx")
    grpc_port, http_port = _free_ports(2)
    name = f"grafiqs-{weights_hash[:12]}"
    command = [
        str(interpreter), str(SERVERS / "triton_graph.py"), str(folder / "grafiqs.onnx"), name,
        str(grpc_port), str(http_port),
    ]  # fmt: skip
    log = folder / "log"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # Its sockets lie in its home, and the path of a socket is at most 107 bytes long.
    home = tempfile.TemporaryDirectory(prefix="t")
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**environment, "HOME": home.name, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_S
        while "\nserving" not in log.read_text(errors="replace"):
            ended = process.poll() is not None or time.monotonic() > deadline
            assert not ended, log.read_text(errors="replace")[-3000:]
            time.sleep(0.1)
        yield Triton(f"grpc://127.0.0.1:{grpc_port}", log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        finally:
            # Its server and its stubs are processes of the same group.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            home.cleanup()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


async def camera(triton: Triton, model: str, name: str) -> RemoteScorer:
    settings = QualitySection(
        service=(triton.address,), service_model=model, service_timeout_s=20, batch_size=4
    )
    return await RemoteScorer.start(settings, camera=name, metrics=Metrics())


async def test_four_cameras_have_the_same_scores_from_triton_in_common_batches(
    triton: Triton, weights_hash: str
) -> None:
    """To 1e-5; faces that wait while a batch is computed go together."""
    expected = Scorer.load(device="cpu", threads=1).score(CROPS)

    async def score(number: int) -> None:
        model = f"grafiqs-{weights_hash[:12]}"
        async with await camera(triton, model, f"c{number}") as scorer:
            for _ in range(10):
                await scorer.score(CROPS[:1])
            scores = await scorer.score(CROPS)
        assert np.abs(scores.raw / expected.raw - 1).max() < 1e-5
        assert np.abs(scores.embedding - expected.embedding).max() < 1e-5
        assert np.abs(scores.quality - expected.quality).max() < 1e-3

    await asyncio.gather(*(score(number) for number in range(CLIENTS)))
    assert sum(triton.batches) == CLIENTS * 14
    assert max(triton.batches) > len(CROPS)
    assert sum(size > 1 for size in triton.batches) > CLIENTS


async def test_a_model_that_triton_does_not_have_is_told(triton: Triton) -> None:
    """No scores, and the reason is in the error."""
    settings = QualitySection(service=(triton.address,), service_timeout_s=2)
    async with await RemoteScorer.start(settings, camera="door", metrics=Metrics()) as scorer:
        with pytest.raises(ScorerAwayError, match="grafiqs"):
            await scorer.score(CROPS)
