"""No call of the product may block the event loop: a test in which one does fails.

The detector replaces the calls that may block (files, sleeping, locks, sockets, pipes) by ones that
look where they are called from. What a test does itself to arrange or to look is its own affair;
what a coroutine or a callback of the product does is not.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from blockbuster import BlockBuster

__all__ = ["ALLOWED", "detected"]

_PRODUCT = str(Path(__file__).parent.parent / "streamgate") + "/"
_TESTS = str(Path(__file__).parent) + "/"
_COROUTINE = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

_LOCK, _READ = "threading.Lock.acquire", "io.BufferedReader.read"

ALLOWED = {
    ("streamgate/sources/worker.py", "run_in_thread", _LOCK): "a thread that has reported its end "
    "has only its last instructions left, and is joined so that none is alive after the task",
    ("prometheus_client/process_collector.py", "collect", _READ): "/proc is no disk",
    ("prometheus_client/process_collector.py", "collect", "os.listdir"): "/proc is no disk",
    ("redis/driver_info.py", "resolve_driver_info", "os.stat"): "the client looks its own version "
    "up once a connection, where Python has just read the module from",
    ("redis/driver_info.py", "resolve_driver_info", "os.listdir"): "the same",
    ("redis/driver_info.py", "resolve_driver_info", "io.TextIOWrapper.read"): "the same",
}
"""File, function and call with which the loop may be blocked all the same, and why."""


@contextmanager
def detected() -> Iterator[None]:
    """Raise `BlockingError` at each call of the product that blocks a running loop."""
    detector = BlockBuster("streamgate")
    for function in detector.functions.values():
        function.can_block_predicate = _either(function.can_block_predicate, _allowed_here)
        # A module that is imported while the loop runs is read by Python, not by us.
        function.can_block_in("<frozen importlib._bootstrap>", "_find_and_load")
    for file, name, call in ALLOWED:
        detector.functions[call].can_block_in(file, name)
    detector.activate()
    try:
        yield
    finally:
        detector.deactivate()


def _either(one: Callable[..., bool], other: Callable[[], bool]) -> Callable[..., bool]:
    def permitted(*args: Any, **kwargs: Any) -> bool:
        return one(*args, **kwargs) or other()

    return permitted


def _allowed_here() -> bool:
    """Whether a test, rather than the product, called what blocks."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(_PRODUCT) and code.co_flags & _COROUTINE:
            return False
        if code.co_filename.startswith(_TESTS) and code.co_filename != __file__:
            return True
        frame = frame.f_back
    return False
