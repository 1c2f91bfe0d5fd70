"""The scorer service over real gRPC, with a scorer that the tests hold."""

from __future__ import annotations

import asyncio
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from streamgate.errors import StreamgateError
from streamgate.quality.remote.messages import (
    HEALTH_SERVICE,
    SERVICE,
    HealthCheckRequest,
    HealthCheckResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
    ModelReadyRequest,
    ModelReadyResponse,
    ServerLiveResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
)
from tests.service.parts import HASH, Client, FakeScorer, Running, faces, request, running, until

Code = grpc.StatusCode
TOKEN = "a token of enough characters"


def at(service: Running, **settings: Any) -> Client:
    return Client(f"127.0.0.1:{service.port}", **settings)


async def health(client: Client, name: str = "") -> int:
    asked = HealthCheckRequest(service=name).SerializeToString()
    told: int = HealthCheckResponse.FromString(
        await client.call("Check", asked, HEALTH_SERVICE)
    ).status
    return told


async def test_metadata_say_what_the_scores_are_of() -> None:
    """Hash, group, calibration, shapes and types."""
    async with running(FakeScorer()) as service, at(service) as client:
        asked = ModelMetadataRequest(name="grafiqs").SerializeToString()
        told = ModelMetadataResponse.FromString(await client.call("ModelMetadata", asked))
        server = ServerMetadataResponse.FromString(await client.call("ServerMetadata"))
    assert dict(told.properties) == {
        "model_hash": HASH,
        "group": "block4",
        "calibration": "none",
        "batch_size": "8",
        "precision": "float32",
    }
    assert [(t.name, t.datatype, list(t.shape)) for t in told.inputs] == [
        ("crops", "UINT8", [-1, 112, 112, 3])
    ]
    assert [t.name for t in told.outputs] == ["raw", "quality", "embedding"]
    assert server.name == "streamgate"


async def test_liveness_and_readiness_are_told() -> None:
    """Of the server, of the model, and by gRPC's own health checking."""
    async with running(FakeScorer()) as service, at(service) as client:
        assert ServerLiveResponse.FromString(await client.call("ServerLive")).live
        assert ServerReadyResponse.FromString(await client.call("ServerReady")).ready
        asked = ModelReadyRequest(name="grafiqs").SerializeToString()
        assert ModelReadyResponse.FromString(await client.call("ModelReady", asked)).ready
        assert await health(client) == await health(client, SERVICE) == 1
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await health(client, "another")
    assert unknown.value.code() is Code.NOT_FOUND


async def test_scores_come_in_the_order_of_the_crops() -> None:
    """All three outputs, or those that were asked for."""
    crops = faces(5)
    async with running(FakeScorer()) as service, at(service) as client:
        all_three = await client.infer(request(crops))
        asked = request(crops)
        asked.outputs.add(name="embedding")
        one = await client.infer(asked)
    assert np.array_equal(all_three["raw"], crops[:, 0, 0, 0])
    assert np.array_equal(all_three["quality"], 100.0 - crops[:, 0, 0, 0])
    assert all_three["embedding"].shape == (5, 4)
    assert set(one) == {"embedding"}


def _spoilt(change: Callable[[Any], object]) -> Any:
    made = request()
    change(made)
    return made


