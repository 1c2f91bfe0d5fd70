"""The plots of the report, as SVG text that needs no other file and no network."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from streamgate.errors import DataError
from streamgate.lab.replay.evaluation import PolicyEvaluation, TradePoint
from streamgate.lab.replay.recording import SeenScored

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_course", "draw_regrets", "draw_trade", "need_plots"]

_OURS, _OTHERS, _BEST, _FAINT = "#0b6e4f", "#8d99a6", "#c77d0a", "#c9d1d9"

_NAMES = {_OURS: "ours", _OTHERS: "others", _BEST: "best", _FAINT: "faint", "#000000": "quiet"}
"""The page's names of the colours."""


def need_plots() -> None:
    """Raise DataError unless plots can be drawn."""
    try:
        import matplotlib  # noqa: PLC0415 # belongs to an extra
    except ImportError:
        raise DataError("a report needs: pip install 'streamgate[plots]'") from None
    # Without a salt the ids in an SVG are random, and no two reports would be equal.
    matplotlib.rcParams["svg.hashsalt"] = "streamgate"
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["font.family"] = "sans-serif"


def draw_regrets(evaluations: Sequence[PolicyEvaluation]) -> str:
    """Regret of each policy in quality and in similarity, least first."""
    ranked = sorted(evaluations, key=lambda evaluation: -evaluation.regret_quality_mean)
    names = [evaluation.policy for evaluation in ranked]
    figure = _figure(9.0, 0.6 + 0.36 * len(names))
    columns = (
        ("quality below the track's best, points", [v.regret_quality_mean for v in ranked]),
        ("similarity below the track's best", [v.regret_similarity_track for v in ranked]),
    )
    for axes, (title, values) in zip(figure.subplots(1, 2, sharey=True), columns, strict=True):
        colours = [_colour(name) for name in names]
        bars = axes.barh(names, values, color=colours, height=0.66)
        axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=4, fontsize=9)
        axes.margins(x=0.16)
        axes.set_title(title, fontsize=10, loc="left")
        _plain(axes)
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)
    return _svg(figure)


def draw_trade(points: Sequence[TradePoint]) -> str:
    """Regret of the gate over the share of faces that it scored."""
    figure = _figure(6.4, 3.0)
    axes = figure.subplots()
    shares = [100 * point.share_scored for point in points]
    for label, values, style in (
        ("95th percentile", [p.regret_quality_p95 for p in points], "--"),
        ("mean", [p.regret_quality_mean for p in points], "-"),
    ):
        colour = _OURS if style == "-" else _OTHERS
        axes.plot(shares, values, style, color=colour, marker="o", markersize=4, label=label)
    axes.set_xlabel("faces scored, %")
    axes.set_ylabel("regret, points of quality")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.grid(visible=True, color=_FAINT, linewidth=0.5)
    axes.legend(frameon=False)
    _plain(axes)
    return _svg(figure)


def draw_course(
    faces: Sequence[SeenScored], scored: frozenset[tuple[int, int]], chosen: frozenset[int]
) -> str:
    """One track over time: every face's quality, those that the gate scored, and its choice."""
    figure = _figure(9.0, 1.7)
    axes = figure.subplots()
    known = [face.face for face in faces if face.face is not None]
    at = [face.candidate.captured_at for face in known]
    axes.plot(at, [face.quality for face in known], "-", color=_FAINT, linewidth=1.4, zorder=1)
    looked_at = [f for f in known if (f.candidate.frame_index, f.candidate.track_id) in scored]
    for label, some, colour, size in (
        ("scored", looked_at, _OURS, 14),
        ("forwarded", [f for f in known if f.candidate.frame_index in chosen], _BEST, 70),
    ):
        axes.scatter(
            [face.candidate.captured_at for face in some],
            [face.quality for face in some],
            s=size, color=colour, label=label, zorder=2 if size < 50 else 3,
        )  # fmt: skip
    axes.set_ylim(-3, 103)
    axes.set_ylabel("quality")
    axes.set_xlabel("seconds")
    axes.legend(frameon=False, fontsize=8, loc="upper right", ncols=2)
    _plain(axes)
    return _svg(figure)


def _colour(policy: str) -> str:
    return {"gate": _OURS, "oracle": _BEST}.get(policy, _OTHERS)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415 # belongs to an extra

    return Figure(figsize=(width, height), layout="constrained")


def _plain(axes: object) -> None:
    from matplotlib.axes import Axes  # noqa: PLC0415 # belongs to an extra

    assert isinstance(axes, Axes)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=9)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    # The XML declaration is not allowed inside an HTML page.
    drawn = text.getvalue()[text.getvalue().index("<svg") :]
    # The page knows the colours for light and for dark.
    for colour, name in _NAMES.items():
        drawn = drawn.replace(f": {colour}", f": var(--{name})")
    return drawn
