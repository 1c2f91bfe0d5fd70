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
from collections.abc import Mapping, MutableMapping, Sequence
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
    SinkSection,
    WhipSection,
)
from streamgate.config.section import secrets_of
from streamgate.daemon.delivery import build_sink
from streamgate.daemon.online_services import ask_services
from streamgate.daemon.online_step import Step
from streamgate.daemon.source import build_source
from streamgate.errors import DeliveryError, ProbeError, StreamgateError
from streamgate.faces.finder import FaceFinder
from streamgate.pipeline import SystemClock
from streamgate.pipeline.slot import LatestSlot
from streamgate.telemetry.metrics import Metrics
from streamgate.values import Discontinuity, Image
from streamgate.values.redaction import redact

__all__ = ["Step", "as_table", "ask_all", "trouble_in"]

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
            while not waiting.done() and not reading.done() and trouble_in(logged) is None:
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
    told, _, remedy = (trouble_in(logged) or "no picture has come").partition(": ")
    raise _FailedError(told, remedy)


async def _first_image(slot: LatestSlot) -> Image | None:
    async for item in slot.frames():
        if not isinstance(item, Discontinuity):
            return item.image
    return None


def trouble_in(logged: Sequence[Mapping[str, Any]]) -> str | None:
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
    except ProbeError as error:
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
    # With the headers, the certificates and the way of a delivery.
    sink = build_sink(section)
    try:
        return await sink.probe(key)
    finally:
        await sink.close()


def _bare(text: str, secrets: Sequence[str]) -> str:
    """On one line, cut short, without credentials."""
    text = " ".join(redact(text, secrets).split())
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
