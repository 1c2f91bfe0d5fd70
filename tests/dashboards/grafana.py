"""Reads the dashboards as Grafana would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests import needs

__all__ = ["DASHBOARDS", "Query", "dashboard", "panels", "queries", "variables"]

FOLDER = needs.ROOT / "dashboards"
DASHBOARDS = ("streamgate-fleet", "streamgate-camera")


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a dashboard and where it stands."""

    place: str
    expr: str

    def filled(self, **values: str) -> str:
        """Return it with Grafana's variables replaced."""
        expr = self.expr
        for name, value in values.items():
            expr = expr.replace(f"${name}", value)
        return expr


def dashboard(name: str) -> dict[str, Any]:
    """Return a dashboard that is checked in."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return content


def panels(name: str) -> list[dict[str, Any]]:
    """Return every panel but the rows."""
    found = dashboard(name)["panels"]
    inner = [panel for row in found for panel in row.get("panels", [])]
    return [panel for panel in [*found, *inner] if panel["type"] != "row"]


def queries(name: str) -> Iterator[Query]:
    """Yield every query of panels and annotations."""
    for panel in panels(name):
        for target in panel["targets"]:
            yield Query(f"{name}: {panel['title']}: {target['refId']}", target["expr"])
    for annotation in dashboard(name)["annotations"]["list"]:
        yield Query(f"{name}: {annotation['name']}", annotation["expr"])


def variables(name: str) -> dict[str, dict[str, Any]]:
    """Return the variables by name."""
    return {variable["name"]: variable for variable in dashboard(name)["templating"]["list"]}
