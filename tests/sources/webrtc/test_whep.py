"""Pulling from a media server, against a real one in a process of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from structlog.testing import capture_logs

from streamgate.config import ReconnectSection, WhepSection
from streamgate.sources.webrtc.whep import WhepSource
from streamgate.telemetry.metrics import Metrics
from tests.servers.daemon import Daemon
from tests.servers.rtsp import read_stamp
from tests.servers.whep import WhepServer
from tests.sources.viewer import SystemClock, reach, until, value, watching

pytestmark = pytest.mark.live

TOKEN = "s3cret-of-the-server"
AT_ONCE = ReconnectSection(initial_s=0.1, max_s=0.2)


def source(url: str, metrics: Metrics | None = None, **settings: Any) -> WhepSource:
    config = WhepSection(kind="whep", url=url, **{"reconnect": AT_ONCE, **settings})
    return WhepSource(config, metrics or Metrics(), SystemClock())


@pytest.mark.parametrize("codec", ["H264", "VP8"])
async def test_pictures_arrive_with_the_time_of_their_capture(
    clip: Path, codec: Literal["H264", "VP8"]
) -> None:
    """Both codecs give pictures, timed to 0.25 s; the session is deleted at the end."""
    with WhepServer(clip, codec=codec, token=TOKEN, stamp_time=True) as server:
        async with watching(source(server.url, token=TOKEN)) as viewer:
            frames = await viewer.frames(30)
        assert server.sessions() == {"open": 0, "deleted": 1}
    assert {frame.image.shape for frame in frames} == {(360, 640, 3)}
    errors = [frame.captured_at - read_stamp(frame.image) for frame in frames]
    assert -0.1 < min(errors) <= max(errors) < 0.25
    assert [f.captured_at for f in frames] == sorted(f.captured_at for f in frames)


async def test_a_killed_server_is_an_interruption_and_comes_back(clip: Path) -> None:
    """Silence is a fault; the stream is found again by itself, as another connection."""
    metrics = Metrics()
    tasks = len(asyncio.all_tasks())
    with WhepServer(clip) as server:
        async with watching(source(server.url, metrics, read_timeout_s=1.0)) as viewer:
            (before,) = await viewer.frames(1)
            assert value(metrics, "webrtc_state", state="live") == 1
            server.kill()
            lost = await viewer.discontinuity()
            await reach(metrics, "source_faults_total", 1, reason="refused")
            assert value(metrics, "source_up") == 0
            server.restart()
            (after,) = await viewer.frames(1)
        assert server.sessions()["open"] == 0
    assert (lost.reason, lost.ended) == ("silent", False)
    assert (before.connection, after.connection) == (0, 1)
    assert value(metrics, "source_connects_total") == 2
    assert len(asyncio.all_tasks()) == tasks
    assert "webrtc-decoder" not in {thread.name for thread in threading.enumerate()}


async def test_a_stream_that_ends_is_no_fault(clip: Path) -> None:
    """A server that stops in order ends the stream; what comes after is tried for."""
    metrics = Metrics()
    with WhepServer(clip) as server:
        async with watching(source(server.url, metrics)) as viewer:
            await viewer.frames(2)
            server.stop()
            lost = await viewer.discontinuity()
            assert (lost.reason, lost.ended) == ("closed_by_sender", True)
            assert value(metrics, "source_faults_total", reason="closed_by_sender") == 0
            server.restart()
            (again,) = await viewer.frames(1)
    assert again.connection == 1


async def test_a_clip_that_ends_is_told_by_its_server(small_clip: Path) -> None:
    """The end of the material is the end of the stream."""
    with WhepServer(small_clip, once=True) as server:
        async with watching(source(server.url)) as viewer:
            assert (await viewer.discontinuity()).ended


async def test_a_wrong_token_is_said_once_and_never_shown(
    clip: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The log says what to check, once, without the token; the right one then works."""
    metrics = Metrics()
    with WhepServer(clip, token="another") as server, capture_logs() as events:
        async with watching(source(server.url, metrics, token=TOKEN)) as viewer:
            await reach(metrics, "source_faults_total", 3, reason="unauthorized")
            server.restart(token=TOKEN)
            assert await viewer.frames(1)
    said = [e for e in events if e["log_level"] == "warning" and e["reason"] == "unauthorized"]
    assert len(said) == 1
    assert "check source.token" in said[0]["error"]
    assert TOKEN not in f"{events} {capfd.readouterr()}"


