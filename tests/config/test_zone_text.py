"""The block of zones in a file's text: the rest stays as it is, to the byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from streamgate.config import ZoneSection
from streamgate.config.load import parse_config
from streamgate.config.zone_text import with_zones, zones_text
from streamgate.errors import ConfigError

HEAD = "# the door\ncamera: {name: door}  # in the hall\nsource:\n  kind: file\n  path: a.mkv\n"
TAIL = "# who gets them\ngate:\n  min_quality: 40 # strict\n"
OLD = "zones:\n  # the old ones\n  - {name: old, kind: ignore, points: [[0, 0], [1, 0], [1, 1]]}\n"


def zone(name: str = "clock", **more: Any) -> ZoneSection:
    points = [(0.1, 0.125), (0.3333, 0.1), (0.2, 1)]
    plain = {"name": name, "kind": "ignore", "points": points}
    return ZoneSection.model_validate({**plain, **more})


DOOR = {"kind": "watch", "points": [(0.5, 0.1), (1, 0.1), (1, 1)]}
NEW = zones_text([zone(), zone("door", min_quality=40.5, min_size_px=60, **DOOR)])


def test_what_is_written_is_what_is_read() -> None:
    """Every setting of a zone, and names that YAML takes for something else."""
    zones = [zone(name) for name in ("a_b-c", "no", "1e3", "12", "null", "0x1f", "true", "e5")]
    zones += [zone("door", kind="watch", min_quality=40.5, min_size_px=60)]
    read = yaml.safe_load(zones_text(zones))["zones"]
    assert [ZoneSection.model_validate(one) for one in read] == zones
    assert yaml.safe_load(zones_text([]))["zones"] == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (HEAD + TAIL, HEAD + TAIL + "\n" + NEW),
        (HEAD + OLD + TAIL, HEAD + NEW + TAIL),
        (HEAD + TAIL + OLD, HEAD + TAIL + NEW),
        (HEAD + TAIL + OLD.rstrip("\n"), HEAD + TAIL + NEW),
        ((HEAD + TAIL).rstrip("\n"), HEAD + TAIL + "\n" + NEW),
        (HEAD + "zones: []  # none yet\n" + TAIL, HEAD + NEW + TAIL),
        (HEAD + "zones:\n- name: a\n  kind: watch\n  points:\n  - [0, 0]\n  - [1, 0]\n"
         "  - [1, 1]\n\n" + TAIL, HEAD + NEW + "\n" + TAIL),
        ((HEAD + OLD + TAIL).replace("\n", "\r\n"), (HEAD + NEW + TAIL).replace("\n", "\r\n")),
        ("\ufeff" + HEAD + OLD + TAIL, "\ufeff" + HEAD + NEW + TAIL),
    ],
)  # fmt: skip
def test_the_block_alone_is_replaced(before: str, after: str) -> None:
    """Wherever it is, however it was written; where there was none, it comes last."""
    zones = parse_config(HEAD + NEW, Path("x"), {}).config.zones
    assert with_zones(before, zones) == after
    assert parse_config(after.removeprefix("\ufeff"), Path("x"), {}).config.zones == zones


def test_no_zones_leave_a_file_without_a_block_alone() -> None:
    """And empty the block of one that has it."""
    assert with_zones(HEAD + TAIL, []) == HEAD + TAIL
    assert with_zones(HEAD + OLD + TAIL, []) == HEAD + "zones: []\n" + TAIL


def test_a_file_in_braces_is_refused() -> None:
    """It has no lines of its own that could be replaced."""
    with pytest.raises(ConfigError, match="by hand"):
        with_zones("{camera: {name: door}, source: {kind: file, path: a.mkv}}", [zone()])
