"""The decision log's chain: what was done to a log is seen, and a crash is no crime."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import jsonschema
import pytest

from streamgate.delivery.chain import ChainedFile
from streamgate.delivery.rotated import RotatedFile
from streamgate.selection.decision_record import decision_line, decision_record, decision_schema
from tests.cli.crops import invoke
from tests.delivery.test_decision_log import Outbox, decision, log_at, under

KEY = secrets.token_urlsafe(32)


def written(path: Path, lines: int, *, key: str | None = None, max_bytes: int = 1 << 24) -> None:
    """Lines by one run of a camera."""
    rotated = RotatedFile(path, max_bytes, keep=20)
    log = ChainedFile(path, rotated, None if key is None else key.encode())
    for number in range(lines):
        log.append(decision_line(decision_record(decision(number + 1), [], under())))


def verified(*files: Path, key: Path | None = None, known: str = "") -> tuple[int, str]:
    options = ["--key-file", key] if key is not None else []
    options += ["--contains", known] if known else []
    result = invoke("decisions", "verify", *options, *files)
    return result.exit_code, result.output


def all_of(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}*"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "door.jsonl"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "decisions.key"
    file.write_text(KEY + "\n")
    return file


def test_a_log_over_rotations_and_restarts_is_one_chain(log: Path) -> None:
    """Every file that was put aside and three runs; each line still fits its schema."""
    for _ in range(3):
        written(log, 10, max_bytes=8192)
    files = all_of(log)
    assert len(files) > 3
    code, said = verified(*reversed(files))
    assert code == 0, said
    assert "30 lines are sound, numbers 1 to 30" in said
    for file in files:
        for line in file.read_text().splitlines():
            jsonschema.validate(json.loads(line), decision_schema())


def test_what_the_daemon_writes_is_chained(log: Path) -> None:
    """Through the decision log itself."""

    async def run() -> None:
        decisions, _ = log_at(log, Outbox())
        for track in range(1, 4):
            await decisions.decided(decision(track))
        await decisions.close()

    import asyncio  # noqa: PLC0415

    asyncio.run(run())
    assert verified(log)[0] == 0


def test_older_files_may_be_gone(log: Path) -> None:
    """The chain begins where they end."""
    written(log, 30, max_bytes=8192)
    files = all_of(log)
    code, said = verified(*files[:2])
    assert code == 0, said
    assert "to 30" in said


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("deed", ["changed", "removed", "inserted", "swapped", "file"])
def test_what_was_done_to_a_log_is_told_with_its_line(
    log: Path, key: Path, deed: str, keyed: bool
) -> None:
    """The first line that is broken, by file and number."""
    written(log, 12, key=KEY if keyed else None, max_bytes=1 << 24 if deed != "file" else 4096)
    given = key if keyed else None
    if deed == "file":
        files = all_of(log)
        files[len(files) // 2].unlink()
        code, said = verified(*all_of(log), key=given)
        assert code == 1
        assert "lines are missing" in said
        return
    lines = log.read_bytes().splitlines(keepends=True)
    if deed == "changed":
        lines[4] = lines[4].replace(b'"scored":30', b'"scored":31')
    elif deed == "removed":
        del lines[4]
    elif deed == "inserted":
        lines.insert(4, lines[3])
    else:
        lines[4], lines[5] = lines[5], lines[4]
    log.write_bytes(b"".join(lines))
    code, said = verified(log, key=given)
    assert code == 1
    assert f"{log}:5: " in said


def test_a_forged_chain_needs_the_key(log: Path, key: Path, tmp_path: Path) -> None:
    """Without one, a log made anew passes; with one it does not, nor under another key."""
    written(log, 3, key=KEY)
    assert verified(log, key=key)[0] == 0
    assert "key" in verified(log)[1]
    other = tmp_path / "other.jsonl"
    written(other, 3)
    assert verified(other)[0] == 0
    assert verified(other, key=key)[0] == 1
    written(tmp_path / "third.jsonl", 3, key="another-secret-of-somebody")
    code, said = verified(tmp_path / "third.jsonl", key=key)
    assert code == 1
    assert "hash does not match" in said


def test_a_key_may_be_set_later(log: Path, key: Path) -> None:
    """Lines from before are told, not broken; after it none may be without."""
    written(log, 2)
    written(log, 2, key=KEY)
    code, said = verified(log, key=key)
    assert code == 0, said
    assert "2 lines are from before the key" in said
    written(log, 1)
    assert verified(log, key=key)[0] == 1


def test_half_a_line_of_a_crash_is_told_apart(log: Path) -> None:
    """The next run goes on without it."""
    written(log, 3)
    whole = log.read_bytes()
    log.write_bytes(whole + whole.splitlines()[0][:200])
    code, said = verified(log)
    assert code == 0
    assert f"{log}:4: half a line" in said
    written(log, 2)
    code, said = verified(log)
    assert code == 0, said
    assert "5 lines are sound" in said


def test_a_tail_that_was_cut_off_shows_by_a_hash_that_was_noted(log: Path) -> None:
    """By itself a chain cannot show it, until somebody knows a later hash."""
    written(log, 5)
    noted = verified(log)[1].split()[-1]
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:3]))
    assert verified(log)[0] == 0
    code, said = verified(log, known=noted)
    assert code == 1
    assert "lines were removed" in said


def test_lines_of_an_earlier_program_are_not_protected(log: Path) -> None:
    """They come before the chain; after it they are broken."""
    old = decision_line(decision_record(decision(), [], under()))
    log.write_bytes(old)
    written(log, 2)
    code, said = verified(log)
    assert code == 0
    assert "1 lines before the chain begins" in said
    with log.open("ab") as file:
        file.write(old)
    assert verified(log)[0] == 1
