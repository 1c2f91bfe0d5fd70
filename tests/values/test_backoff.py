"""When to try again."""

from __future__ import annotations

from datetime import UTC, datetime

from streamgate.values.backoff import Backoff, pause_s, retry_after_s


def test_pauses_double_up_to_the_longest_and_are_spread() -> None:
    """0.5, 1, 2, 4, then 4 for ever; jitter only shortens."""
    pauses = Backoff(initial_s=0.5, max_s=4.0, jitter=0.5)
    assert [pause_s(n, pauses, 0.0) for n in (1, 2, 3, 4, 5, 10_000)] == [0.5, 1, 2, 4, 4, 4]
    assert pause_s(3, pauses, 1.0) == 1.0


def test_both_forms_of_retry_after() -> None:
    """Seconds and dates; nonsense is no wish."""
    now = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
    assert retry_after_s("120", now) == 120
    assert retry_after_s("Tue, 24 Nov 2026 12:01:00 GMT", now) == 60
    assert retry_after_s("Tue, 24 Nov 2026 11:00:00 GMT", now) == 0
    for nonsense in (None, "", "soon", "-5", "1e400", "\u0663", "Tue, 99 Nov 2026"):
        assert retry_after_s(nonsense, now) is None