@pytest.mark.parametrize(
    ("made", "code", "wanted"),
    [
        (b"\xff\xff\xffgarbage", Code.INVALID_ARGUMENT, "ModelInferRequest"),
        (b"", Code.NOT_FOUND, "wanted grafiqs"),
        (_spoilt(lambda r: setattr(r, "model_name", "other")), Code.NOT_FOUND, "wanted grafiqs"),
        (_spoilt(lambda r: setattr(r, "model_version", "7")), Code.NOT_FOUND, "version"),
        (request(model_hash="cd" * 32), Code.FAILED_PRECONDITION, "expects others"),
        (_spoilt(lambda r: r.inputs[0].shape.pop()), Code.INVALID_ARGUMENT, "shape"),
        (_spoilt(lambda r: r.inputs[0].shape.__setitem__(0, 9)), Code.INVALID_ARGUMENT, "1 to 8"),
        (_spoilt(lambda r: r.inputs[0].shape.__setitem__(0, -1)), Code.INVALID_ARGUMENT, "1 to 8"),
        (_spoilt(lambda r: r.inputs[0].shape.__setitem__(0, 2)), Code.INVALID_ARGUMENT, "bytes"),
        (
            _spoilt(lambda r: setattr(r.inputs[0], "datatype", "FP32")),
            Code.INVALID_ARGUMENT,
            "UINT8",
        ),
        (_spoilt(lambda r: setattr(r.inputs[0], "name", "x")), Code.INVALID_ARGUMENT, "crops"),
        (_spoilt(lambda r: r.inputs.add(name="crops")), Code.INVALID_ARGUMENT, "one"),
        (_spoilt(lambda r: r.outputs.add(name="x")), Code.INVALID_ARGUMENT, "raw, quality"),
        (_spoilt(lambda r: r.raw_input_contents.append(b"")), Code.INVALID_ARGUMENT, "one entry"),
        (_spoilt(lambda r: setattr(r, "id", "x" * 300)), Code.INVALID_ARGUMENT, "256"),
        (request(camera="../etc"), Code.INVALID_ARGUMENT, "letters"),
        (request(deadline_ms=-1), Code.INVALID_ARGUMENT, "0 or more"),
        (request(deadline_ms="soon"), Code.INVALID_ARGUMENT, "int64_param"),
        (request(deadline_ms=0), Code.DEADLINE_EXCEEDED, "deadline"),
    ],
)
async def test_a_request_that_is_wrong_is_told_so_exactly(
    made: Any, code: grpc.StatusCode, wanted: str
) -> None:
    """With gRPC's status and what was wanted, and the next request is served."""
    async with running(FakeScorer()) as service, at(service) as client:
        found, told = await client.status(made)
        assert (found, wanted in told) == (code, True), told
        assert await client.status(request()) == (Code.OK, "")


async def test_a_message_that_is_too_large_is_refused() -> None:
    """Before it is read, by its announced size."""
    async with running(FakeScorer()) as service, at(service) as client:
        code, _ = await client.status(b"\0" * (9 * 112 * 112 * 3 + 65536))
    assert code is Code.RESOURCE_EXHAUSTED


async def test_large_metadata_are_refused() -> None:
    """They are bounded, and the connection's other requests are served."""
    async with running(FakeScorer()) as service, at(service) as client:
        call: Any = client.channel.unary_unary(f"/{SERVICE}/ServerLive")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"", metadata=[("x-flood", "y" * 40_000)], timeout=10)
        assert refused.value.code() is Code.RESOURCE_EXHAUSTED
        assert await client.status(request()) == (Code.OK, "")


async def test_batches_hold_what_waits_when_the_device_is_free() -> None:
    """The first request goes alone and at once; what comes meanwhile goes together."""
    scorer = FakeScorer()
    scorer.free.clear()
    async with running(scorer) as service, at(service) as client, asyncio.TaskGroup() as group:
        for number in range(7):
            group.create_task(client.infer(request(faces(seed=number), camera=f"c{number}")))
            await until(lambda: scorer.batches and service.engine._open == number + 1)  # noqa: B023
        scorer.free.set()
    assert scorer.batches == [1, 6]


