"""Fill the tables of docs/scorer-service.md, of its settings and its metrics, from the code.

python -m tools.scorer_page           # write the page
python -m tools.scorer_page --check   # change nothing; fail if the page is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

from streamgate.config import ScorerConfig
from streamgate.telemetry.scorer_metrics import ScorerMetrics
from tools import pages
from tools.configuration import sections, settings

__all__ = ["PAGE", "filled", "main"]

PAGE = Path(__file__).parent.parent / "docs" / "scorer-service.md"


def filled(text: str) -> str:
    """Return the page with the present tables between its marks.

    Raises:
        ValueError: a mark is missing.
    """
    for name, block in (("settings", _settings()), ("metrics", _metrics())):
        text = pages.filled(text, name, block)
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
    return pages.write_or_check("tools.scorer_page", {PAGE: filled})


if __name__ == "__main__":
    sys.exit(main())
