"""Fill the tables of the pages in docs/ with the committed results.

    python -m tools.figures           # write the pages
    python -m tools.figures --check   # change nothing; fail if one is out of date

Figures typed by hand go stale. These come from the JSON files under `bench/` and name the command
that made them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import camera, fleet, looking, people, precision, service
from bench.quality import expectations, kinds, policies
from bench.quality.report import tables as quality_tables
from bench.report import tables as speed_tables
from tools import pages

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
        text = pages.filled(text, name, block)
    return text


def main() -> int:
    """Write the pages, or with --check compare them; return the exit status."""
    return pages.write_or_check("tools.figures", dict.fromkeys(PAGES, filled))


if __name__ == "__main__":
    sys.exit(main())
