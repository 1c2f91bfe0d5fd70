"""Fill the tables of docs/measurements.md and docs/mounting.md with the committed results.

    python -m tools.figures           # write the pages
    python -m tools.figures --check   # change nothing; fail if one is out of date

Figures typed by hand go stale. These come from the JSON files under `bench/` and name the command
that made them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench.camera import RESULTS as CAMERA
from bench.camera import table as camera_table
from bench.precision import RESULTS as PRECISION
from bench.precision import table as precision_table
from bench.quality.expectations import RESULTS as EXPECTATIONS
from bench.quality.expectations import table as expectation_table
from bench.quality.kinds import RESULTS as KINDS
from bench.quality.kinds import table as kinds_table
from bench.quality.policies import RESULTS as POLICIES
from bench.quality.policies import table as policy_table
from bench.quality.report import tables as quality_tables
from bench.report import tables as speed_tables

__all__ = ["MOUNTING", "PAGE", "filled", "main", "mounting"]

_ROOT = Path(__file__).parent.parent
PAGE = _ROOT / "docs" / "measurements.md"
MOUNTING = _ROOT / "docs" / "mounting.md"


def filled(text: str) -> str:
    """Return the page with the present results between its marks.

    Raises:
        ValueError: a mark is missing.
    """
    bench = _ROOT / "bench"
    quality, policies = _read(bench / "quality" / "results.json"), _read(POLICIES)
    camera, kinds = _read(CAMERA), _read(KINDS)
    blocks = {
        "bench": speed_tables(_read(bench / "results.json")),
        "bench-cuda": speed_tables(_read(bench / "results-cuda.json")),
        "precision": precision_table(_read(PRECISION)),
        "quality": quality_tables(quality) + f"\n`{quality['command']}`",
        "kinds": kinds_table(kinds) + f"\n`{kinds['command']}`",
        "camera": camera_table(camera) + f"\n`{camera['command']}`",
        "policies": policy_table(policies) + f"\n`{policies['command']}`",
    }
    for name, block in blocks.items():
        text = _fill(text, name, block)
    return text


def mounting(text: str) -> str:
    """Return the page of mounting with the present results between its marks.

    Raises:
        ValueError: a mark is missing.
    """
    results = _read(EXPECTATIONS)
    block = expectation_table(results) + f"\n`{results['command']}`"
    return _fill(text, "expectations", block)


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _fill(text: str, name: str, block: str) -> str:
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"wanted {begin} and, after it, {end}")
    return f"{before}{begin}\n\n{block.strip()}\n\n{end}{after}"


def main() -> int:
    """Write the pages, or with --check compare them; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.figures", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if out of date")
    check = parser.parse_args().check
    outdated = False
    for page, fill in ((PAGE, filled), (MOUNTING, mounting)):
        old = page.read_text(encoding="utf-8")
        new = fill(old)
        if new == old:
            continue
        outdated = True
        if not check:
            page.write_text(new, encoding="utf-8")
        print(f"{page}: {'is out of date' if check else 'written'}")
    return int(check and outdated)


if __name__ == "__main__":
    sys.exit(main())
