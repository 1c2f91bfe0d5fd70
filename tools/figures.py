"""Fill the tables of the pages in docs/ with the committed results.

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
from bench.camera import many_table
from bench.camera import table as camera_table
from bench.fleet import RESULTS as FLEET
from bench.fleet import table as fleet_table
from bench.looking import RESULTS as LOOKING
from bench.looking import table as looking_table
from bench.people import RESULTS as PEOPLE
from bench.people import table as people_table
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

__all__ = ["PAGES", "filled", "main"]

_ROOT = Path(__file__).parent.parent
PAGES = tuple(_ROOT / "docs" / name for name in ("measurements.md", "mounting.md", "sizing.md"))


def filled(text: str) -> str:
    """Return a page with the present results between its marks.

    Raises:
        ValueError: one of a pair of marks is missing.
    """
    bench = _ROOT / "bench"
    quality, policies = _read(bench / "quality" / "results.json"), _read(POLICIES)
    camera, looking = _read(CAMERA), _read(LOOKING)
    blocks = {
        "bench": speed_tables(_read(bench / "results.json")),
        "bench-cuda": speed_tables(_read(bench / "results-cuda.json")),
        "precision": precision_table(_read(PRECISION)),
        "quality": quality_tables(quality) + f"\n`{quality['command']}`",
        "camera": camera_table(camera) + f"\n`{camera['command']}`",
        "cameras": many_table(camera),
        "looking": looking_table(looking) + f"\n`{looking['command']}`",
        "people": _people(),
        "policies": policy_table(policies) + f"\n`{policies['command']}`",
    }
    for name, path, table in (
        ("kinds", KINDS, kinds_table),
        ("expectations", EXPECTATIONS, expectation_table),
        ("fleet", FLEET, fleet_table),
    ):
        if path.exists():
            results = _read(path)
            blocks[name] = table(results) + f"\n`{results['command']}`"
    for name, block in blocks.items():
        if f"<!-- {name}:" in text:
            text = _fill(text, name, block)
    return text


def _people() -> str:
    if not PEOPLE.exists():
        return "Not measured for the present weights yet: `python -m bench people --crops TAR`."
    people = _read(PEOPLE)
    return people_table(people) + f"\n`{people['command']}`"


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
    stale = False
    for page in PAGES:
        old = page.read_text(encoding="utf-8")
        new = filled(old)
        if new == old:
            continue
        stale = True
        if not check:
            page.write_text(new, encoding="utf-8")
        print(f"{page}: {'is out of date' if check else 'written'}")
    return int(check and stale)


if __name__ == "__main__":
    sys.exit(main())
