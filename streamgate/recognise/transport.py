"""What all transports share: where best shots are read from, and how a message is checked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from streamgate.errors import DataError
from streamgate.recognise.consumer import Consumer
from streamgate.recognise.fence import FencedError
from streamgate.recognise.message import Message
from streamgate.values.backoff import Backoff

__all__ = ["PAUSES", "Access", "Fenced", "cancelled", "judged", "left_out"]

log = structlog.get_logger(__name__)

PAUSES = Backoff(initial_s=0.5, max_s=10.0)
"""How a broker that is away is tried again."""
_CANCEL_AGAIN_S = 0.5


class Fenced(str):
    """Why a message was dropped that may be sent again, as a drained one."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Access:
    """How a broker lets us in.

    Attributes:
        url: without credentials.
        ca_file: authority that signed its certificate; None takes the system's.
    """

    url: str
    username: str | None = None
    password: str | None = None
    ca_file: Path | None = None


async def judged(consumer: Consumer, read: Callable[[], Message], place: str) -> str | None:
    """Handle a message; return what is wrong with one that can never be accepted, or is fenced.

    Such a message must be acknowledged all the same, or it would be delivered again and again.
    """
    try:
        message = read()
    except DataError as error:
        return left_out(consumer, place, str(error))
    except Exception as error:  # whatever it is, it would be the same when it comes again
        return left_out(consumer, place, f"it cannot be read ({type(error).__name__})")
    try:
        await consumer.take(message)
    except FencedError as error:
        consumer.fenced += 1
        log.warning("message of an earlier tenure dropped", place=place, error=str(error))
        return Fenced(str(error))
    except DataError as error:
        return left_out(consumer, place, str(error))
    return None


def left_out(consumer: Consumer, place: str, fault: str) -> str:
    """Tell and count a message that is not taken; return what is wrong with it."""
    consumer.left_out += 1
    log.error("message cannot be used and is left out", place=place, error=fault)
    return fault


async def cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended.

    Up to Python 3.11 a client library may lose a cancellation that comes together with an answer.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_AGAIN_S)
