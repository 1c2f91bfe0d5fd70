"""What holds for every test: when it may be tried again, and what it leaves as it found it."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests import blocking

# How fast examples are made tells how busy the machine is, not whether a claim holds.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

TINY = 5e-324
TRIES_MORE = 2
PAUSE_S = 3


def pytest_configure(config: pytest.Config) -> None:
    """Refuse what would try every test again."""
    if config.getoption("reruns") or config.getoption("force_reruns") or config.getini("reruns"):
        raise pytest.UsageError("only tests marked live are tried again: leave --reruns away")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a live test be tried again, and no other."""
    for item in items:
        if item.get_closest_marker("flaky") is not None:
            raise pytest.UsageError(f"{item.nodeid} is marked flaky: what is live is marked live")
        if item.get_closest_marker("live") is not None:
            item.add_marker(pytest.mark.flaky(reruns=TRIES_MORE, reruns_delay=PAUSE_S))


@pytest.fixture(autouse=True)
def _loop_runs_freely(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail an asynchronous test in which the product blocks the event loop."""
    asynchronous = inspect.iscoroutinefunction(getattr(request.node, "obj", None))
    with blocking.detected() if asynchronous else nullcontext():
        yield


@pytest.fixture(autouse=True)
def _process_as_found() -> Iterator[None]:
    """Undo what a command that ran inside the test's process told the log.

    Also fails a test after which the smallest numbers are zero: this process would go on with
    other arithmetic than its own.
    """
    root, ours = logging.getLogger(), logging.getLogger("streamgate")
    before = list(root.handlers), root.level, ours.level
    configured = structlog.get_config() if structlog.is_configured() else None
    yield
    root.handlers[:], root.level, ours.level = before
    if configured is None:
        structlog.reset_defaults()
    else:
        structlog.configure(**configured)
    assert TINY * 1.0 > 0.0, "the test left the processor rounding small numbers to zero"
