"""Receivers drop what a copy of a camera sends, and nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from streamgate.config import HttpSinkSection
from streamgate.delivery.lease.marks import as_drained, as_sent
from streamgate.delivery.payload import encode_shot, single_document
from streamgate.delivery.sinks.http import HttpSink
from streamgate.errors import DeliveryError, SinkFault
from streamgate.recognise import (
    Consumer,
    EpochFence,
    FencedError,
    Gallery,
    Message,
    message_from_document,
)
from streamgate.recognise.http import application
from streamgate.values import EncodedShot
from tests.delivery.daemon import Daemon, Receiver, make_clip, running, until, write_config
from tests.delivery.shots import best_shot
from tests.servers import broker as servers
from tests.servers.broker import free_port


def shot(track: int, epoch: int) -> EncodedShot:
    return as_sent(encode_shot(replace(best_shot(track), epoch=epoch)), epoch)


def message(sent: EncodedShot) -> Message:
    return message_from_document(single_document(sent))


def test_a_lower_epoch_is_dropped_and_a_drained_one_passes() -> None:
    """After epoch 6, one of 5 is fenced; one that an outbox has kept passes, as one of 6 does."""
    fence = EpochFence()
    fence.check(message(shot(1, 5)))
    fence.check(message(shot(2, 6)))
    with pytest.raises(FencedError) as caught:
        fence.check(message(shot(3, 5)))
    assert caught.value.epoch == 6
    fence.check(message(as_drained(shot(4, 5))))
    fence.check(message(shot(5, 6)))


def test_a_drained_one_of_a_later_tenure_fences_nobody() -> None:
    """It is old: whoever delivers now may have any epoch."""
    fence = EpochFence()
    fence.check(message(as_drained(shot(1, 9))))
    fence.check(message(shot(2, 5)))


def test_cameras_are_fenced_each_for_itself() -> None:
    """A high epoch of one camera says nothing of another's."""
    fence = EpochFence()
    fence.check(message(shot(1, 9)))
    other = replace(message(shot(2, 3)), camera="hall")
    fence.check(other)


@asynccontextmanager
async def recogniser() -> AsyncIterator[tuple[Consumer, HttpSink]]:
    gallery = Gallery(("Ada",), np.stack([best_shot(1).face.embedding]), "a" * 64)

    def no_network(_: Any) -> Any:
        raise AssertionError

    with ThreadPoolExecutor(1) as thread:
        consumer = Consumer(gallery, no_network, thread, tell=lambda _visitor: None)
        runner = web.AppRunner(application(consumer))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/best-shots"
        sink = HttpSink(HttpSinkSection(kind="http", url=url))
        try:
            yield consumer, sink
        finally:
            await sink.close()
            await runner.cleanup()


async def test_a_fenced_sender_is_told_so_and_keeps_its_best_shot() -> None:
    """HTTP answers 409: no acknowledgement, no refusal for good. As drained it is taken."""
    async with recogniser() as (consumer, sink):
        await sink.deliver(shot(1, 6))
        with pytest.raises(DeliveryError) as caught:
            await sink.deliver(shot(2, 5))
        assert caught.value.fault is SinkFault.FENCED
        await sink.deliver(as_drained(shot(2, 5)))
        assert (consumer.fenced, consumer.left_out) == (1, 0)


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(200)
async def test_a_stopped_process_delivers_nothing_under_its_old_epoch(tmp_path: Path) -> None:
    """SIGSTOP past its lease, then SIGCONT: another has the lease, and the first sends no more.

    It ends with an error and keeps what it had accepted.
    """
    receiver, clip = Receiver(free_port()), make_clip(tmp_path / "clip.mkv", 5)
    await receiver.up()
    with servers.redis(tmp_path) as broker:
        lease = {"kind": "redis", "url": f"redis://127.0.0.1:{broker.port}/0", "ttl_s": 2}

        def config(name: str) -> Path:
            file = write_config(
                tmp_path / f"{name}.yaml",
                clip,
                sinks=[{"kind": "http", "url": receiver.url}],
                outbox={
                    "kind": "sqlite",
                    "path": str(tmp_path / f"{name}.outbox"),
                    "store_pictures_unencrypted": True,
                },
            )
            file.write_text(file.read_text() + f"lease: {lease}\n")
            return file

        async with running(config("one")) as one:
            await until(lambda: len(receiver.posted) >= 3)
            _send(one, signal.SIGSTOP)
            before = epochs(receiver)
            async with running(config("two")) as two:
                await until(lambda: len(epochs(receiver)) == 2)
                stopped = len(receiver.posted)
                _send(one, signal.SIGCONT)
                await until(lambda: not one.alive or one.has_logged("camera stopped"), 60)
                await until(lambda: len(receiver.posted) >= stopped + 3)
                assert await two.stop() == 0
            assert "has taken its lease" in one.text
    await receiver.down()
    last = max(index for index, posted in enumerate(receiver.posted) if epoch(posted.key) in before)
    first = min(i for i, posted in enumerate(receiver.posted) if epoch(posted.key) not in before)
    assert last < first, "the first went on after the second had begun"


def epoch(key: str) -> str:
    return key.split("-")[1]


def epochs(receiver: Receiver) -> set[str]:
    return {epoch(key) for key in receiver.keys}


def _send(daemon: Daemon, number: signal.Signals) -> None:
    os.kill(daemon._process.pid, number)
