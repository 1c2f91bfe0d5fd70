"""The schedule of attempts to open a lost source."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgate.config.source import ReconnectSection
from streamgate.sources.reconnect import HEALTHY_S, failures_after
from streamgate.values.backoff import pause_s

SETTINGS = ReconnectSection(initial_s=0.5, max_s=30.0, jitter=0.3)


def test_pauses_double_up_to_the_limit() -> None:
    """Without jitter: 0.5, 1, 2, 4, 8, 16 seconds, then 30 for ever."""
    pauses = [pause_s(failures, SETTINGS, 0.0) for failures in range(1, 10)]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@given(st.integers(1, 10**9), st.floats(0, 1))
def test_every_pause_is_within_its_bounds(failures: int, fraction: float) -> None:
    """After any number of failures the pause is positive and at most the limit."""
    pause = pause_s(failures, SETTINGS, fraction)
    assert SETTINGS.initial_s * 0.7 <= pause <= SETTINGS.max_s


def test_jitter_shortens_a_pause_by_its_share() -> None:
    """The whole jitter takes 30 % off."""
    assert pause_s(7, SETTINGS, 1.0) == pytest.approx(21.0)


def test_a_healthy_stream_starts_the_schedule_anew() -> None:
    """A stream that lived is followed by the first pause, one that died at once is not."""
    assert failures_after(6, HEALTHY_S) == 1
    assert failures_after(6, HEALTHY_S / 2) == 7