async def test_a_camera_that_floods_is_refused_and_delays_others_by_its_share_only() -> None:
    """Its places are bounded; a face of another camera comes after at most one batch of both."""
    scorer = FakeScorer()
    scorer.free.clear()
    queue = {"max_faces_per_camera": 16}
    flood = np.zeros((8, 112, 112, 3), np.uint8)
    quiet = np.full((1, 112, 112, 3), 7, np.uint8)
    async with running(scorer, queue=queue) as service, at(service) as bad, at(service) as good:
        flooding = [asyncio.create_task(bad.status(request(flood, camera="flood")))]
        await until(lambda: scorer.batches)
        flooding += [
            asyncio.create_task(bad.status(request(flood, camera="flood"))) for _ in range(9)
        ]
        await until(lambda: service.refused("camera_full") == 7)
        asked = asyncio.create_task(good.infer(request(quiet, camera="quiet")))
        await until(lambda: service.engine._open == 4)
        scorer.free.set()
        await asked
        codes = [code for code, _ in await asyncio.gather(*flooding)]
    # One batch was under way, one face of the flood may come first.
    assert scorer.first.index(7) <= 8 + 1
    assert codes.count(Code.RESOURCE_EXHAUSTED) == 7
    assert codes.count(Code.OK) == 3


async def test_what_is_late_is_dropped_and_told() -> None:
    """A request whose deadline passes while it waits is never scored, and its places are free."""
    scorer = FakeScorer()
    scorer.free.clear()
    async with running(scorer) as service, at(service) as client:
        first = asyncio.create_task(client.status(request()))
        await until(lambda: scorer.batches)
        code, told = await client.status(request(faces(3), deadline_ms=50))
        assert (code, told) == (Code.DEADLINE_EXCEEDED, "not scored by the deadline")
        assert len(service.engine._queue) == 0
        scorer.free.set()
        assert (await first)[0] is Code.OK
        assert service.refused("expired") == 1
    assert scorer.batches == [1]


async def test_a_client_that_gives_up_leaves_nothing() -> None:
    """Its faces are not scored."""
    scorer = FakeScorer()
    scorer.free.clear()
    async with running(scorer) as service, at(service) as client:
        first = asyncio.create_task(client.status(request()))
        await until(lambda: scorer.batches)
        code, _ = await client.status(request(faces(3)), timeout_s=0.1)
        assert code is Code.DEADLINE_EXCEEDED
        await until(lambda: len(service.engine._queue) == 0)
        scorer.free.set()
        await first
    assert scorer.batches == [1]


async def test_a_failed_batch_is_told_and_the_next_one_is_served() -> None:
    """One failure is no death."""
    scorer = FakeScorer(broken=True)
    async with running(scorer) as service, at(service) as client:
        assert (await client.status(request()))[0] is Code.INTERNAL
        scorer.broken = False
        assert (await client.status(request()))[0] is Code.OK
        assert await health(client) == 1


async def test_a_dead_engine_is_told_to_all_who_wait() -> None:
    """In the words "the engine is dead"; health says so too, and nothing more is taken."""
    scorer = FakeScorer(broken=True)
    scorer.free.clear()
    async with (
        running(scorer, engine={"end_after_failures": 1}) as service,
        at(service) as client,
    ):
        waiting = [
            asyncio.create_task(client.status(request(camera=f"c{number}"))) for number in range(5)
        ]
        await until(lambda: service.engine._open == 5)
        scorer.free.set()
        told = await asyncio.gather(*waiting)
        await service.engine.died()
        assert told == [(Code.UNAVAILABLE, "the engine is dead")] * 5
        assert await client.status(request()) == told[0]
        assert await health(client) == 2
        assert service.engine.fault == "the engine is dead: the device is gone"


async def test_an_engine_that_hangs_is_dead() -> None:
    """A batch that takes longer than the limit ends the waiting of all."""
    scorer = FakeScorer()
    scorer.free.clear()
    async with (
        running(scorer, engine={"end_after_stall_s": 0.1}) as service,
        at(service) as client,
    ):
        assert await client.status(request()) == (Code.UNAVAILABLE, "the engine is dead")


async def test_a_drain_answers_what_waits_and_takes_no_more() -> None:
    """Health says so first."""
    scorer = FakeScorer()
    scorer.free.clear()
    async with running(scorer) as service, at(service) as client:
        waiting = asyncio.create_task(client.status(request()))
        await until(lambda: scorer.batches)
        draining = asyncio.create_task(service.engine.drain())
        await until(lambda: service.engine.state == "draining")
        assert await health(client) == 2
        assert (await client.status(request()))[0] is Code.UNAVAILABLE
        scorer.free.set()
        await draining
        assert (await waiting)[0] is Code.OK


