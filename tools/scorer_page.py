"""Fill the tables of docs/scorer-service.md, of its settings and its metrics, from the code.

python -m tools.scorer_page           # write the page
python -m tools.scorer_page --check   # change nothing; fail if the page is out of date
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from streamgate.config import ScorerConfig
from streamgate.telemetry.scorer_metrics import ScorerMetrics
from tools.configuration import sections, settings

__all__ = ["PAGE", "filled", "main"]

PAGE = Path(__file__).parent.parent / "docs" / "scorer-service.md"


def filled(text: str) -> str:
    """Return the page with the present tables between its marks.

    Raises:
        ValueError: a mark is missing.
    """
    for name, block in (("settings", _settings()), ("metrics", _metrics())):
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        before, found, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not found or not found_end:
            raise ValueError(f"wanted {begin} and, after it, {end}")
        text = f"{before}{begin}\n\n{block.strip()}\n\n{end}{after}"
    return text


def _settings() -> str:
    lines: list[str] = []
    for found in sections(ScorerConfig):
        prose = " ".join((found.model.__doc__ or "").split())
        lines += [f"### `{found.key}`", "", prose, ""]
        lines += ["| key | value | default | meaning and reason |", "| --- | --- | --- | --- |"]
        for setting in settings(found.model):
            cells = (f"`{setting.name}`", setting.value, setting.default, setting.description)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _metrics() -> str:
    lines = ["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |"]
    for family in ScorerMetrics().families:
        labels = "; ".join(
            f"`{name}`: {', '.join(values)}" if values else f"`{name}`"
            for name, values in family.labels.items()
        )
        lines.append(f"| `{family.name}` | {family.kind} | {labels} | {family.text} |")
    return "\n".join(lines)


def main() -> int:
    """Write the page, or with --check compare it; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.scorer_page", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if out of date")
    check = parser.parse_args().check
    old = PAGE.read_text(encoding="utf-8")
    new = filled(old)
    if new == old:
        return 0
    if not check:
        PAGE.write_text(new, encoding="utf-8")
    print(f"{PAGE}: {'is out of date' if check else 'written'}")
    return int(check)


if __name__ == "__main__":
    sys.exit(main())
