"""Fill the tables of docs/measurements.md and docs/sizing.md with the committed results.

    python -m tools.figures           # write the page
    python -m tools.figures --check   # change nothing; fail if the page is out of date

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
from bench.quality.policies import RESULTS as POLICIES
from bench.quality.policies import table as policy_table
from bench.quality.report import tables as quality_tables
from bench.report import tables as speed_tables
from bench.service import RESULTS as SERVICE
from bench.service import table as service_table

__all__ = ["PAGE", "SIZING", "filled", "main", "sizing_filled"]

_ROOT = Path(__file__).parent.parent
PAGE = _ROOT / "docs" / "measurements.md"
SIZING = _ROOT / "docs" / "sizing.md"


def filled(text: str) -> str:
    """Return the page with the present results between its marks.

    Raises:
        ValueError: a mark is missing.
    """
    bench = _ROOT / "bench"
    quality, policies = _read(bench / "quality" / "results.json"), _read(POLICIES)
    camera = _read(CAMERA)
    blocks = {
        "bench": speed_tables(_read(bench / "results.json")),
        "bench-cuda": speed_tables(_read(bench / "results-cuda.json")),
        "precision": precision_table(_read(PRECISION)),
        "quality": quality_tables(quality) + f"\n`{quality['command']}`",
        "camera": camera_table(camera) + f"\n`{camera['command']}`",
        "policies": policy_table(policies) + f"\n`{policies['command']}`",
    }
    for name, block in blocks.items():
        text = _fill(text, name, block)
    return text


def sizing_filled(text: str) -> str:
    """Return the page on sizing with the present results between its marks.

    Raises:
        ValueError: a mark is missing.
    """
    if not SERVICE.exists():
        return _fill(text, "service", "Not measured yet: `make bench ARGS=service` does it.")
    service = _read(SERVICE)
    return _fill(text, "service", service_table(service) + f"\n`{service['command']}`")


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
    """Write the page, or with --check compare it; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.figures", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if out of date")
    check = parser.parse_args().check
    stale = False
    for page, fill in ((PAGE, filled), (SIZING, sizing_filled)):
        old = page.read_text(encoding="utf-8")
        new = fill(old)
        if new == old:
            continue
        stale = True
        if not check:
            page.write_text(new, encoding="utf-8")
        print(f"{page}: {'is out of date' if check else 'written'}")
    return int(check and stale)


if __name__ == "__main__":
    sys.exit(main())