async def test_watchers_of_health_are_told_of_a_change() -> None:
    """The stream says what is, and then what has become of it."""
    async with running(FakeScorer()) as service, at(service) as client:
        watch: Any = client.channel.unary_stream(f"/{HEALTH_SERVICE}/Watch")
        call = watch(b"", timeout=10)
        first = HealthCheckResponse.FromString(await call.read()).status
        await service.engine.drain()
        second = HealthCheckResponse.FromString(await call.read()).status
        call.cancel()
    assert (first, second) == (1, 2)


async def test_without_the_token_nothing_but_health_is_answered() -> None:
    """A missing and a wrong one are refused alike, before the message is looked at."""
    listen = {"token": TOKEN}
    async with (
        running(FakeScorer(), listen=listen) as service,
        at(service) as nobody,
        at(service, token="guess") as wrong,
        at(service, token=TOKEN) as right,
    ):
        for client in (nobody, wrong):
            assert (await client.status(b"\xff"))[0] is Code.UNAUTHENTICATED
            assert await health(client) == 1
        assert (await right.status(request()))[0] is Code.OK
        assert service.refused("unauthenticated") == 2


async def test_connections_are_bounded() -> None:
    """A further one is closed, and those that there are go on."""
    async with (
        running(FakeScorer(), limits={"max_connections": 2}) as service,
        at(service) as one,
        at(service) as two,
        at(service) as three,
    ):
        assert (await one.status(request()))[0] is Code.OK
        assert (await two.status(request()))[0] is Code.OK
        assert (await three.status(request(), timeout_s=1))[0] is not Code.OK
        assert (await one.status(request()))[0] is Code.OK


async def test_half_requests_and_garbage_hold_nobody_up() -> None:
    """Connections that say nothing, or no HTTP/2, stand beside one that is served."""
    async with running(FakeScorer()) as service:
        writers = []
        for said in (
            b"",
            b"GET / HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\0" * 999,
        ):
            _, writer = await asyncio.open_connection("127.0.0.1", service.port)
            writer.write(said)
            writers.append(writer)
        async with at(service) as client:
            started = time.monotonic()
            assert (await client.status(request()))[0] is Code.OK
            assert time.monotonic() - started < 2.0
        for writer in writers:
            writer.close()


async def test_the_socket_is_private_and_a_stale_one_is_replaced(tmp_path: Path) -> None:
    """Its mode is as set; one that a killed process has left is no obstacle, one in use is."""
    path = tmp_path / "s.sock"
    listen = {"unix": str(path), "unix_mode": "0600"}
    async with running(FakeScorer(), listen=listen):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        async with Client(f"unix:{path}") as client:
            assert (await client.status(request()))[0] is Code.OK
        with pytest.raises(StreamgateError, match="another process listens"):
            async with running(FakeScorer(), listen=listen):
                pass
    assert not path.exists()
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    async with running(FakeScorer(), listen={**listen, "unix_mode": "0660"}):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


async def test_a_port_in_use_is_told() -> None:
    """Two services on one port would share cameras unnoticed."""
    async with running(FakeScorer()) as service:
        with pytest.raises(StreamgateError, match="cannot listen"):
            async with running(FakeScorer(), listen={"port": service.port}):
                pass


async def test_faces_are_counted_by_camera_with_a_bound() -> None:
    """Two have a name in the test's service, further ones are `other`."""
    async with running(FakeScorer()) as service, at(service) as client:
        for camera in ("a", "b", "c", "d"):
            await client.infer(request(camera=camera))
        text = {
            sample.labels["camera"]: sample.value
            for metric in service.metrics.exposition.collect()
            for sample in metric.samples
            if sample.name == "streamgate_scorer_service_faces_total"
        }
    assert text == {"a": 1, "b": 1, "other": 2}
