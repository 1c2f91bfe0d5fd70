"""The pages that list every metric and every alert, made from the code that has them."""

from __future__ import annotations

from collections.abc import Iterable

from streamgate.telemetry.exposition import Family
from streamgate.telemetry.metrics import Metrics
from tools.monitoring.rules import Alert, alerts
from tools.monitoring.timing import duration

__all__ = ["alerts_page", "metrics_page", "metrics_table"]

_MADE = "<!-- Made by `python -m tools.monitoring`; a test compares it with the code. -->"

_INTRODUCTION = """\
# Metrics

`GET /metrics` on `web.port` serves all metrics of a camera in Prometheus' text format, or in
OpenMetrics for clients that ask for it. Every series has the label `camera` in addition to the
labels that are listed. Series whose labels are known in advance exist from the start, at zero.
Times are in seconds.

In OpenMetrics, latencies and qualities carry an exemplar `track` (`CAMERA-BOOT-TRACK`), which is
also used in the log and in the keys of best shots. Prometheus stores exemplars with
`--enable-feature=exemplar-storage`.

"""

_STANDARD = """
The process itself is described under the usual names: `process_cpu_seconds_total`,
`process_resident_memory_bytes`, `process_virtual_memory_bytes`, `process_open_fds`,
`process_max_fds`, `process_start_time_seconds`, `python_info` and `python_gc_*`.
"""

_ALERTS = """\
# Alerts

`dashboards/streamgate.rules.yml` defines these alerts for Prometheus. They apply to the targets of
`job="streamgate"`. Each has the labels `severity`, `job`, `instance` and `camera`, and the
annotations `summary`, `description` and `action`. N stands for a value, and a word in capitals for
the value of a label.

"""


def metrics_page() -> str:
    """Return the page of all metrics."""
    return f"{_MADE}\n\n{_INTRODUCTION}{metrics_table()}{_STANDARD}"


def metrics_table() -> str:
    """Return every metric with its kind, labels, unit and meaning, as a Markdown table."""
    rows = [
        "| Metric | Kind | Labels | Unit | Meaning |",
        "| --- | --- | --- | --- | --- |",
        *(_row(family) for family in Metrics().families),
    ]
    return "\n".join(rows) + "\n"


def _row(family: Family) -> str:
    labels = ", ".join(_label(*label) for label in family.labels.items())
    meaning = family.text
    if family.buckets:
        meaning += f" Buckets: {_numbers(family.buckets)}."
    return f"| `{family.name}` | {family.kind} | {labels} | {family.unit} | {meaning} |"


def _label(name: str, values: tuple[str, ...]) -> str:
    return f"`{name}`: {', '.join(values)}" if values else f"`{name}`"


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def alerts_page() -> str:
    """Return the page of all alerts, with what to do about each."""
    return f"{_MADE}\n\n{_ALERTS}" + "\n".join(_section(alert) for alert in alerts())


def _section(alert: Alert) -> str:
    lasting = f", after {duration(alert.for_s)}" if alert.for_s else ", at once"
    return (
        f"## {alert.name}\n\n**{alert.severity}**{lasting}. {_plain(alert.description)}\n\n"
        f"*What to do:* {_plain(alert.action)}\n\n```promql\n{alert.expr}\n```\n"
    )


def _plain(text: str) -> str:
    """Return a template's text with names in the places of its values."""
    for template, name in (
        ("{{ $value | humanizePercentage }}", "N %"),
        ("{{ $value | humanizeDuration }}", "N s"),
        ("{{ $value | humanize }}", "N"),
    ):
        text = text.replace(template, name)
    for label in ("camera", "sink", "reason", "instance"):
        text = text.replace(f"{{{{ $labels.{label} }}}}", label.upper())
    return text
