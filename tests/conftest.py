"""What every test leaves as it found it: the process's log and its arithmetic."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

# How fast examples are made tells how busy the machine is, not whether a claim holds.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

TINY = 5e-324


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
