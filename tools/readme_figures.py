"""Put the committed results into README and docs/score.md, between their marks.

    python -m tools.readme_figures

Numbers that are typed by hand grow old; these come from the JSON files under `bench/` and name the
command that made them.
"""

from __future__ import annotations

import json
from pathlib import Path

from bench.precision import RESULTS as PRECISION
from bench.precision import table as precision_table
from bench.quality.policies import RESULTS as POLICIES
from bench.quality.policies import table as policy_table
from bench.quality.report import tables as quality_tables
from bench.report import tables as speed_tables

_ROOT = Path(__file__).parent.parent


def fill(text: str, name: str, block: str) -> str:
    """Return the text with what stands between a block's marks replaced."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, rest = text.split(begin, 1)
    _, after = rest.split(end, 1)
    return f"{before}{begin}\n\n{block.strip()}\n\n{end}{after}"


def main() -> None:
    """Fill all blocks."""
    readme = _ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    speed = json.loads((_ROOT / "bench" / "results.json").read_text(encoding="utf-8"))
    text = fill(text, "bench", speed_tables(speed))
    cuda = json.loads((_ROOT / "bench" / "results-cuda.json").read_text(encoding="utf-8"))
    text = fill(text, "bench-cuda", speed_tables(cuda))
    quality = _ROOT / "bench" / "quality" / "results.json"
    figures = json.loads(quality.read_text(encoding="utf-8"))
    text = fill(text, "quality", quality_tables(figures) + f"\n`{figures['command']}`")
    policies = json.loads(POLICIES.read_text(encoding="utf-8"))
    text = fill(text, "policies", policy_table(policies) + f"\n`{policies['command']}`")
    readme.write_text(text, encoding="utf-8")
    score = _ROOT / "docs" / "score.md"
    precision = precision_table(json.loads(PRECISION.read_text(encoding="utf-8")))
    score.write_text(
        fill(score.read_text(encoding="utf-8"), "precision", precision), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
