"""Nothing that the decision log calls accepted is lost, however often the daemon is killed."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import time
from pathlib import Path

import jsonschema
import pytest

from streamgate.delivery.payload import payload_schema
from tests.delivery.daemon import (
    Receiver,
    accepted,
    decisions,
    make_clip,
    running,
    until,
    write_config,
)
from tests.servers.broker import free_port

pytestmark = [pytest.mark.live, pytest.mark.slow]

ROUNDS = int(os.environ.get("STREAMGATE_KILL_ROUNDS", "8"))
"""How often it is killed; each takes as long as a start of the daemon and a second."""


@pytest.mark.timeout(60 * ROUNDS + 300)
async def test_nothing_accepted_is_lost_by_killing_the_daemon(tmp_path: Path) -> None:
    """Killed at random moments while the sink is down, or up, then run in peace: all arrives.

    Every best shot that the decision log calls accepted is received at least once, whole, and
    repetitions of a key are equal to the byte.
    """
    chance = random.Random(0)
    receiver = Receiver(free_port())
    state = tmp_path / "state"
    log = state / "decisions.jsonl"
    config = write_config(
        tmp_path / "door.yaml",
        make_clip(tmp_path / "clip.mkv"),
        sinks=[{"kind": "http", "url": receiver.url, "at_once": 2}],
        outbox={
            "kind": "sqlite",
            "path": str(state / "door.outbox"),
            "keys": [{"id": "k1", "key": base64.b64encode(os.urandom(32)).decode()}],
        },
        retry={"initial_s": 0.05, "max_s": 0.5},
        decision_log={"path": str(log), "max_bytes": 100_000, "keep": 1000},
    )
    longest_s, backlog = 2.5, 0
    for number in range(ROUNDS):
        # Every third time the sink is there, so that kills fall between its answer and our note.
        if number % 3 == 1:
            await receiver.up()
        started = time.monotonic()
        async with running(config) as daemon:
            if number % 4 != 3:
                await daemon.runs()
                # What takes long to start takes long to decide: a busy machine is given more time.
                longest_s = max(2.5, (time.monotonic() - started) / 2)
            await asyncio.sleep(chance.uniform(0, longest_s))
            await daemon.kill()
        await receiver.down()
        backlog = max(backlog, len(accepted(log) - receiver.keys))
    prior = accepted(log)
    assert len(prior) >= ROUNDS
    assert backlog, "the sink was never down"

    await receiver.up()
    async with running(config) as daemon:
        # Where nothing was left to deliver, it would be told to stop before it can hear that.
        await daemon.runs()
        await until(lambda: prior <= receiver.keys)
        assert await daemon.stop() == 0
    await receiver.down()
    assert accepted(log) <= receiver.keys

    # A best shot is in the outbox before the line that names it is written: a kill between the two
    # leaves one that is delivered and that no line names.
    named = {shot["key"] for line in decisions(log) for shot in line["shots"]}
    unnamed = receiver.keys - accepted(log)
    assert not unnamed & named

    schema = jsonschema.Draft202012Validator(payload_schema())
    first: dict[str, tuple[bytes, bytes]] = {}
    for posted in receiver.posted:
        posted.check()
        schema.validate(json.loads(posted.metadata))
        same = first.setdefault(posted.key, (posted.metadata, posted.crop))
        assert same == (posted.metadata, posted.crop)
    print(  # noqa: T201 - the figures of a long run
        f"{ROUNDS} kills: {len(decisions(log))} decisions, {len(accepted(log))} accepted, "
        f"at most {backlog} of them undelivered after a kill, "
        f"{len(receiver.posted)} received, {len(receiver.posted) - len(first)} repetitions, "
        f"{len(unnamed)} that no decision names"
    )
