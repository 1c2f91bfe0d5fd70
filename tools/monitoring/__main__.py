"""Write what is made from the code, or say what is out of date."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import yaml
from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import RowPanel

from tools.monitoring.camera import camera_dashboard
from tools.monitoring.fleet import fleet_dashboard
from tools.monitoring.reference import alerts_page, metrics_page
from tools.monitoring.rules import groups
from tools.monitoring.timing import FLEET, Timing
from tools.pages import write_or_check

__all__ = ["files", "main", "rules_text"]

ROOT = Path(__file__).parent.parent.parent
_RULES_HEAD = "# Made by `python -m tools.monitoring`; change tools/monitoring/rules.py instead.\n"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, which is how queries are read."""


def _as_block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _as_block)


def rules_text(timing: Timing = FLEET) -> str:
    """Return the file of rules."""
    return _RULES_HEAD + yaml.dump(groups(timing), Dumper=_Dumper, sort_keys=False, width=100)


def files() -> dict[Path, str]:
    """Return everything that is made, by its path in the project."""
    return {
        Path("dashboards/streamgate-fleet.json"): _json(fleet_dashboard()),
        Path("dashboards/streamgate-camera.json"): _json(camera_dashboard()),
        Path("dashboards/streamgate.rules.yml"): rules_text(),
        Path("docs/metrics.md"): metrics_page(),
        Path("docs/alerts.md"): alerts_page(),
    }


def _json(dashboard: Dashboard) -> str:
    built = dashboard.build()
    # Links to a panel and Grafana's own editor need a number that stays.
    number = 0
    folded_rows = 0
    for panel in built.panels or []:
        number += 1
        panel.id_val = number
        assert panel.grid_pos is not None
        # What is folded up takes no room, which the library does not know.
        inner = panel.panels if isinstance(panel, RowPanel) else []
        bottom = panel.grid_pos.y + 1
        bottoms = [h.grid_pos.y + h.grid_pos.h for h in inner if h.grid_pos is not None]
        panel.grid_pos.y -= folded_rows
        for hidden in inner:
            number += 1
            hidden.id_val = number
            assert hidden.grid_pos is not None
            hidden.grid_pos.y -= folded_rows
        folded_rows += max(bottoms, default=bottom) - bottom
    return json.dumps(built, cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Write the files, or with --check compare them; return the exit status."""
    made = {ROOT / path: partial(_made, text) for path, text in files().items()}
    return write_or_check("tools.monitoring", made)


def _made(text: str, _old: str) -> str:
    return text


if __name__ == "__main__":
    sys.exit(main())
