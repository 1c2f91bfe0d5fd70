"""Ask a camera and its sinks, before the daemon relies on them: `streamgate check --online`.

Every step is bounded and stands for itself: where the camera is away, the sinks are asked all the
same. Nothing is delivered: a folder gets a file that is removed again, a web service an OPTIONS
request, which by the standard changes nothing, a broker a connection and, where it can, a question.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import sys
import tempfile
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import structlog
from rich.console import Console
from rich.table import Table
from structlog.testing import capture_logs

from streamgate.config import (
    CameraConfig,
    DirectorySinkSection,
    HttpSinkSection,
    KafkaSinkSection,
    LoadedConfig,
    MqttSinkSection,
    NatsSinkSection,
    RedisSinkSection,
    SinkSection,
    WhipSection,
)
from streamgate.config.section import secrets_of
from streamgate.daemon.online_services import ask_services
from streamgate.daemon.online_step import Step
from streamgate.daemon.source import build_source
from streamgate.delivery.sinks.http import HttpSink
from streamgate.delivery.sinks.secure import plain, tls_context
from streamgate.errors import DeliveryError, StreamgateError
from streamgate.faces.finder import FaceFinder
from streamgate.pipeline import SystemClock
from streamgate.pipeline.slot import LatestSlot
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Discontinuity, Image
from streamgate.values.redaction import redact

__all__ = ["Step", "as_table", "ask_all"]

log = structlog.get_logger(__name__)

_PICTURE_S = 20.0
_SINK_S = 10.0
_LOOK_EVERY_S = 0.1
_LONGEST_TEXT = 300
_SHORTEST_PATH = 8


class _FailedError(Exception):
    """A step has failed; the message and the remedy hold no secret that the client knows of."""

    def __init__(self, told: str, remedy: str) -> None:
        super().__init__(told)
        self.remedy = remedy


def ask_all(
    loaded: LoadedConfig, *, picture_s: float = _PICTURE_S, sink_s: float = _SINK_S
) -> list[Step]:
    """Open the source, look for faces in a picture of it, and ask every sink.

    Args:
        loaded: a configuration that passes `preflight`.
        picture_s: time allowed until a picture has come, seconds.
        sink_s: the same for a sink's answer, if its own timeout is not shorter.
    """
    # What parts would log is told in the table.
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with capture_logs() as logged:
            steps = asyncio.run(_ask_all(loaded.config, logged, picture_s, sink_s))
    finally:
        logging.disable(before)
    secrets = sorted(_secrets(loaded.config), key=len, reverse=True)
    return [
        Step(step.name, step.ok, _bare(step.told, secrets), _bare(step.remedy, secrets))
        for step in steps
    ]


def _secrets(config: CameraConfig) -> set[str]:
    """What is shown of no server's words; the path of a webhook is often its only secret."""
    found = {secret for secret in secrets_of(config) if secret}
    for section in config.delivery.sinks:
        if isinstance(section, HttpSinkSection):
            parts = urlsplit(section.url)
            found |= {text for text in (parts.path, parts.query) if len(text) >= _SHORTEST_PATH}
    return found


def as_table(steps: Sequence[Step]) -> str:
    """The steps as people read them."""
    table = Table("asked", "", "what came of it", "what to do")
    for step in steps:
        table.add_row(step.name, "ok" if step.ok else "FAILED", step.told, step.remedy)
    text = io.StringIO()
    Console(file=text, width=None if sys.stdout.isatty() else 140, markup=False).print(table)
    return text.getvalue()


async def _ask_all(
    config: CameraConfig,
    logged: list[MutableMapping[str, Any]],
    picture_s: float,
    sink_s: float,
) -> list[Step]:
    sinks = asyncio.gather(
        *(
            _ask_sink(number, section, sink_s)
            for number, section in enumerate(config.delivery.sinks)
        )
    )
    steps = await _ask_source(config, logged, picture_s)
    return [*steps, *await ask_services(config.quality), *await sinks]


async def _ask_source(
    config: CameraConfig, logged: list[MutableMapping[str, Any]], picture_s: float
) -> list[Step]:
    name = f"source ({config.source.kind})"
    if isinstance(config.source, WhipSection):
        return [Step(name, True, "waits for a publisher, so nothing is there to open")]
    try:
        image = await _picture(config, logged, picture_s)
    except _FailedError as error:
        return [Step(name, False, str(error), error.remedy)]
    height, width = image.shape[:2]
    step = Step(name, True, f"a picture of {width}×{height} pixels has come")
    return [step, await asyncio.to_thread(_look_for_faces, config, image)]


