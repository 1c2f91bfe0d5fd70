"""The thread that a source decodes in, owned by the task that waits for it.

A container may only be closed by the thread that reads it, and a read can only be ended by its own
timeout. So the task asks by a flag, and waits for the thread within a bound: one that sits in an
opening that takes longer is left to end by itself. It touches nothing but its own container then.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

import structlog

__all__ = ["JOIN_TIMEOUT_S", "run_in_thread"]

log = structlog.get_logger(__name__)

JOIN_TIMEOUT_S = 3.0
"""Within the five seconds in which the whole process is to end."""


async def run_in_thread(
    work: Callable[[threading.Event], None], *, name: str, join_timeout_s: float = JOIN_TIMEOUT_S
) -> None:
    """Run `work` in a thread of its own until it returns or this task is cancelled.

    Args:
        work: given a flag; once that is set it returns as soon as it can.
        name: of the thread.
        join_timeout_s: how long a cancelled task waits for the thread.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    stop = threading.Event()

    def body() -> None:
        failure: BaseException | None = None
        try:
            work(stop)
        # Whatever it is, it is raised in the task.
        except BaseException as error:
            failure = error
        # A loop that was closed after the bound has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, ended, failure)

    thread = threading.Thread(target=body, name=name, daemon=True)
    thread.start()
    try:
        await asyncio.shield(ended)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait({ended}, timeout=join_timeout_s)
        if not ended.done():
            log.warning("decode thread still busy", thread=name, waited_s=join_timeout_s)
        elif (failure := ended.exception()) is not None:
            raise failure from None
        raise
    finally:
        # Whoever raised: a thread that has reported has only its last instructions left.
        if ended.done():
            thread.join(join_timeout_s)


def _settle(ended: asyncio.Future[None], failure: BaseException | None) -> None:
    if ended.done():
        return
    if failure is None:
        ended.set_result(None)
    else:
        ended.set_exception(failure)
