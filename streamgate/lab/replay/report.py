"""The evaluation as one self-contained HTML page, and as JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

from streamgate.config import ZoneSection
from streamgate.lab.evaluation.identification import Interval
from streamgate.lab.replay.evaluation import PolicyEvaluation, TradePoint
from streamgate.lab.replay.people import PeopleEvaluation
from streamgate.lab.replay.plots import draw_course, draw_regrets, draw_trade
from streamgate.lab.replay.policies import Choices
from streamgate.lab.replay.recording import Recording, SeenScored
from streamgate.lab.replay.simulation import Run
from streamgate.lab.replay.zone_map import zones_part

__all__ = ["Findings", "as_html", "as_json"]

REPORT_SCHEMA = "streamgate.lab.replay"
REPORT_VERSION = 1

# A longer page is hard to read; the JSON file holds all of them.
_MOST_TRACKS = 30
_STRIP = 12

_WORDS = {
    "gate": "the gate of this configuration",
    "first": "the track's first face, at once",
    "last": "the track's last face",
    "largest": "the face with the largest box",
    "detector": "the face with the highest confidence of the detector",
    "sharpest": "the face with the most fine detail",
    "frigate": "a face that is larger by a tenth, or surer by 0.05, and not at the edge "
    "(Frigate's rule)",
    "random": "a random face",
    "oracle": "the best face, known afterwards by scoring all",
}


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """The content of a report.

    Attributes:
        choices: of each policy, one for each recording.
        recogniser: what similarity was measured with.
        people: the same by people, where it is known who is seen.
        zones: of the configuration.
    """

    camera: str
    model_hash: str
    config_hash: str
    recogniser: str
    recordings: Sequence[Recording]
    choices: dict[str, Sequence[Choices]]
    evaluations: Sequence[PolicyEvaluation]
    trade: Sequence[TradePoint]
    people: Sequence[PeopleEvaluation] = ()
    zones: Sequence[ZoneSection] = ()


def as_json(findings: Findings) -> str:
    """Return every figure, including each track of each policy."""
    content = {
        "schema": REPORT_SCHEMA,
        "schema_version": REPORT_VERSION,
        "camera": findings.camera,
        "model_hash": findings.model_hash,
        "config_hash": findings.config_hash,
        "recogniser": findings.recogniser,
        "zones": [zone.model_dump(mode="json", exclude_none=True) for zone in findings.zones],
        "videos": [_video(recording) for recording in findings.recordings],
        "policies": [asdict(evaluation) for evaluation in findings.evaluations],
        "trade": [asdict(point) for point in findings.trade],
        "people": [asdict(evaluation) for evaluation in findings.people],
    }
    return json.dumps(content, indent=1) + "\n"


def as_html(findings: Findings) -> str:
    """Return the same as a page without scripts that contains its plots and faces."""
    sections = [
        _head(findings),
        zones_part(findings.zones, findings.recordings, _runs(findings)),
        "<h2>Policies</h2>",
        _table(findings.evaluations),
        _plot("Regret of each policy", draw_regrets(findings.evaluations)),
    ]
    if findings.people:
        sections += ["<h2>People</h2>", _people(findings.people)]
    if findings.trade:
        sections += [
            "<h2>Regret by the share of faces scored</h2>",
            _TRADE_TEXT,
            _plot("Regret by the share of faces scored", draw_trade(findings.trade)),
        ]
    sections += ["<h2>Tracks</h2>", *_tracks(findings)]
    return _PAGE.format(title=escape(f"Replay of {findings.camera}"), body="\n".join(sections))


def _runs(findings: Findings) -> list[Run]:
    return [made.run for made in findings.choices.get("gate", ()) if made.run is not None]


def _plot(label: str, svg: str) -> str:
    """A plot that scrolls where the window is narrow: shrunk, its text could not be read."""
    name = f'aria-label="{escape(label)}"'
    named = svg.replace("<svg ", f"<svg role=img {name} ", 1)
    return f"<div class=plot tabindex=0 role=region {name}>{named}</div>"


def _video(recording: Recording) -> dict[str, Any]:
    tracks = recording.tracks
    return {
        "file": recording.path.name,
        "frames": len(recording.moments),
        "seconds": recording.moments[-1].at if recording.moments else 0.0,
        "tracks": len(tracks),
        "faces": sum(map(len, tracks.values())),
        "fit_faces": sum(face.face is not None for seen in tracks.values() for face in seen),
    }


def _head(findings: Findings) -> str:
    videos = [_video(recording) for recording in findings.recordings]
    rows = "".join(
        f"<tr><td>{escape(video['file'])}</td><td>{video['seconds']:.1f}</td>"
        f"<td>{video['frames']}</td><td>{video['tracks']}</td><td>{video['faces']}</td>"
        f"<td>{video['fit_faces']}</td></tr>"
        for video in videos
    )
    return (
        f"<h1>Replay of {escape(findings.camera)}</h1>"
        f"<p class=note>weights {findings.model_hash[:12]} · configuration "
        f"{findings.config_hash[:12]} · similarity by {escape(findings.recogniser)}</p>"
        '<div class=wide tabindex=0 role=region aria-label="Videos"><table><tr><th>video</th>'
        "<th>seconds</th><th>frames</th><th>tracks</th><th>faces</th>"
        f"<th>passed the prechecks</th></tr>{rows}</table></div>"
    )


def _table(evaluations: Sequence[PolicyEvaluation]) -> str:
    head = (
        ("policy", ""), ("regret", "points of quality below the track's best face, mean"),
        ("regret, p95", "95th percentile of the same"),
        ("similarity, track", "how much less the face resembles its track (cosine to the mean "
        "embedding) than the most similar face, mean"),
        ("similarity, person", "the same, compared with all tracks of the person"),
        ("missed", "tracks that count and of which nothing was forwarded"),
        ("needless", "faces forwarded from tracks that do not count"),
        ("per track", "faces forwarded for each track of which any was"),
        ("emitted after", "seconds from the first sight of a track to the release, median and "
        "95th percentile"),
        ("scored", "share of the faces that had to be scored"),
    )  # fmt: skip
    titles = "".join(f'<th title="{escape(text)}">{escape(name)}</th>' for name, text in head)
    rows = "".join(
        f'<tr class="{evaluation.policy}"><td><b>{evaluation.policy}</b><br>'
        f"<small>{escape(_WORDS[evaluation.policy])}</small></td>"
        f"<td>{evaluation.regret_quality_mean:.2f}</td><td>{evaluation.regret_quality_p95:.2f}</td>"
        f"<td>{evaluation.regret_similarity_track:.4f}</td>"
        f"<td>{evaluation.regret_similarity_identity:.4f}</td>"
        f"<td>{evaluation.missed} of {evaluation.tracks}</td><td>{evaluation.needless}</td>"
        f"<td>{evaluation.forwarded_per_track:.2f}</td>"
        f"<td>{evaluation.emitted_after_median_s:.2f} / {evaluation.emitted_after_p95_s:.2f} s</td>"
        f"<td>{100 * evaluation.share_scored:.1f} %</td></tr>"
        for evaluation in evaluations
    )
    return (
        '<div class=wide tabindex=0 role=region aria-label="Policies"><table class=policies>'
        f"<tr>{titles}</tr>{rows}</table></div>{_TABLE_TEXT}"
    )


def _people(evaluations: Sequence[PeopleEvaluation]) -> str:
    titles = "".join(
        f"<th>{name}</th>"
        for name in ("policy", "missed", "surplus", "unknown", "regret", "loss of similarity")
    )
    rows = "".join(
        f"<tr><td>{one.policy}</td><td>{one.missed} of {one.people}</td><td>{one.surplus}</td>"
        f"<td>{one.unknown}</td><td>{_spread(one.regret_quality, 1)}</td>"
        f"<td>{_spread(one.loss_similarity, 3)}</td></tr>"
        for one in evaluations
    )
    first = evaluations[0]
    return (
        '<div class=wide tabindex=0 role=region aria-label="People">'
        f"<table>{titles}{rows}</table></div><p class=note>{first.names} people, each once in "
        "every video; 95 % intervals are bootstrapped over people. Tracks of labelled faces: "
        f"{first.tracks}, purity {first.purity:.4f}, {first.false_joins} with two people, "
        f"{first.false_splits} more than people have.</p>"
    )


def _spread(interval: Interval, digits: int) -> str:
    low, high = interval.low, interval.high
    return f"{interval.value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _tracks(findings: Findings) -> list[str]:
    parts: list[str] = []
    gate = findings.evaluations[0].per_track
    counting = [track for track in gate if track.counts]
    numbers = {recording.path.name: i for i, recording in enumerate(findings.recordings)}
    for track in counting[:_MOST_TRACKS]:
        number = numbers[track.video]
        seen = findings.recordings[number].tracks[track.track_id]
        faces = [face for face in seen if face.face is not None]
        parts.append(f"<h3>{escape(track.video)}, track {track.track_id}</h3>")
        parts.append(_chosen(findings, number, track.track_id, faces))
        choices = findings.choices.get("gate")
        if choices is not None and (run := choices[number].run) is not None:
            forwarded = frozenset(
                choice.face.candidate.frame_index
                for choice in choices[number].by_track.get(track.track_id, ())
            )
            course = draw_course(faces, run.scored, forwarded)
            parts.append(_plot(f"Quality over time, track {track.track_id}", course))
        parts.append(_strip(faces))
    if len(counting) > _MOST_TRACKS:
        parts.append(f"<p>{len(counting) - _MOST_TRACKS} more tracks are in report.json.</p>")
    if not counting:
        parts.append("<p>No track reached the threshold of this configuration.</p>")
    return parts


def _chosen(
    findings: Findings, number: int, track_id: int, faces: Sequence[SeenScored]
) -> str:  # fmt: skip
    pictures = {f.face.candidate.frame_index: f for f in faces if f.face is not None}
    figures = []
    for policy, choices in findings.choices.items():
        chosen = choices[number].by_track.get(track_id, ())
        best = max(chosen, key=lambda choice: choice.face.quality, default=None)
        if best is None:
            figures.append(
                f"<figure class=none><figcaption>{policy}<br>nothing</figcaption></figure>"
            )
        else:
            face = pictures[best.face.candidate.frame_index]
            figures.append(_figure(face, f"{policy}<br>{best.face.quality:.1f}", policy))
    return f"<div class=faces>{''.join(figures)}</div>"


def _strip(faces: Sequence[SeenScored]) -> str:
    count = min(_STRIP, len(faces))
    places = [round(i * (len(faces) - 1) / max(1, count - 1)) for i in range(count)]
    figures = [
        _figure(faces[place], f"{face.quality:.0f}", "small")
        for place in places
        if (face := faces[place].face) is not None
    ]
    return f"<div class=faces>{''.join(figures)}</div>"


def _figure(seen: SeenScored, caption: str, kind: str) -> str:
    data = base64.b64encode(seen.picture).decode()
    return (
        f'<figure class="{kind}"><img alt="" src="data:image/jpeg;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


_TABLE_TEXT = (
    "<p class=note>A track counts if it is old enough and its best face reaches min_quality. "
    "Regret is how far the forwarded face falls short of the best face of its track; for a missed "
    "track it is the quality of its best face. All policies choose among the same faces: those "
    "that were tracked and passed the prechecks. Only the gate and the oracle know scores.</p>"
)

_TRADE_TEXT = (
    "<p class=note>The gate of this configuration, run with other values of "
    "<code>quality.score_share</code>.</p>"
)

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<style>
:root {{ color-scheme: light dark; --ground: #fff; --text: #1c2733; --quiet: #55626f;
  --line: #dde3e9; --gate: #e7f4ee; --ours: #0b6e4f; --others: #6f7c89; --best: #a86a08;
  --faint: #b9c3cd; --watch: #0369a1; --ignore: #475569; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ground: #14171c; --text: #e8ebf0;
  --quiet: #a3adbc; --line: #363d49; --gate: #16352a; --ours: #4ade9f; --others: #94a3b8;
  --best: #fbbf24; --faint: #4b5563; --watch: #38bdf8; --ignore: #cbd5e1; }} }}
body {{ font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--ground);
  max-width: 72rem; margin: 2rem auto; padding: 0 1.2rem; }}
h1 {{ font-size: 1.7rem; margin-bottom: 0; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.25rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); }}
h3 {{ font-size: 1rem; margin: 1.8rem 0 .4rem; overflow-wrap: anywhere; }}
table {{ border-collapse: collapse; margin: .8rem 0; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem .7rem; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--line); }}
th {{ font-weight: 600; font-size: .85rem; color: var(--quiet); }}
th:first-child, td:first-child {{ text-align: left; }}
small, .note, figcaption {{ color: var(--quiet); }}
.note {{ font-size: .88rem; max-width: 52rem; overflow-wrap: anywhere; }}
code {{ font-size: .9em; }}
tr.gate td {{ background: var(--gate); }}
td {{ white-space: nowrap; }}
td:first-child {{ min-width: 9rem; white-space: normal; overflow-wrap: anywhere; }}
.policies td:first-child {{ min-width: 12rem; }}
.zones {{ display: flex; flex-wrap: wrap; gap: 0 2rem; align-items: start; }}
.wide, .plot {{ overflow-x: auto; }}
:focus-visible {{ outline: 3px solid var(--watch); outline-offset: 2px; }}
svg {{ max-width: 100%; min-width: 34rem; height: auto; display: block; }}
svg text {{ fill: var(--text); }}
.zonemap {{ width: 34rem; min-width: 0; border-radius: 4px;
  background: color-mix(in srgb, var(--line) 40%, transparent);
  font-size: 12px; }}
.zonemap polygon {{ fill: color-mix(in srgb, var(--watch) 12%, transparent);
  stroke: var(--watch); stroke-width: 1.5; }}
.zonemap polygon.ignore {{ fill: color-mix(in srgb, var(--ignore) 30%, transparent);
  stroke: var(--ignore); stroke-dasharray: 6 4; }}
.zonemap circle {{ fill: var(--ours); opacity: .6; }}
.zonemap circle.outside {{ fill: var(--others); opacity: .4; }}
.faces {{ display: flex; flex-wrap: wrap; gap: .5rem; margin: .4rem 0; }}
figure {{ margin: 0; width: 92px; font-size: .8rem; line-height: 1.25; text-align: center; }}
figure img {{ width: 92px; height: 92px; border-radius: 4px; display: block; }}
figure.gate img {{ outline: 3px solid var(--ours); }}
figure.oracle img {{ outline: 3px solid var(--best); }}
figure.small, figure.small img {{ width: 64px; height: auto; }}
figure.none {{ padding-top: 36px; }}
@media (max-width: 40rem) {{ body {{ margin: 1rem auto; padding: 0 .8rem; }}
  figure, figure img {{ width: 76px; height: auto; }} }}
</style>
{body}
</html>
"""