async def _picture(
    config: CameraConfig, logged: list[MutableMapping[str, Any]], picture_s: float
) -> Image:
    """The first sound picture.

    Raises:
        _FailedError: none came; the reason is the first that the source has told.
    """
    slot = LatestSlot()
    reading = asyncio.create_task(build_source(config.source, Metrics(), SystemClock()).run(slot))
    waiting = asyncio.create_task(_first_image(slot))
    try:
        async with asyncio.timeout(picture_s):
            while not waiting.done() and not reading.done() and _trouble(logged) is None:
                await asyncio.wait(
                    {reading, waiting},
                    timeout=_LOOK_EVERY_S,
                    return_when=asyncio.FIRST_COMPLETED,
                )
    except TimeoutError:
        raise _FailedError(
            f"no picture within {picture_s:g} s", "look at the stream with another player"
        ) from None
    finally:
        for task in (reading, waiting):
            if not task.done():
                task.cancel()
        slot.close()
        await asyncio.wait({reading, waiting})
    if not waiting.cancelled() and waiting.exception() is None and waiting.result() is not None:
        image = waiting.result()
        assert image is not None
        return image
    failure = None if reading.cancelled() else reading.exception()
    if isinstance(failure, StreamgateError):
        raise _FailedError(str(failure), "see source in the configuration")
    if failure is not None:
        raise failure
    told, _, remedy = (_trouble(logged) or "no picture has come").partition(": ")
    raise _FailedError(told, remedy)


async def _first_image(slot: LatestSlot) -> Image | None:
    async for item in slot.frames():
        if not isinstance(item, Discontinuity):
            return item.image
    return None


def _trouble(logged: Sequence[Mapping[str, Any]]) -> str | None:
    """The first reason for which the source was lost or could not be opened."""
    return next((str(entry["error"]) for entry in list(logged) if "error" in entry), None)


def _look_for_faces(config: CameraConfig, image: Image) -> Step:
    try:
        found = FaceFinder.load(config.detector, config.precheck).find(image)
    except StreamgateError as error:
        return Step("faces", False, str(error), "streamgate models verify")
    if not found:
        return Step("faces", True, "none in this picture", "ask again with somebody before it")
    reasons = sorted({face.rejection for face in found if face.rejection is not None})
    fit = sum(face.rejection is None for face in found)
    told = f"{len(found)} in this picture, {fit} of them fit to be scored"
    remedy = f"the prechecks say: {', '.join(reasons)}" if reasons else ""
    return Step("faces", True, told, remedy)


# --- sinks ---


async def _ask_sink(number: int, section: SinkSection, most_s: float) -> Step:
    name, key = f"sink {section.name} ({section.kind})", f"delivery.sinks[{number}]"
    limit_s = min(most_s, getattr(section, "timeout_s", most_s))
    try:
        async with asyncio.timeout(limit_s):
            return Step(name, True, await _ask(section, key))
    except _FailedError as error:
        return Step(name, False, str(error), error.remedy)
    except TimeoutError:
        return Step(
            name, False, f"no answer within {limit_s:g} s", f"check {_place_key(section, key)}"
        )
    except DeliveryError as error:
        return Step(name, False, str(error), f"check {key}")
    except Exception as error:  # whatever a client library raises is the answer to the question
        return Step(name, False, _said(error), f"check {_place_key(section, key)}")


def _said(error: BaseException) -> str:
    """The system's own words where there are some; clients wrap them in many layers."""
    cause: BaseException | None = error
    while cause is not None:
        number = getattr(cause, "errno", None)
        if isinstance(cause, OSError) and number and "ssl" not in type(cause).__module__:
            return os.strerror(number).lower() if number > 0 else str(cause)
        cause = cause.__cause__ or cause.__context__
    words = str(error).removeprefix(f"{type(error).__name__}: ")
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _place_key(section: SinkSection, key: str) -> str:
    if isinstance(section, DirectorySinkSection):
        return f"{key}.path"
    return f"{key}.servers" if isinstance(section, KafkaSinkSection) else f"{key}.url"


async def _ask(section: SinkSection, key: str) -> str:
    match section:
        case DirectorySinkSection():
            return await asyncio.to_thread(_ask_directory, section, key)
        case HttpSinkSection():
            return await _ask_http(section, key)
        case RedisSinkSection():
            return await _ask_redis(section, key)
        case NatsSinkSection():
            return await _ask_nats(section, key)
        case MqttSinkSection():
            return await _ask_mqtt(section)
        case KafkaSinkSection():
            return await _ask_kafka(section, key)


def _ask_directory(section: DirectorySinkSection, key: str) -> str:
    try:
        section.path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=section.path, prefix=".check-") as file:
            file.write(b"streamgate check\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _FailedError(
            f"{section.path}: {error.strerror or error}",
            f"check {key}.path and who may write there",
        ) from None
    return f"a file was written into {section.path} and removed"