async def test_a_stream_that_has_not_begun_is_waited_for(clip: Path) -> None:
    """404 is a fault with a remedy; the stream is taken when it begins."""
    metrics = Metrics()
    with WhepServer() as server:
        async with watching(source(server.url, metrics)) as viewer:
            await reach(metrics, "source_faults_total", 2, reason="not_found")
            server.restart(clips=[str(clip)])
            assert await viewer.frames(1)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [("", "no_video"), ("v=0\r\nnonsense\r\n", "no_video"), ("x" * 300_000, "invalid_data")],
    ids=["empty", "garbage", "endless"],
)
async def test_an_answer_that_is_none_is_a_fault(answer: str, reason: str) -> None:
    """What cannot be an answer is refused before anything is opened for it, again and again."""
    metrics = Metrics()
    with WhepServer(Path("unused"), answer=answer) as server:
        async with watching(source(server.url, metrics)):
            await reach(metrics, "source_faults_total", 2, reason=reason)


async def test_the_size_may_change_in_mid_stream(clip: Path, small_clip: Path) -> None:
    """A server that changes its resolution goes on without a new session."""
    with WhepServer(small_clip, clip) as server:
        async with watching(source(server.url)) as viewer:
            first = await viewer.frame_where(lambda frame: frame.image.shape[0] == 240)
            second = await viewer.frame_where(lambda frame: frame.image.shape[0] == 360)
    assert first.connection == second.connection == 0


async def test_a_redirect_is_followed_and_the_token_goes_no_further(clip: Path) -> None:
    """307 within the server keeps method, body and token."""
    with WhepServer(clip, token=TOKEN) as server:
        moved = server.url.replace("/whep", "/moved")
        async with watching(source(moved, token=TOKEN)) as viewer:
            assert await viewer.frames(1)


async def test_it_ends_at_once_while_nobody_answers(clip: Path) -> None:
    """Cancelling in the middle of a back-off or of a request does not wait for it."""
    metrics = Metrics()
    slow = ReconnectSection(initial_s=60, max_s=60)
    async with watching(source("http://127.0.0.1:9/whep", metrics, reconnect=slow)) as viewer:
        await reach(metrics, "source_faults_total", 1, reason="refused")
        viewer.task.cancel()
        await until(viewer.task.done)


async def test_the_daemon_recovers_from_a_server_that_was_killed(
    clip: Path, tmp_path: Path
) -> None:
    """`streamgate run` pulls, is left alone, and pulls again; its log keeps the token."""
    with WhepServer(clip, token=TOKEN) as server:
        settings = {"kind": "whep", "url": server.url, "token": TOKEN, "read_timeout_s": 1.0}
        reconnect = {"initial_s": 0.1, "max_s": 0.5}
        with Daemon(tmp_path, {**settings, "reconnect": reconnect}) as daemon:
            await settled(lambda: daemon.metric("webrtc_state", state="live") == 1)
            server.kill()
            await settled(lambda: daemon.metric("source_up") == 0)
            server.restart()
            await settled(lambda: daemon.metric("source_connects_total") == 2)
            frames = daemon.metric("frames_received_total")
            await settled(lambda: daemon.metric("frames_received_total") > frames)
            assert daemon.stop() == 0
        assert server.sessions()["open"] == 0
        assert TOKEN not in daemon.log


async def settled(holds: Callable[[], bool]) -> None:
    """Wait for what another process brings about."""
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110  # nothing tells the loop
            await asyncio.sleep(0.1)
