"""Ages count from acceptance, whatever happens to the clocks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamgate.config import MemoryOutboxSection
from streamgate.delivery.durable.age import Moment, elapsed_s
from streamgate.delivery.durable.outbox import SqliteOutbox
from streamgate.delivery.outbox import MemoryOutbox, Outbox
from streamgate.telemetry.metrics import Metrics
from tests.delivery.shots import encoded_shot
from tests.delivery.test_durable_outbox import change, rows, section

NOW = 1_790_000_000.0
DAY_S = 86_400.0


class Machine:
    """A machine whose wall clock can be set, and that can be started anew."""

    def __init__(self, wall: float = NOW) -> None:
        self.boot = 1
        self.up_s = 100.0
        self.ahead_s = wall

    def monotonic(self) -> float:
        return self.up_s

    def wall(self) -> float:
        return self.ahead_s + self.up_s

    def moment(self) -> Moment:
        return Moment(f"boot {self.boot}", self.up_s, self.wall())

    def pass_s(self, seconds: float) -> None:
        self.up_s += seconds

    def set_wall(self, wall: float) -> None:
        self.ahead_s = wall - self.up_s

    def reboot(self, off_s: float = 60.0) -> None:
        wall = self.wall() + off_s
        self.boot += 1
        self.up_s = 10.0
        self.set_wall(wall)


def on_disk(machine: Machine, path: Path, ttl_s: float = 3 * DAY_S) -> SqliteOutbox:
    return SqliteOutbox(
        section(path, ttl_s=ttl_s), ["sink"], camera="door", metrics=Metrics("door"),
        clock=machine, moment=machine.moment,
    )  # fmt: skip


@pytest.fixture(params=["memory", "disk"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def outbox_of(kind: str, machine: Machine, path: Path) -> Outbox:
    if kind == "disk":
        return on_disk(machine, path)
    memory = MemoryOutboxSection(ttl_s=3 * DAY_S)
    return MemoryOutbox(memory, ["sink"], metrics=Metrics("door"), clock=machine)


@pytest.mark.parametrize("decided", [0.0, NOW - 900 * DAY_S, NOW + 900 * DAY_S])
async def test_a_shots_own_date_says_nothing_of_its_age(
    kind: str, decided: float, tmp_path: Path
) -> None:
    """Of an old recording, of a clock in 1970 or in the future: it waits for its three days."""
    machine = Machine()
    outbox = outbox_of(kind, machine, tmp_path / "door.outbox")
    await outbox.open()
    await outbox.add(encoded_shot(1, decided_wall=decided))
    machine.pass_s(2.9 * DAY_S)
    await outbox.maintain()
    assert outbox.waiting("sink") == 1
    machine.pass_s(0.2 * DAY_S)
    await outbox.maintain()
    assert outbox.waiting("sink") == 0
    await outbox.close()


@pytest.mark.parametrize("jump", [-900 * DAY_S, 900 * DAY_S])
async def test_a_clock_that_is_set_expires_nothing_and_delays_nothing(
    kind: str, jump: float, tmp_path: Path
) -> None:
    """What waits stays, what was set aside is due as before, what comes next is no older."""
    machine = Machine()
    outbox = outbox_of(kind, machine, tmp_path / "door.outbox")
    await outbox.open()
    await outbox.add(encoded_shot(1))
    claim = await outbox.claim("sink")
    assert claim is not None
    await outbox.set_aside(claim, due=machine.monotonic() + 5, error="busy")
    machine.set_wall(machine.wall() + jump)
    await outbox.add(encoded_shot(2))
    machine.pass_s(6)
    await outbox.maintain()
    assert outbox.waiting("sink") == 2
    assert {(await outbox.claim("sink")).shot.track_id for _ in range(2)} == {1, 2}  # type: ignore[union-attr] # both are due
    machine.pass_s(3.1 * DAY_S)
    await outbox.close()


async def test_one_from_the_future_keeps_none_behind_it(tmp_path: Path) -> None:
    """Accepted while the clock was a year ahead; those after it expire in their own time."""
    machine = Machine(NOW + 365 * DAY_S)
    outbox = on_disk(machine, tmp_path / "door.outbox")
    await outbox.open()
    await outbox.add(encoded_shot(1))
    machine.set_wall(NOW)
    await outbox.add(encoded_shot(2))
    await outbox.close()
    machine.pass_s(2 * DAY_S)
    outbox = on_disk(machine, tmp_path / "door.outbox")
    await outbox.open()
    machine.pass_s(1.1 * DAY_S)
    await outbox.maintain()
    assert outbox.pending == 0
    await outbox.close()


@pytest.mark.parametrize(
    ("before", "after", "waits"),
    [
        # The wall clock is right all the time.
        (NOW, None, [(2.0, True), (1.1, False)]),
        # It began in 1970, and was set by a time server after the next start.
        (100.0, NOW, [(2.0, True), (2.9, True), (0.2, False)]),
        # It was right, and begins in 1970 after the next start.
        (NOW, 100.0, [(2.0, True), (2.9, True)]),
    ],
)
async def test_an_age_goes_on_across_a_start_of_the_machine(
    before: float, after: float | None, waits: list[tuple[float, bool]], tmp_path: Path
) -> None:
    """The time that the machine was off counts where its clock can be believed."""
    machine = Machine(before)
    path = tmp_path / "door.outbox"
    outbox = on_disk(machine, path)
    await outbox.open()
    await outbox.add(encoded_shot(1))
    await outbox.close()
    machine.reboot(off_s=0 if after is not None else waits[0][0] * DAY_S)
    if after is not None:
        machine.set_wall(after)
    outbox = on_disk(machine, path)
    await outbox.open()
    assert outbox.pending == 1
    for days, is_there in waits[1:]:
        machine.pass_s(days * DAY_S)
        await outbox.maintain()
        assert (outbox.pending == 1) is is_there
    await outbox.close()


async def test_a_start_of_the_process_makes_nothing_younger(tmp_path: Path) -> None:
    """Within one boot the age is exact, however wrong the wall clock is."""
    machine = Machine()
    path = tmp_path / "door.outbox"
    for start in range(4):
        outbox = on_disk(machine, path)
        await outbox.open()
        if start == 0:
            await outbox.add(encoded_shot(1))
        assert outbox.pending == (1 if start < 3 else 0) or start == 3
        await outbox.maintain()
        assert outbox.pending == (1 if start < 3 else 0)
        await outbox.close()
        machine.pass_s(1.1 * DAY_S)
        machine.set_wall(NOW - start * 500 * DAY_S)


async def test_an_outbox_of_an_earlier_program_is_read(tmp_path: Path) -> None:
    """Its rows tell no acceptance; the number does, by the clock of then."""
    machine = Machine()
    path = tmp_path / "door.outbox"
    outbox = on_disk(machine, path)
    await outbox.open()
    await outbox.add(encoded_shot(1))
    await outbox.close()
    change(path, "DROP TABLE ages")
    change(path, "DELETE FROM about WHERE name LIKE 'time%'")
    machine.pass_s(2 * DAY_S)
    outbox = on_disk(machine, path)
    await outbox.open()
    assert outbox.pending == 1
    machine.pass_s(1.1 * DAY_S)
    await outbox.maintain()
    assert outbox.pending == 0
    await outbox.close()
    assert rows(path, "SELECT COUNT(*) FROM ages") == [(0,)]


def test_moments_are_compared_by_the_clock_that_can_be_believed() -> None:
    """One boot: exact. Two: by the wall clock, never negative, never from before the program."""
    moment = Moment("a", 50.0, NOW)
    cases: list[tuple[Any, float]] = [
        (replace(moment, boot_s=80.0, wall=0.0), 30.0),
        (Moment("b", 5.0, NOW + 90), 90.0),
        (Moment("b", 5.0, NOW - 90), 0.0),
        (Moment("b", 5.0, 20.0), 0.0),
    ]
    assert [elapsed_s(moment, later) for later, _ in cases] == [wanted for _, wanted in cases]
    assert elapsed_s(Moment("a", 50.0, 20.0), Moment("b", 5.0, NOW)) == 0.0
