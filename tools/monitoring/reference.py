"""The pages that list every metric and every alert, made from the code that has them."""

from __future__ import annotations

from collections.abc import Iterable

from streamgate.telemetry.exposition import Family
from streamgate.telemetry.metrics import Metrics
from tools.monitoring.rules import Alert, alerts
from tools.monitoring.timing import duration

__all__ = ["MARK_BEGIN", "MARK_END", "alerts_page", "filled", "metrics_page", "metrics_table"]

MARK_BEGIN, MARK_END = "<!-- metrics:begin -->", "<!-- metrics:end -->"
_MADE = "<!-- Made by `python -m tools.monitoring`; a test compares it with the code. -->"

_INTRODUCTION = """\
# Metrics

`GET /metrics` on `web.port` gives every metric of a camera, in Prometheus' text format or, to a
client that asks for it, in OpenMetrics. Every series has the label `camera` beside those that are
listed. Series whose labels are known are there from the start, at zero. Times are in seconds.

In OpenMetrics, latencies and qualities carry an exemplar `track` (`CAMERA-BOOT-TRACK`): the track
that the log and the best shots' keys name likewise. Prometheus keeps exemplars with
`--enable-feature=exemplar-storage`.

"""

_STANDARD = """
Beside these, the process tells of itself under the usual names: `process_cpu_seconds_total`,
`process_resident_memory_bytes`, `process_virtual_memory_bytes`, `process_open_fds`,
`process_max_fds`, `process_start_time_seconds`, `python_info` and `python_gc_*`.
"""

_ALERTS = """\
# Alerts

`dashboards/streamgate.rules.yml` has these for Prometheus. They pick the targets of
`job="streamgate"`. Each has the labels `severity`, `job`, `instance` and `camera`, and the
annotations `summary`, `description` and `action`.

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
    lasting = f", once it has lasted {duration(alert.for_s)}" if alert.for_s else ", at once"
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


def filled(page: str) -> str:
    """Return a page with the table of metrics between its marks, if it has them.

    Raises:
        ValueError: it has one mark of the two.
    """
    if MARK_BEGIN not in page and MARK_END not in page:
        return page
    before, begin, rest = page.partition(MARK_BEGIN)
    _, end, after = rest.partition(MARK_END)
    if not begin or not end:
        raise ValueError(f"wanted {MARK_BEGIN} and, after it, {MARK_END}")
    return f"{before}{begin}\n{metrics_table()}{end}{after}"
