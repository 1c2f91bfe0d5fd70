"""When a camera counts as unhealthy, and when it should end so that its supervisor restarts it.

A part that fails once is tried again. One that fails every time would otherwise go on forever with
a process that looks well: it is told by the health check after a few failures in a row, and ends
the process, in order and with a reason, after many.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from streamgate.config import HealthSection

__all__ = ["Failures", "Part"]


class Part(StrEnum):
    """The parts that can keep failing while the process runs."""

    DETECTOR = "detector"
    SCORER = "scorer"
    DISK = "disk"


@dataclass(slots=True)
class _Row:
    failures: int = 0
    error: str = ""


@dataclass(slots=True)
class Failures:
    """Counts each part's failures in a row; one success makes it well."""

    limits: HealthSection
    _rows: dict[Part, _Row] = field(default_factory=lambda: {part: _Row() for part in Part})

    def note(self, part: str, error: str | None) -> None:
        """A part, by its name, has done its work, or has failed with an error."""
        if error is None:
            self.succeeded(Part(part))
        else:
            self.failed(Part(part), error)

    def failed(self, part: Part, error: str) -> None:
        """A part has failed."""
        row = self._rows[part]
        row.failures += 1
        row.error = error

    def succeeded(self, part: Part) -> None:
        """A part has done its work."""
        self._rows[part].failures = 0

    @property
    def fault(self) -> str | None:
        """What is wrong in words, or None while all is well."""
        return self._worst(self.limits.unhealthy_after_failures)

    @property
    def fatal(self) -> str | None:
        """Why the process should end, or None while it need not."""
        most = self.limits.end_after_failures
        return None if most is None else self._worst(most)

    def _worst(self, least: int) -> str | None:
        part, row = max(self._rows.items(), key=lambda item: item[1].failures)
        if row.failures < least:
            return None
        return f"the {part.value} has failed {row.failures} times in a row: {row.error}"
