"""The decision log: what a line says, when it is written, and how it stays bounded."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamgate.config import DecisionLogSection, GateSection, PrecheckSection
from streamgate.delivery.decision_log import DecisionLog
from streamgate.delivery.rotated import RotatedFile
from streamgate.errors import DeliveryError
from streamgate.selection.decision_record import (
    DecidedUnder,
    ForwardedShot,
    ShotState,
    decision_line,
    decision_record,
    decision_schema,
    forwarded_shot,
)
from streamgate.selection.gate import QualityGate
from streamgate.telemetry.metrics import Metrics
from streamgate.values import (
    Acceptance,
    BestShot,
    Release,
    ReleaseReason,
    ScoredFace,
    TrackDecision,
    TrackOutcome,
)
from tests import needs
from tests.builders import candidate
from tests.delivery.shots import best_shot

SCHEMA = jsonschema.Draft202012Validator(decision_schema())


def under(**gate: Any) -> DecidedUnder:
    return DecidedUnder(
        camera="door",
        boot_id="b00t",
        model_hash="a" * 64,
        config_hash="b" * 64,
        gate=GateSection.model_validate(gate),
        precheck=PrecheckSection(),
        outbox="sqlite",
        sinks=("http",),
    )


def decision(track_id: int = 1, **changed: Any) -> TrackDecision:
    values: dict[str, Any] = {
        "track_id": track_id, "outcome": TrackOutcome.FORWARDED,
        "reason": ReleaseReason.TRACK_ENDED, "first_seen_at": 10.0, "last_seen_at": 12.0,
        "first_seen_wall": 1_790_000_000.0, "last_seen_wall": 1_790_000_002.0, "decided_at": 13.0,
        "faces": 50, "scored": 30, "skipped": 4, "best_quality": 71.5, "best_raw": 0.03,
        "forwarded": 1, "visit": track_id, "rejected": {"too_small": 12, "blurred": 4},
    }  # fmt: skip
    return TrackDecision(**{**values, **changed})


class Outbox:
    """Notes what it was given and answers as told."""

    def __init__(self, *answers: Acceptance | DeliveryError) -> None:
        self.answers = list(answers)
        self.taken: list[str] = []

    async def accept(self, shot: BestShot) -> Acceptance:
        answer = self.answers.pop(0) if self.answers else Acceptance.ACCEPTED
        if isinstance(answer, DeliveryError):
            raise answer
        self.taken.append(shot.key)
        return answer


def log_at(path: Path, outbox: Outbox, **section: Any) -> tuple[DecisionLog, Metrics]:
    metrics = Metrics("door")
    settings = DecisionLogSection.model_validate({"path": path, **section})
    return DecisionLog(settings, outbox, under(), metrics=metrics), metrics


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def lines_written(metrics: Metrics, outcome: str) -> float:
    value = metrics.registry.get_sample_value(
        "streamgate_decision_log_lines_total", {"outcome": outcome}
    )
    assert value is not None
    return value


# What a line says


def test_equal_decisions_make_equal_lines() -> None:
    """To the byte, whatever the order in which rejections were counted."""
    shots = [forwarded_shot(best_shot(), "accepted")]
    one = decision(rejected={"a": 1, "b": 2})
    other = decision(rejected={"b": 2, "a": 1})
    assert decision_line(decision_record(one, shots, under())) == decision_line(
        decision_record(other, shots, under())
    )


def test_the_schema_knows_every_word_and_key() -> None:
    """Its enumerations are those of the program, and each key of a line is described."""
    schema = decision_schema()
    keys, shot_keys = schema["properties"], schema["properties"]["shots"]["items"]["properties"]
    assert set(keys["outcome"]["enum"]) == set(TrackOutcome)
    assert set(keys["reason"]["enum"]) == set(shot_keys["reason"]["enum"]) == set(ReleaseReason)
    assert set(shot_keys["state"]["enum"]) == set(get_args(ShotState))
    shots = [forwarded_shot(best_shot(), "accepted")]
    line = json.loads(decision_line(decision_record(decision(), shots, under())))
    SCHEMA.validate(line)
    # What the file adds, see test_chain.
    assert set(keys) - set(line) == {"chain", "hash"}
    assert set(line["shots"][0]) == set(shot_keys)


def test_a_line_holds_no_picture_and_no_embedding() -> None:
    """Short, one line, with hashes, thresholds and times."""
    shots = [forwarded_shot(best_shot(context=True), "accepted")]
    line = decision_line(decision_record(decision(), shots, under(min_quality=40)))
    assert line.count(b"\n") == 1
    assert len(line) < 3000
    assert b"embedding" not in line
    said = json.loads(line)
    assert said["gate"]["min_quality"] == 40
    assert said["precheck"]["min_size_px"] == PrecheckSection().min_size_px
    assert (said["model_hash"], said["config_hash"]) == ("a" * 64, "b" * 64)
    assert said["first_seen_at"] == "2026-09-21T14:13:20.000000Z"
    assert said["shots"][0]["key"] == "door-b00t-1-1"
    assert said["shots"][0]["state"] == "accepted"


def rebuilt(line: dict[str, Any]) -> str:
    """The outcome as its definition says, from nothing but the line."""
    if line["shots"]:
        return "forwarded"
    if line["best"] is None:
        return "nothing_scored" if line["skipped"] else "all_rejected"
    return (
        "below_min_quality"
        if line["best"]["quality"] < line["gate"]["min_quality"]
        else "too_young"
    )


Step = tuple[str, float]
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(st.sampled_from(["scored", "rejected", "skipped"]), st.floats(0, 100)), max_size=12
)


@settings(max_examples=200, deadline=None)
@given(steps, st.floats(0, 100), st.floats(0, 2), st.booleans())
def test_a_decision_can_be_rebuilt_from_its_line(
    course: Sequence[Step], min_quality: float, min_age_s: float, hurried: bool
) -> None:
    """Outcome, and for each best shot the threshold that let it go, follow from the line alone."""
    rules = under(
        min_quality=min_quality, min_age_s=min_age_s, top_k=2,
        release_quality=max(min_quality, 80.0) if hurried else None,
    )  # fmt: skip
    gate = QualityGate(rules.gate)
    events: list[Release | TrackDecision] = []
    gate.seen(1, at=0.0, wall=1000.0)
    for number, (kind, quality) in enumerate(course):
        at = 0.25 * (number + 1)
        gate.seen(1, at=at, wall=1000.0 + at)
        if kind == "scored":
            events += gate.scored(scored(at, quality), at=at)
        elif kind == "rejected":
            gate.rejected(1, "blurred")
        else:
            gate.skipped(1)
    events += gate.end(1, ReleaseReason.TRACK_ENDED, at=100.0)
    last = events[-1]
    assert isinstance(last, TrackDecision)
    shots = [shot_of(event) for event in events if isinstance(event, Release)]
    line = json.loads(decision_line(decision_record(last, shots, rules)))
    SCHEMA.validate(line)

    assert rebuilt(line) == line["outcome"] == last.outcome.value
    for shot in line["shots"]:
        assert shot["quality"] >= line["gate"]["min_quality"]
        if shot["reason"] == "quality_reached":
            best = max(s["quality"] for s in line["shots"])
            assert best >= line["gate"]["release_quality"]
    if line["shots"]:
        assert line["age_s"] >= line["gate"]["min_age_s"]
    assert line["forwarded"] == len(line["shots"])


def scored(at: float, quality: float) -> ScoredFace:
    return ScoredFace(candidate(1, at), 1.0 - quality / 100, quality, np.ones(2, np.float32), at)


def shot_of(release: Release) -> ForwardedShot:
    face = release.face.candidate
    return ForwardedShot(
        key=f"door-b00t-1-{release.revision}", revision=release.revision, rank=release.rank,
        reason=release.reason.value, quality=release.face.quality, raw=release.face.raw,
        frame_index=face.frame_index, captured_wall=face.captured_wall, decided_wall=2000.0,
        captured_at=face.captured_at, decided_at=release.at, state="replayed",
    )  # fmt: skip


# When it is written


async def test_the_line_comes_after_the_outbox_and_tells_its_answer(tmp_path: Path) -> None:
    """accepted, held, dropped and failed are what the outbox said; other tracks do not mix in."""
    path = tmp_path / "log" / "decisions.jsonl"
    outbox = Outbox(
        Acceptance.ACCEPTED, Acceptance.HELD, Acceptance.ACCEPTED, Acceptance.DROPPED,
        DeliveryError("no"),
    )  # fmt: skip
    log, metrics = log_at(path, outbox)
    for track, revision in ((1, 1), (1, 2), (2, 1), (2, 2)):
        await log.accept(best_shot(track, revision))
    with pytest.raises(DeliveryError):
        await log.accept(best_shot(2, 3))
    assert not path.exists(), "a line was written before its track's decision"
    await log.decided(decision(1))
    await log.decided(decision(2))
    await log.decided(decision(3, outcome=TrackOutcome.TOO_YOUNG, forwarded=0))
    states = [[shot["state"] for shot in line["shots"]] for line in lines(path)]
    assert states == [["accepted", "held"], ["accepted", "dropped", "failed"], []]
    assert lines_written(metrics, "written") == 3


async def test_a_reload_changes_the_lines_that_follow(tmp_path: Path) -> None:
    """Each line tells the thresholds that it was decided under."""
    from streamgate.config import CameraConfig  # noqa: PLC0415 - for this test alone

    config = CameraConfig.model_validate(
        {
            "camera": {"name": "door"},
            "source": {"kind": "file", "path": "clip.mkv"},
            "gate": {"min_quality": 55},
        }
    )
    log, _ = log_at(tmp_path / "d.jsonl", Outbox())
    await log.decided(decision(1))
    log.adopt(config, "c" * 64, "night")
    await log.decided(decision(2))
    first, second = lines(tmp_path / "d.jsonl")
    assert (first["gate"]["min_quality"], second["gate"]["min_quality"]) == (30, 55)
    assert second["config_hash"] == "c" * 64


# How it stays bounded and whole


async def test_the_log_is_rotated_and_bounded(tmp_path: Path) -> None:
    """With two put aside, three files of at most max_bytes stay: the newest lines, none torn."""
    path = tmp_path / "decisions.jsonl"
    log, _ = log_at(path, Outbox(), max_bytes=6000, keep=2)
    for track in range(1, 41):
        await log.decided(decision(track))
    files = [path.with_name("decisions.jsonl.2"), path.with_name("decisions.jsonl.1"), path]
    assert files_in(tmp_path) == sorted(file.name for file in files)
    assert all(file.stat().st_size <= 6000 for file in files)
    tracks = [line["track_id"] for file in files for line in lines(file)]
    assert tracks == list(range(41 - len(tracks), 41))
    assert len(tracks) >= 6


async def test_without_keep_there_is_one_file(tmp_path: Path) -> None:
    """keep: 0 begins the file anew."""
    log, _ = log_at(tmp_path / "d.jsonl", Outbox(), max_bytes=6000, keep=0)
    for track in range(1, 20):
        await log.decided(decision(track))
    assert files_in(tmp_path) == ["d.jsonl"]
    assert lines(tmp_path / "d.jsonl")[-1]["track_id"] == 19


def test_half_a_line_swallows_none(tmp_path: Path) -> None:
    """After a power cut in mid-line the next line stands by itself."""
    path = tmp_path / "d.jsonl"
    path.write_bytes(b'{"half')
    RotatedFile(path, 10_000, 1).append(b'{"whole":1}\n')
    assert path.read_bytes().splitlines()[1:] == [b'{"whole":1}']


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    if os.geteuid() != 0:
        needs.missing("root", "run the tests as root to mount a tmpfs")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


async def test_a_full_disk_costs_no_line_that_memory_can_hold(
    tiny_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines are held back, told once, and written whole and in order when there is room."""
    filler = tiny_disk / "filler"
    path = tiny_disk / "d.jsonl"
    log, metrics = log_at(path, Outbox())
    await log.decided(decision(1))
    fill(filler)
    for track in range(2, 12):
        await log.decided(decision(track))
    written = path.read_bytes()
    assert written.endswith(b"\n"), "a line was torn"
    filler.unlink()
    await log.decided(decision(12))
    assert [line["track_id"] for line in lines(path)] == list(range(1, 13))
    assert lines_written(metrics, "written") == 12
    assert lines_written(metrics, "lost") == 0
    said = capsys.readouterr().out
    assert said.count("the decision log cannot be written") == 1
    assert "can be written again" in said


async def test_a_line_does_not_wait_for_a_name_server(tmp_path: Path) -> None:
    """Look-ups that hang in every thread of the loop do not hold up a line."""
    loop, go = asyncio.get_running_loop(), threading.Event()
    loop.set_default_executor(ThreadPoolExecutor(1))
    looking_up = loop.run_in_executor(None, go.wait)
    log, metrics = log_at(tmp_path / "d.jsonl", Outbox())
    try:
        async with asyncio.timeout(10.0):
            await log.decided(decision(1))
    finally:
        go.set()
        await looking_up
    assert lines_written(metrics, "written") == 1


async def test_lines_beyond_what_memory_holds_are_counted(tmp_path: Path) -> None:
    """300 decisions without a disk: 256 are held, 44 are lost, and close counts the rest."""
    (tmp_path / "file").touch()
    log, metrics = log_at(tmp_path / "file" / "d.jsonl", Outbox())
    for track in range(300):
        await log.decided(decision(track))
    assert lines_written(metrics, "lost") == 44
    await log.close()
    assert lines_written(metrics, "lost") == 300
