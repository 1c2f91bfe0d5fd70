"""`streamgate recognise`: who came, by the best shots that cameras deliver."""

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
from urllib.parse import urlsplit

import click
import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from streamgate.config import DetectorSection, LogSection
from streamgate.errors import ConfigError, StreamgateError
from streamgate.faces.detect import YuNetDetector
from streamgate.models.registry import path_of
from streamgate.quality import Scorer
from streamgate.recognise import Consumer, Visitor, enrol, photographs_in
from streamgate.recognise.gallery import THRESHOLD
from streamgate.recognise.http import PATH, application
from streamgate.recognise.transport import Access, cancelled
from streamgate.telemetry.logs import configure_logs
from streamgate.values import Image

__all__ = ["command"]

_URLS = {"redis": "redis://127.0.0.1:6379/0", "nats": "nats://127.0.0.1:4222"}
_SCHEMES = {"redis": ("redis", "rediss"), "nats": ("nats", "tls")}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class _Way:
    """Where best shots come from."""

    kind: Literal["http", "redis", "nats"]
    host: str
    port: int
    access: Access
    stream: str
    subject: str
    group: str
    token: str | None


@click.command("recognise")
@click.option(
    "--gallery", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Photographs of who is known: NAME/*.jpg, or NAME.jpg for each.",
)  # fmt: skip
@click.option(
    "--from", "kind", required=True, type=click.Choice(["http", "redis", "nats"]),
    help="Where best shots come from: http listens, redis and nats read a stream.",
)  # fmt: skip
@click.option(
    "--threshold", type=click.FloatRange(-1, 1), default=THRESHOLD, show_default=True,
    help="Least cosine similarity that counts as the same person.",
)  # fmt: skip
@click.option("--weights", default="default", show_default=True, help="default, or a file.")
@click.option("--host", default="127.0.0.1", show_default=True, help="http: where to listen.")
@click.option("--port", default=8089, show_default=True, help="http: port; 0 takes a free one.")
@click.option(
    "--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="http: a file with the token that senders must know.",
)  # fmt: skip
@click.option("--url", help="redis, nats: the server, without credentials.")
@click.option("--username", help="redis, nats: user name.")
@click.option(
    "--password-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="redis, nats: a file with the password.",
)  # fmt: skip
@click.option(
    "--ca-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="redis, nats: authority that signed the server's certificate.",
)  # fmt: skip
@click.option(
    "--stream", default="streamgate:best-shots", show_default=True, help="redis: the stream."
)
@click.option(
    "--subject", default="streamgate.best-shots", show_default=True, help="nats: the subject."
)
@click.option(
    "--group", default="recognise", show_default=True,
    help="redis, nats: name under which the server remembers what was read.",
)  # fmt: skip
@click.option(
    "--format", "layout", type=click.Choice(["text", "json"]), default="text", show_default=True
)
def command(
    *,
    gallery: Path,
    kind: Literal["http", "redis", "nats"],
    threshold: float,
    weights: str,
    host: str,
    port: int,
    token_file: Path | None,
    url: str | None,
    username: str | None,
    password_file: Path | None,
    ca_file: Path | None,
    stream: str,
    subject: str,
    group: str,
    layout: str,
) -> None:
    """Name the people in the best shots that come, one line each, until Ctrl-C.

    A small reference to copy from: it compares embeddings with those of the gallery, drops
    repetitions by their key, and acknowledges what it has named.
    """
    way = _Way(
        kind=kind,
        host=host,
        port=port,
        access=Access(_checked(kind, url, ca_file), username, _secret(password_file), ca_file),
        stream=stream,
        subject=subject,
        group=group,
        token=_secret(token_file),
    )
    if kind == "http" and way.token is None and host not in _LOOPBACK:
        raise click.UsageError(f"--host {host} can be reached from outside: give --token-file")
    secrets = [secret for secret in (way.token, way.access.password) if secret]
    configure_logs(LogSection(format="console"), secrets=secrets)
    scorer = Scorer.load(weights)
    people = enrol(
        photographs_in(gallery),
        YuNetDetector(DetectorSection(), path_of("yunet")),
        scorer,
        threshold=threshold,
        tell=lambda text: click.echo(text, err=True),
    )
    click.echo(f"{len(people.names)} photographs of {len(people.people)} people enrolled", err=True)
    show = {"text": _as_text, "json": _as_json}[layout]
    with ThreadPoolExecutor(1, thread_name_prefix="embedding") as thread:
        consumer = Consumer(
            people, _embedder(scorer), thread, tell=lambda visitor: click.echo(show(visitor))
        )
        asyncio.run(_until_stopped(_receive(way, consumer)))
    if consumer.repetitions:
        click.echo(f"{consumer.repetitions} repetitions dropped", err=True)
    if consumer.left_out:
        click.echo(f"{consumer.left_out} messages could not be used and were left out", err=True)


def _checked(kind: str, url: str | None, ca_file: Path | None) -> str:
    if kind == "http":
        return ""
    url = url or _URLS[kind]
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES[kind] or not parts.hostname:
        raise click.UsageError(f"--url: wanted {' or '.join(_SCHEMES[kind])}://host:port")
    if "@" in parts.netloc:
        raise click.UsageError("--url holds credentials; give --username and --password-file")
    if ca_file is not None and parts.scheme == "redis":
        raise click.UsageError("--ca-file is for encrypted connections: the URL must be rediss://")
    return url


def _secret(path: Path | None) -> str | None:
    if path is None:
        return None
    secret = path.read_text(encoding="utf-8").rstrip("\r\n")
    if not secret:
        raise click.UsageError(f"{path} is empty")
    return secret


def _embedder(scorer: Scorer) -> Callable[[Image], NDArray[np.float32]]:
    def embed(crop: Image) -> NDArray[np.float32]:
        found: NDArray[np.float32] = scorer.score(crop[None]).embedding[0]
        return found

    return embed


async def _receive(way: _Way, consumer: Consumer) -> None:
    match way.kind:
        case "http":
            await _serve(way, consumer)
        case "redis":
            from streamgate.recognise import redis  # noqa: PLC0415 - an extra

            await redis.follow(
                consumer, way.access, stream=way.stream, group=way.group,
                name=f"{os.uname().nodename}-{way.group}",
            )  # fmt: skip
        case "nats":
            from streamgate.recognise import nats  # noqa: PLC0415 - an extra

            await nats.follow(consumer, way.access, subject=way.subject, durable=way.group)


async def _serve(way: _Way, consumer: Consumer) -> None:
    runner = web.AppRunner(application(consumer, way.token), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, way.host, way.port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(
                f"--port {way.port}: cannot listen on {way.host}: {error.strerror}"
            ) from None
        port = runner.addresses[0][1]
        click.echo(f"waits for best shots at http://{way.host}:{port}{PATH}", err=True)
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
