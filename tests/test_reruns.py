"""Only a live test is tried again, and nothing can have another one tried again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import ROOT

RULES = "from tests.conftest import pytest_collection_modifyitems, pytest_configure\n"
TEST = """
import pathlib, pytest
{mark}
def test_it():
    tries = pathlib.Path("tries")
    tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
    assert False
"""


def tries(folder: Path, mark: str, *options: str) -> tuple[int, str]:
    """Run a test that fails; return how often it ran, and what was said."""
    (folder / "conftest.py").write_text(RULES)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = live: talks to somebody\n")
    (folder / "test_it.py").write_text(TEST.format(mark=mark))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode != 0
    ran = folder / "tries"
    return len(ran.read_text()) if ran.exists() else 0, done.stdout + done.stderr


def test_a_test_that_fails_has_failed(tmp_path: Path) -> None:
    """At once."""
    assert tries(tmp_path, "")[0] == 1


def test_a_live_test_is_tried_twice_more(tmp_path: Path) -> None:
    """And then it has failed too; the summary counts it."""
    ran, said = tries(tmp_path, "@pytest.mark.live")
    assert ran == 3
    assert "2 rerun" in said


@pytest.mark.parametrize(
    ("mark", "option"), [("@pytest.mark.flaky(reruns=5)", ()), ("", ("--reruns", "2"))]
)
def test_whoever_asks_for_more_is_refused(
    tmp_path: Path, mark: str, option: tuple[str, ...]
) -> None:
    """Before anything runs."""
    ran, said = tries(tmp_path, mark, *option)
    assert ran == 0
    assert "live" in said
