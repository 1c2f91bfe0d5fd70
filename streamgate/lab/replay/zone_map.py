"""The zones of a replay: where the faces were, and what came of them in each zone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from streamgate.config import ZoneSection
from streamgate.lab.replay.recording import Recording, SeenScored
from streamgate.lab.replay.simulation import Run
from streamgate.values import TrackOutcome

__all__ = ["zones_part"]

_MOST_DOTS = 1500
_WIDTH = 640


def zones_part(
    zones: Sequence[ZoneSection], recordings: Sequence[Recording], runs: Sequence[Run]
) -> str:
    """Return a table of the zones and a map of the faces, as HTML; nothing without zones.

    Args:
        runs: of the gate on each recording; none where it was not run.
    """
    if not zones:
        return ""
    table, drawn = _table(zones, recordings, runs), _map(zones, recordings)
    return f"<h2>Zones</h2><div class=zones>{table}{drawn}</div>"


def _table(
    zones: Sequence[ZoneSection], recordings: Sequence[Recording], runs: Sequence[Run]
) -> str:
    faces: Counter[str] = Counter()
    for recording in recordings:
        for moment in recording.moments:
            faces.update(moment.ignored)
            faces.update(seen.zone for seen in moment.seen if seen.zone is not None)
    decisions = [decision for run in runs for decision in run.decisions]
    entered = Counter(name for decision in decisions for name in decision.zones)
    shots = Counter(release.face.candidate.zone for run in runs for release in run.releases)
    rows = "".join(
        f"<tr><td>{escape(zone.name)}</td><td>{zone.kind}</td><td>{faces[zone.name]}</td>"
        + (
            f"<td>{entered[zone.name]}</td><td>{shots[zone.name]}</td></tr>"
            if zone.kind == "watch"
            else "<td>–</td><td>–</td></tr>"
        )
        for zone in zones
    )
    outside = sum(decision.outcome is TrackOutcome.OUTSIDE_ZONES for decision in decisions)
    told = f"<p class=note>{outside} tracks were in no watch zone.</p>" if outside else ""
    return (
        '<div class=wide tabindex=0 role=region aria-label="Zones"><table><tr><th>zone</th>'
        "<th>kind</th><th>faces</th><th>tracks that entered</th><th>faces forwarded</th></tr>"
        f"{rows}</table>{told}</div>"
    )


def _map(zones: Sequence[ZoneSection], recordings: Sequence[Recording]) -> str:
    sized = [recording for recording in recordings if recording.size is not None]
    if not sized or sized[0].size is None:
        return ""
    width, height = sized[0].size
    scale = _WIDTH / width
    shapes = [_shape(zone, _WIDTH, height * scale) for zone in zones]
    dots = [
        _dot(seen, recording.size)
        for recording in sized
        for moment in recording.moments
        for seen in moment.seen
        if recording.size is not None
    ]
    # As many as can be told from each other, evenly taken.
    step = 1 + len(dots) // _MOST_DOTS
    places = "".join(
        f'<circle cx="{_WIDTH * x:.1f}" cy="{height * scale * y:.1f}" r="2.5" class="{kind}"/>'
        for x, y, kind in dots[::step]
    )
    return (
        '<div class=plot tabindex=0 role=region aria-label="Map of the faces">'
        f'<svg class=zonemap viewBox="0 0 {_WIDTH} {height * scale:.0f}" role=img '
        'aria-label="Zones, and the places of the faces that were tracked">'
        f"{places}{''.join(shapes)}</svg>"
        "<p class=note>Each dot is a tracked face: filled in a watch zone, pale outside of all. "
        "Faces in ignore zones were not tracked.</p></div>"
    )


def _shape(zone: ZoneSection, width: float, height: float) -> str:
    points = [(x * width, y * height) for x, y in zone.points]
    x, y = min(points, key=lambda point: point[1])
    corners = " ".join(f"{across:.1f},{down:.1f}" for across, down in points)
    return (
        f'<polygon class="{zone.kind}" points="{corners}"/>'
        f'<text x="{min(x + 4, width - 60):.1f}" y="{y + 14:.1f}">{escape(zone.name)}</text>'
    )


def _dot(seen: SeenScored, size: tuple[int, int]) -> tuple[float, float, str]:
    x1, y1, x2, y2 = seen.tracked.face.box.tolist()
    kind = "outside" if seen.zone is None else "inside"
    return (x1 + x2) / 2 / size[0], (y1 + y2) / 2 / size[1], kind
