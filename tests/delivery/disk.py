"""A disk that can be told to fail, for a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import needs

__all__ = ["failing_disk", "run_on"]


def failing_disk(folder: Path, scratch: Path) -> dict[str, str]:
    """The environment of a process whose files in `folder` lie on a failing disk, see disk.c.

    The disk hangs while the file `scratch / "hangs"` exists.
    """
    library = scratch / "disk.so"
    command = [needs.program("gcc"), "-shared", "-fPIC", "-O1", "-o", str(library)]
    source = Path(__file__).with_name("disk.c")
    subprocess.run([*command, str(source), "-ldl"], check=True)
    return {
        "LD_PRELOAD": str(library), "DISK_FOLDER": str(folder),
        "DISK_HANGS": str(scratch / "hangs"),
    }  # fmt: skip


def run_on(
    disk: dict[str, str], program: str, *arguments: str, timeout_s: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run a Python program on a failing disk."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], env={**os.environ, **disk}, cwd=needs.ROOT,
        capture_output=True, text=True, check=False, timeout=timeout_s,
    )  # fmt: skip
