"""What a test needs of the machine; absent on a user's machine it is skipped, under CI it fails."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parent.parent


def missing(what: str, remedy: str) -> NoReturn:
    """Skip the test because of `what`, or fail it under CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and CI must have it: {remedy}")
    pytest.skip(f"{what} is missing: {remedy}")


def program(name: str, *, package: str | None = None) -> str:
    """Return the path of a program, or skip the test."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")
    if found is None:
        missing(f"the program {name}", f"apt-get install {package or name}")
    return str(found)


def reference_data(relative: str) -> Path:
    """Return a file of pictures that may not be passed on with the project, or skip the test.

    No claim stands on such a test alone, so CI may skip it too.
    """
    folder = Path(os.environ.get("STREAMGATE_SHARED", ROOT.parent / "shared"))
    path = folder / relative
    if not path.exists():
        pytest.skip(
            f"{relative} holds pictures that may not be passed on with the project, and is not in "
            f"{folder} (set STREAMGATE_SHARED to its folder)"
        )
    return path
