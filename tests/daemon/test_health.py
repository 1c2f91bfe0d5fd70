"""When a camera counts as ill, and the end where an orderly one does not come."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgate.config import HealthSection
from streamgate.daemon.forced_exit import LastResort
from streamgate.daemon.health import Failures, Part


def failures(**limits: int | None) -> Failures:
    return Failures(
        HealthSection.model_validate(
            {"unhealthy_after_failures": 2, "end_after_failures": 4, **limits}
        )
    )


def test_a_few_failures_in_a_row_are_told_and_many_end_it() -> None:
    """The part and its error are named; one success makes it well."""
    counted = failures()
    counted.failed(Part.SCORER, "no device")
    told = [counted.fault]
    counted.failed(Part.SCORER, "out of memory")
    told += [counted.fault, counted.fatal]
    counted.succeeded(Part.SCORER)
    told.append(counted.fault)
    assert told == [None, "the scorer has failed 2 times in a row: out of memory", None, None]
    for _ in range(4):
        counted.note("detector", "no model")
    assert counted.fatal == "the detector has failed 4 times in a row: no model"


def test_other_parts_make_nothing_well() -> None:
    """A detector that works does not hide a scorer that does not."""
    counted = failures()
    for _ in range(4):
        counted.failed(Part.SCORER, "x")
        counted.note("detector", None)
    assert counted.fatal is not None


def test_it_may_be_told_never_to_end() -> None:
    """Then it is only unhealthy."""
    counted = failures(end_after_failures=None)
    for _ in range(10_000):
        counted.failed(Part.DISK, "full")
    assert counted.fault is not None
    assert counted.fatal is None


@given(st.lists(st.tuples(st.sampled_from(Part), st.booleans()), max_size=60))
def test_only_failures_in_a_row_count(told: list[tuple[Part, bool]]) -> None:
    """Whatever the order, the process is ill as long as one part's last two have failed."""
    counted, last = failures(), dict.fromkeys(Part, "")
    for part, fails in told:
        counted.note(part, "x" if fails else None)
        last[part] = last[part] + "x" if fails else ""
        assert (counted.fault is not None) == any(len(row) >= 2 for row in last.values())
        assert (counted.fatal is not None) == any(len(row) >= 4 for row in last.values())


def test_a_stop_that_does_not_come_is_made(capfd: pytest.CaptureFixture[str]) -> None:
    """From the signal on, also while the main thread waits in the system; with an account."""
    left = threading.Event()
    codes: list[int] = []

    def leave(code: int) -> None:
        codes.append(code)
        left.set()

    before = signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    resort = LastResort(0.3, leave=leave)
    try:
        with resort.watching():
            resort.doing = "delivering"
            resort.lost = lambda: "2 best shots are lost"
            began_at = time.monotonic()
            os.kill(os.getpid(), signal.SIGTERM)
            assert left.wait(10)
            assert time.monotonic() - began_at >= 0.3
    finally:
        signal.signal(signal.SIGTERM, before)
    assert codes == [1]
    told = capfd.readouterr().err
    assert told == (
        "streamgate: stopped by force after 0.3 s, while delivering; 2 best shots are lost\n"
    )


def test_a_stop_in_time_is_left_alone() -> None:
    """Whether a signal came or not, nothing is left of the watch."""
    codes: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    try:
        for sends in (False, True):
            resort = LastResort(30, leave=codes.append)
            with resort.watching():
                if sends:
                    os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert codes == []
    assert not [thread for thread in threading.enumerate() if thread.name == "last-resort"]


def test_an_account_that_fails_keeps_nothing() -> None:
    """The process ends whatever it can say, and at its start it has nothing to lose."""
    resort = LastResort(5)
    assert resort.account() == "stopped by force after 5 s, while starting; nothing is lost"
    resort.lost = lambda: str(1 / 0)
    assert resort.account().endswith("best shots may be lost")