async def _ask_http(section: HttpSinkSection, key: str) -> str:
    place = f"{urlsplit(section.url).scheme}://{urlsplit(section.url).netloc}"
    # With the headers, the certificates and the way of a delivery.
    sink = HttpSink(section)
    try:
        session = await sink._opened()
        async with session.options(
            section.url, allow_redirects=False, proxy=getattr(sink, "_proxy", None)
        ) as answer:
            status = answer.status
    finally:
        await sink.close()
    told = f"{place} answers OPTIONS with HTTP {status}"
    if status in (401, 403, 407):
        secret = "token" if section.token is not None else "username, password or headers"
        raise _FailedError(told, f"the credentials are refused: check {key}.{secret}")
    if status >= 500 and status != 501:
        raise _FailedError(told, "the service, or a proxy before it, is in trouble: see its log")
    if 300 <= status < 400:
        raise _FailedError(told, f"redirections are not followed: put where it leads in {key}.url")
    if status in (404, 410):
        raise _FailedError(told, f"nothing is at this path: check {key}.url")
    return told


async def _ask_redis(section: RedisSinkSection, key: str) -> str:
    from redis.asyncio import Redis  # noqa: PLC0415 - an extra
    from redis.exceptions import AuthenticationError, ResponseError  # noqa: PLC0415

    tls: dict[str, Any] = {}
    if section.url.startswith("rediss://"):
        files = {
            "ssl_ca_certs": section.ca_file,
            "ssl_certfile": section.client_cert_file,
            "ssl_keyfile": section.client_key_file,
        }
        tls = {name: str(path) for name, path in files.items() if path is not None}
    client: Redis = Redis.from_url(
        section.url,
        username=section.username,
        password=plain(section.password),
        socket_timeout=section.timeout_s,
        socket_connect_timeout=section.timeout_s,
        **tls,
    )
    try:
        kind = await client.type(section.stream)
    except (AuthenticationError, ResponseError) as error:
        raise _FailedError(str(error), f"check {key}.username and {key}.password") from None
    finally:
        await client.aclose()
    if kind not in (b"none", b"stream", "none", "stream"):
        raise _FailedError(
            f"the key {section.stream} holds something else", f"choose another {key}.stream"
        )
    return f"answers; the stream {section.stream} " + (
        "is there" if kind in (b"stream", "stream") else "will be made"
    )


async def _ask_nats(section: NatsSinkSection, key: str) -> str:
    from nats.js.errors import NotFoundError  # noqa: PLC0415 - an extra

    from streamgate.delivery.sinks.nats import NatsSink  # noqa: PLC0415

    # The sink's own way to connect, which gives no password to a server in clear; it makes no
    # stream where it is told of none.
    sink = NatsSink(section.model_copy(update={"stream": None}))
    try:
        client = await sink._connected()
        found = await client.jetstream().find_stream_name_by_subject(section.subject)
    except NotFoundError:
        if section.stream is None:
            raise _FailedError(
                f"answers, but no stream listens to {section.subject}",
                f"make one, or name one in {key}.stream",
            ) from None
        return f"answers; the stream {section.stream} will be made"
    finally:
        await sink.close()
    return f"answers; the stream {found} listens to {section.subject}"


async def _ask_mqtt(section: MqttSinkSection) -> str:
    import aiomqtt  # noqa: PLC0415 - an extra

    url = urlsplit(section.url)
    tls = await asyncio.to_thread(tls_context, section) if url.scheme == "mqtts" else None
    async with aiomqtt.Client(
        url.hostname or "",
        url.port or (8883 if tls is not None else 1883),
        username=section.username,
        password=plain(section.password),
        # Not the sink's own client id: the broker would end the connection of a running camera.
        identifier=None,
        protocol=aiomqtt.ProtocolVersion.V5,
        timeout=section.timeout_s,
        tls_context=tls,
    ):
        return "the broker takes the connection"


async def _ask_kafka(section: KafkaSinkSection, key: str) -> str:
    from aiokafka.admin import (  # type: ignore[import-untyped] # noqa: PLC0415 - an extra
        AIOKafkaAdminClient,
    )

    tls = await asyncio.to_thread(tls_context, section) if section.tls else None
    signed_in = section.username is not None
    admin = AIOKafkaAdminClient(
        bootstrap_servers=list(section.servers),
        client_id="streamgate-check",
        request_timeout_ms=round(section.timeout_s * 1000),
        security_protocol=("SASL_" if signed_in else "") + ("SSL" if section.tls else "PLAINTEXT"),
        ssl_context=tls,
        sasl_mechanism=section.mechanism if signed_in else "PLAIN",
        sasl_plain_username=section.username,
        sasl_plain_password=plain(section.password),
    )
    try:
        await admin.start()
        topics: Sequence[str] = await admin.list_topics()
    finally:
        with suppress(Exception):
            await admin.close()
    if section.topic not in topics:
        raise _FailedError(
            f"answers, but there is no topic {section.topic}",
            f"make it, or check {key}.topic; a broker that makes topics by itself needs nothing",
        )
    return f"answers; the topic {section.topic} is there"


def _bare(text: str, secrets: Sequence[str]) -> str:
    """On one line, cut short, without credentials."""
    text = " ".join(redact(text, secrets).split())
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
