"""The documentation: its links lead somewhere, and its tables hold the committed results."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.needs import ROOT

PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("streamgate/models/*.md")]
)
_LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings have where Markdown is rendered."""
    headings = _HEADING.findall(_CODE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_what_exists(page: Path) -> None:
    """Every link to a file names one that is there, and every anchor a heading of it."""
    for link in _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_the_index_names_every_page() -> None:
    """No page can be found by chance only."""
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"({page})" not in index} == set()


def test_the_readme_is_a_few_screens() -> None:
    """What is longer belongs into docs/."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 230


@pytest.mark.parametrize("tool", ["tools.figures", "tools.scorer_page"])
def test_tables_are_those_of_the_results_and_of_the_code(tool: str) -> None:
    """`make docs` would change nothing."""
    done = subprocess.run(
        [sys.executable, "-m", tool, "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_layers_are_those_that_are_checked() -> None:
    """The page on the architecture lists the layers of the contract, from top to bottom."""
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"^layers = \[\n(.*?)^\]", contract, re.MULTILINE | re.DOTALL)
    assert listed is not None
    layers = [re.sub(r'[\s",]+', "", line) for line in listed[1].splitlines()]
    shown = "\n".join(layer.replace("|", ", ") for layer in layers)
    assert f"```\n{shown}\n```" in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_readme_names_every_extra() -> None:
    """What is optional can be found, under its present name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [name for name in project["optional-dependencies"] if name not in ("all", "dev")]
    assert f"'.[{','.join(extras)}]'" in (ROOT / "README.md").read_text(encoding="utf-8")
