"""Write the pages that are made from code, or compare them with it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["filled", "write_or_check"]


def filled(text: str, name: str, block: str) -> str:
    """Return a page with a block between its marks.

    Raises:
        ValueError: one of the two marks is missing.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"wanted {begin} and, after it, {end}")
    return f"{before}{begin}\n\n{block.strip()}\n\n{end}{after}"


def write_or_check(module: str, pages: Mapping[Path, Callable[[str], str]]) -> int:
    """Write pages, or with --check compare them; return the exit status.

    Args:
        module: what `python -m` runs.
        pages: what makes each of its present text, which is empty before there is one.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if out of date")
    check = parser.parse_args().check
    stale = False
    for page, make in pages.items():
        old = page.read_text(encoding="utf-8") if page.exists() else ""
        new = make(old)
        if new == old:
            continue
        stale = True
        if not check:
            page.write_text(new, encoding="utf-8")
        print(f"{page}: {'is out of date' if check else 'written'}")
    return int(check and stale)
