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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import camera, fleet, looking, people, precision, service
from bench.quality import expectations, kinds, policies
from bench.quality.report import tables as quality_tables
from bench.report import tables as speed_tables

__all__ = ["PAGES", "filled", "main"]

_ROOT = Path(__file__).parent.parent
_BENCH = _ROOT / "bench"
PAGES = tuple(_ROOT / "docs" / name for name in ("measurements.md", "mounting.md", "sizing.md"))

# What stands between a pair of marks: the file of results, and what makes its table. The command
# stands below the table, except where the table names it itself.
_BLOCKS: dict[str, tuple[Path, Callable[[Any], str]]] = {
    "bench": (_BENCH / "results.json", speed_tables),
    "bench-cuda": (_BENCH / "results-cuda.json", speed_tables),
    "precision": (precision.RESULTS, precision.table),
    "quality": (_BENCH / "quality" / "results.json", quality_tables),
    "kinds": (kinds.RESULTS, kinds.table),
    "expectations": (expectations.RESULTS, expectations.table),
    "policies": (policies.RESULTS, policies.table),
    "people": (people.RESULTS, people.table),
    "camera": (camera.RESULTS, camera.table),
    "cameras": (camera.RESULTS, camera.many_table),
    "looking": (looking.RESULTS, looking.table),
    "service": (service.RESULTS, service.table),
    "fleet": (fleet.RESULTS, fleet.table),
}
_COMMANDLESS = ("bench", "bench-cuda", "precision", "cameras")


def filled(text: str) -> str:
    """Return a page with the present results between its marks.

    Raises:
        ValueError: one of a pair of marks is missing.
    """
    for name, (path, table) in _BLOCKS.items():
        if f"<!-- {name}:" not in text:
            continue
        block = "Not measured yet."
        if path.exists():
            results = json.loads(path.read_text(encoding="utf-8"))
            block = table(results)
            if name not in _COMMANDLESS:
                block += f"\n`{results['command']}`"
        text = _fill(text, name, block)
    return text


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
