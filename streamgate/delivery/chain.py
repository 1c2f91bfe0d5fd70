"""Chains the lines of a log, so that a line that was changed, removed or inserted later shows.

Each line ends with two keys: `chain`, which holds the line's number and the hash of the line
before it, and `hash`, which is SHA-256 over the line as it is written up to there or, with a key,
HMAC-SHA256. Whoever changes a line must make all later ones anew, which needs the key.

What a chain cannot show: that its end was cut off, since nothing follows there. So the last number
and hash are told to the process's own log as well, which lies elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamgate.delivery.rotated import RotatedFile

__all__ = ["BrokenError", "ChainedFile", "Link", "Summary", "first_number", "verify"]

_END = re.compile(rb',"hash":"([0-9a-f]{64})"\}\n?\Z')
_TAIL_BYTES = 1_048_576
_BEGINNING = b'{"schema":'
_PLAIN, _KEYED = "sha256", "hmac-sha256"


@dataclass(frozen=True, slots=True)
class Link:
    """The place of a line in its chain.

    Attributes:
        number: of the line, from 1.
        hash: of the line, 64 hexadecimal digits.
    """

    number: int
    hash: str


class ChainedFile:
    """Appends lines of JSON to a rotated file, each bound to the one before; for one thread.

    Args:
        path: the rotated file's.
        key: makes the hashes such that nobody else can; None: anybody can make them.
    """

    def __init__(self, path: Path, file: RotatedFile, key: bytes | None = None) -> None:
        self._path = path
        self._file = file
        self._key = key
        self._last: Link | None = None
        self._is_read = False

    @property
    def last(self) -> Link | None:
        """The last line that was written or found."""
        return self._last

    def append(self, line: bytes) -> None:
        """Write a line, which is one JSON object, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        if not self._is_read:
            # What an earlier run has written last, before the file or after it was put aside.
            self._last = _last_in(self._path) or _last_in(
                self._path.with_name(f"{self._path.name}.1")
            )
            self._is_read = True
        last = self._last
        number = 1 if last is None else last.number + 1
        chain = {
            "number": number,
            "previous": None if last is None else last.hash,
            "method": _PLAIN if self._key is None else _KEYED,
        }
        said = json.dumps(chain, separators=(",", ":")).encode()
        covered = line.rstrip(b"\n")[:-1] + b',"chain":' + said
        digest = _hash(covered, self._key)
        self._file.append(covered + f',"hash":"{digest}"}}\n'.encode())
        self._last = Link(number, digest)


def _hash(covered: bytes, key: bytes | None) -> str:
    if key is None:
        return hashlib.sha256(covered).hexdigest()
    return hmac.new(key, covered, hashlib.sha256).hexdigest()


def _last_in(path: Path) -> Link | None:
    """The last whole line of a file that is part of a chain."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        link = _link_of(line)
        if link is not None:
            return Link(link[0]["number"], link[1])
    return None


def _link_of(line: bytes) -> tuple[dict[str, Any], str] | None:
    """What a whole line says of its chain, and its hash; nothing is checked."""
    end = _END.search(line)
    if end is None:
        return None
    try:
        chain = json.loads(line)["chain"]
        sound = isinstance(chain["number"], int) and isinstance(chain["previous"], str | None)
    except (ValueError, LookupError, TypeError):
        return None
    return (chain, end[1].decode()) if sound else None


def first_number(path: Path) -> int:
    """Number of the first line of a file that is part of a chain; 0 where there is none."""
    with path.open("rb") as file:
        for line in file:
            link = _link_of(line)
            if link is not None:
                return int(link[0]["number"])
    return 0


class BrokenError(Exception):
    """A line does not follow from the one before it; the message names it."""


@dataclass(slots=True)
class Summary:
    """What was found where no line is broken.

    Attributes:
        lines: lines of the chain.
        first: number of the first; older ones were rotated away where it is not 1.
        last: the last one.
        before: lines before the chain begins, which nothing protects.
        unkeyed: lines before the first that is made with the key.
        torn: places of lines that a crash has left half written.
        hashes: of all lines.
    """

    lines: int = 0
    first: int = 0
    last: Link | None = None
    before: int = 0
    unkeyed: int = 0
    torn: list[str] = field(default_factory=list)
    hashes: set[str] = field(default_factory=set)


def verify(lines: Iterable[tuple[str, bytes]], key: bytes | None = None) -> Summary:
    """Follow a chain through the lines of its files, oldest first.

    A line that is half there, with the next one bound to the one before it, was left by a crash:
    its writer went on without it. It says so rather than calling it broken.

    Args:
        lines: place and bytes of each line.
        key: the log's; without it, a log that was made with a key cannot be checked.

    Raises:
        BrokenError: names the first line that was changed, or before which some are missing.
    """
    found = Summary()
    for place, line in lines:
        link = _link_of(line)
        if link is None:
            _unchained(found, place, line)
            continue
        chain, digest = link
        _follow(found, place, chain)
        _prove(found, place, line, (chain, digest), key)
        found.lines += 1
        found.first = found.first or chain["number"]
        found.last = Link(chain["number"], digest)
        found.hashes.add(digest)
    if found.lines and key is not None and found.unkeyed == found.lines:
        raise BrokenError("no line is made with the key")
    return found


def _unchained(found: Summary, place: str, line: bytes) -> None:
    if line.startswith(_BEGINNING[: len(line)]) and not line.rstrip().endswith(b"}"):
        found.torn.append(place)
    elif found.lines == 0:
        found.before += 1
    else:
        raise BrokenError(f"{place}: is no line of the chain: it was changed or inserted")


def _follow(found: Summary, place: str, chain: dict[str, Any]) -> None:
    number, previous, last = chain["number"], chain["previous"], found.last
    if last is None:
        # The beginning, or what is left after older files were deleted.
        return
    if number != last.number + 1:
        raise BrokenError(
            f"{place}: has number {number} after {last.number}: lines are missing, or a new chain "
            "begins"
        )
    if previous != last.hash:
        raise BrokenError(f"{place}: does not follow the line before it, which was changed")


def _prove(
    found: Summary, place: str, line: bytes, link: tuple[dict[str, Any], str], key: bytes | None
) -> None:
    chain, digest = link
    end = _END.search(line)
    assert end is not None
    keyed = chain.get("method") == _KEYED
    if keyed and key is None:
        raise BrokenError(f"{place}: is made with a key, which is needed to check it")
    if not keyed and key is not None:
        if found.unkeyed < found.lines:
            raise BrokenError(f"{place}: is made without the key, after lines made with it")
        found.unkeyed += 1
    right = _hash(line[: end.start()], key if keyed else None)
    if not hmac.compare_digest(right, digest):
        raise BrokenError(f"{place}: was changed: its hash does not match")
