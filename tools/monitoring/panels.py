"""The parts of which both dashboards are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from grafana_foundation_sdk.builders import common, dashboard, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

__all__ = [
    "CAMERA_UID",
    "FLEET_UID",
    "GREEN",
    "ORANGE",
    "RED",
    "SOURCE",
    "TAG",
    "Drawn",
    "Line",
    "Restarts",
    "folded",
    "hidden_variable",
    "lines",
    "number",
    "query",
    "start",
    "states",
    "steps",
]

FLEET_UID = "streamgate-fleet"
CAMERA_UID = "streamgate-camera"
TAG = "streamgate"
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, ORANGE, RED = "green", "orange", "red"
_HEIGHT = 8
Drawn: TypeAlias = Builder[models.Panel]
Steps: TypeAlias = Sequence[tuple[float | None, str]]


@dataclass(frozen=True, slots=True)
class Line:
    """A query and what its series are called."""

    expr: str
    name: str


@dataclass(frozen=True, slots=True)
class Restarts:
    """Marks in time that both dashboards show."""

    selector: str
    marks: tuple[tuple[str, str, str, str], ...] = field(
        default=(
            (
                "Restarts", "blue", "Streamgate started",
                "(time() - process_start_time_seconds{{{selector}}}) < 60",
            ),
            (
                "Reloads", "purple", "Configuration reloaded: {{outcome}}",
                "increase(streamgate_config_reloads_total{{{selector}}}[1m]) > 0",
            ),
        )
    )  # fmt: skip

    def annotations(self) -> list[_Mark]:
        """Return them as a dashboard's annotations."""
        return [
            _Mark(name, colour, text, expr.format(selector=self.selector))
            for name, colour, text, expr in self.marks
        ]


class _Mark(dashboard.AnnotationQuery):
    """An annotation with a text, which the library does not support."""

    def __init__(self, name: str, colour: str, text: str, expr: str) -> None:
        super().__init__()
        self._internal = _TitledAnnotation(text)
        self.name(name).datasource(SOURCE).enable(True).icon_color(colour).expr(expr)


class _TitledAnnotation(models.AnnotationQuery):
    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def to_json(self) -> dict[str, object]:
        """Return the annotation, with one tag for each camera."""
        more = {"titleFormat": self._text, "textFormat": "{{camera}}", "tagKeys": "camera"}
        return {**super().to_json(), **more, "step": "60s"}


def start(title: str, uid: str, description: str) -> dashboard.Dashboard:
    """Return an empty dashboard with its sources of data and links."""
    other = dashboard.DashboardLink("Streamgate").type(models.DashboardLinkType.DASHBOARDS)
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .timezone("browser")
        .refresh("30s")
        .time("now-6h", "now")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data").type("prometheus"))
        .link(other.tags([TAG]).keep_time(True))
    )


def folded(title: str, panels: Sequence[Drawn], *, for_each: str | None = None) -> dashboard.Row:
    """Return a row that is opened when somebody looks for what is in it.

    Args:
        for_each: the variable for each of whose values there is such a row.
    """
    row = dashboard.Row(title).collapsed(True)
    if for_each is not None:
        row.repeat(for_each)
    for panel in panels:
        row.with_panel(panel)
    return row


def hidden_variable(name: str, query: str) -> dashboard.QueryVariable:
    """Return a variable that nobody chooses: a row is repeated for each of its values."""
    made = variable(name, name, query, multi=True).hide(models.VariableHide.HIDE_VARIABLE)
    everything = models.VariableOption(selected=True, text=["All"], value=["$__all"])
    return made.current(everything).all_value("")


def variable(name: str, label: str, query: str, *, multi: bool) -> dashboard.QueryVariable:
    """Return a variable whose values come from Prometheus."""
    made = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
    return made.multi(True).include_all(True).all_value(".*") if multi else made


def query(
    line: Line, *, ref: str = "A", instant: bool = False, exemplars: bool = False
) -> Dataquery:
    """Return a query of a panel."""
    made = Dataquery().expr(line.expr).legend_format(line.name).ref_id(ref).datasource(SOURCE)
    if instant:
        return made.instant().format(PromQueryFormat.TABLE)
    return made.exemplar(exemplars)


def number(title: str, description: str, expr: str, unit: str, colours: Steps) -> stat.Panel:
    """Return a panel that shows one number, coloured by what it means."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .thresholds(steps(colours))
        .no_value("–")
        .with_target(query(Line(expr, title)).instant().format(PromQueryFormat.TIME_SERIES))
        .height(4)
    )


def lines(  # noqa: PLR0913 # one name for each choice
    title: str,
    description: str,
    unit: str,
    *shown: Line,
    span: int = 12,
    stacked: bool = False,
    most: float | None = None,
    colours: Steps | None = None,
    exemplars: bool = False,
    limits: Sequence[Line] = (),
) -> timeseries.Panel:
    """Return a panel of lines over time, from zero upwards.

    Args:
        limits: queries of one series each, whose newest value is drawn as a threshold: a line of
            its own would stretch the axis, and hide among the others.
    """
    legend = (
        common.VizLegendOptions()
        .display_mode(common_models.LegendDisplayMode.TABLE)
        .placement(common_models.LegendPlacement.RIGHT)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
    )
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .fill_opacity(30 if stacked else 5)
        .line_width(1)
        .show_points(common_models.VisibilityMode.NEVER)
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
        .legend(legend)
        .span(span)
        .height(_HEIGHT)
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if most is not None:
        panel.max(most)
    if colours is not None:
        style = common.GraphThresholdsStyleConfig()
        panel.thresholds(steps(colours))
        panel.thresholds_style(style.mode(common_models.GraphThresholdsStyleMode.DASHED))
    for line, ref in zip(shown, "ABCDEFGH", strict=False):
        panel.with_target(query(line, ref=ref, exemplars=exemplars))
    for line, ref in zip(limits, "TUV", strict=False):
        panel.with_target(query(line, ref=ref))
        panel.with_transformation(_as_threshold(line.name, ref))
    if limits:
        style = common.GraphThresholdsStyleConfig()
        panel.thresholds_style(style.mode(common_models.GraphThresholdsStyleMode.DASHED))
        panel.thresholds(steps([(None, "transparent")]))
    return panel


def _as_threshold(name: str, ref: str) -> models.DataTransformerConfig:
    """Take the newest value of a query for a threshold of the others ("config from query")."""
    mapping = {"fieldName": name, "handlerKey": "threshold1", "reducerId": "lastNotNull"}
    ignored = {"fieldName": "Time", "handlerKey": "__ignore"}
    options = {"configRefId": ref, "mappings": [mapping, ignored]}
    return models.DataTransformerConfig(id_val="configFromData", options=options)


def states(title: str, description: str, *shown: Line, span: int = 24) -> statetimeline.Panel:
    """Return a panel of bars that are green or red."""
    panel = (
        statetimeline.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .thresholds(steps([(None, GREEN), (1, RED)]))
        .mappings([
            models.ValueMap(
                options={
                    "0": models.ValueMappingResult(text="good", index=0),
                    "1": models.ValueMappingResult(text="bad", index=1),
                }
            )
        ])
        .show_value(common_models.VisibilityMode.NEVER)
        .span(span)
        .height(_HEIGHT)
    )  # fmt: skip
    for line, ref in zip(shown, "ABCDEFGH", strict=False):
        panel.with_target(query(line, ref=ref))
    return panel


def steps(colours: Steps) -> dashboard.ThresholdsConfig:
    """Return thresholds: from which value on which colour."""
    made = [models.Threshold(value=value, color=colour) for value, colour in colours]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)
