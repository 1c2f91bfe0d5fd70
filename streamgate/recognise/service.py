"""The consumer as a program: enrol a gallery, receive best shots and say who came."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from streamgate.config import DetectorSection
from streamgate.errors import ConfigError, StreamgateError
from streamgate.faces.detect import YuNetDetector
from streamgate.models.registry import installed
from streamgate.quality import Scorer
from streamgate.recognise.consumer import Consumer, Visitor
from streamgate.recognise.gallery import enrol, photographs_in
from streamgate.recognise.http import PATH, application
from streamgate.recognise.signature import SignatureCheck
from streamgate.recognise.transport import Access, cancelled
from streamgate.values import Image

__all__ = ["Transport", "serve_gallery"]


@dataclass(frozen=True, slots=True)
class Transport:
    """Where best shots come from.

    Attributes:
        kind: http listens; redis and nats read a stream.
        host, port: where to listen.
        access: to the server of the stream.
        stream: of Redis.
        subject: of NATS.
        consumer_group: name under which the server remembers what was read.
        token: what senders must know.
        signed_with: secrets of which one must have signed each request; none: no signature is
            asked for.
    """

    kind: Literal["http", "redis", "nats"]
    host: str
    port: int
    access: Access
    stream: str
    subject: str
    consumer_group: str
    token: str | None
    signed_with: tuple[str, ...] = ()


def serve_gallery(  # noqa: PLR0913 # one name per choice of the command
    inlet: Transport,
    gallery: Path,
    *,
    weights: str,
    threshold: float,
    as_json: bool,
    show: Callable[[str], None],
    tell: Callable[[str], None],
) -> None:
    """Name the people in the best shots that come, until SIGINT or SIGTERM.

    Args:
        gallery: folder of photographs.
        weights: default, or a file.
        threshold: least similarity that counts as the same person.
        as_json: one JSON object a line instead of words.
        show: called with each visitor.
        tell: called with all other messages.

    Raises:
        StreamgateError: a model, the gallery or the inlet cannot be used.
    """
    scorer = Scorer.load(weights)
    detector = YuNetDetector(DetectorSection(), installed("yunet"))
    people = enrol(photographs_in(gallery), detector, scorer, threshold=threshold, tell=tell)
    tell(f"{len(people.names)} photographs of {len(people.people)} people enrolled")
    as_line = _as_json if as_json else _as_text
    with ThreadPoolExecutor(1, thread_name_prefix="embedding") as thread:
        consumer = Consumer(
            people, _embedder(scorer), thread, tell=lambda visitor: show(as_line(visitor))
        )
        asyncio.run(_until_stopped(_receive(inlet, consumer, tell)))
    if consumer.repetitions:
        tell(f"{consumer.repetitions} repetitions dropped")
    if consumer.fenced:
        tell(f"{consumer.fenced} messages of earlier tenures dropped")
    if consumer.left_out:
        tell(f"{consumer.left_out} messages could not be used and were left out")


def _embedder(scorer: Scorer) -> Callable[[Image], NDArray[np.float32]]:
    def embed(crop: Image) -> NDArray[np.float32]:
        found: NDArray[np.float32] = scorer.score(crop[None]).embedding[0]
        return found

    return embed


async def _receive(inlet: Transport, consumer: Consumer, tell: Callable[[str], None]) -> None:
    match inlet.kind:
        case "http":
            await _serve(inlet, consumer, tell)
        case "redis":
            from streamgate.recognise import redis  # noqa: PLC0415 - an extra

            await redis.follow(
                consumer, inlet.access, stream=inlet.stream, group=inlet.consumer_group,
                name=f"{os.uname().nodename}-{inlet.consumer_group}",
            )  # fmt: skip
        case "nats":
            from streamgate.recognise import nats  # noqa: PLC0415 - an extra

            await nats.follow(
                consumer, inlet.access, subject=inlet.subject, durable=inlet.consumer_group
            )


async def _serve(inlet: Transport, consumer: Consumer, tell: Callable[[str], None]) -> None:
    signatures = SignatureCheck(inlet.signed_with) if inlet.signed_with else None
    runner = web.AppRunner(application(consumer, inlet.token, signatures), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, inlet.host, inlet.port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(
                f"--port {inlet.port}: cannot listen on {inlet.host}: {error.strerror}"
            ) from None
        port = runner.addresses[0][1]
        tell(f"waits for best shots at http://{inlet.host}:{port}{PATH}")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


async def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Run until it fails, or until SIGINT or SIGTERM, which is how it is meant to end."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work)
            await stop.wait()
            await cancelled(task)
    except* StreamgateError as failures:
        raise failures.exceptions[0] from None


def _as_text(visitor: Visitor) -> str:
    message, match = visitor.message, visitor.match
    who = match.name or f"unknown (nearest {match.nearest})"
    when = message.captured_at[:19].replace("T", " ")
    return (
        f"{when}  {message.camera}  {who}  similarity {match.similarity:.2f}, "
        f"quality {message.quality:.0f}, track {message.track_id}"
    )


def _as_json(visitor: Visitor) -> str:
    message, match = visitor.message, visitor.match
    return json.dumps(
        {
            "key": message.key,
            "camera": message.camera,
            "track_id": message.track_id,
            "revision": message.revision,
            "captured_at": message.captured_at,
            "quality": message.quality,
            "name": match.name,
            "nearest": match.nearest,
            "similarity": match.similarity,
        },
        ensure_ascii=False,
    )
