"""The report: the same figures as a page and as JSON, and a page that needs nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from streamgate.lab.replay.evaluation import Evaluator, trade
from streamgate.lab.replay.plots import draw_course, draw_regrets, draw_trade, need_plots
from streamgate.lab.replay.policies import Choices, choose
from streamgate.lab.replay.recording import Recording
from streamgate.lab.replay.report import _MOST_TRACKS, Findings, as_html, as_json
from tests.lab.replay.tables import config, recording, walk

SETTINGS = config(gate={"min_quality": 30})
POLICIES = ("gate", "first", "oracle")


def findings(
    *recordings: Recording, policies: tuple[str, ...] = POLICIES, budget: bool = False
) -> Findings:
    evaluator = Evaluator(recordings, SETTINGS, {})
    choices: dict[str, Sequence[Choices]] = {
        name: [choose(name, one, SETTINGS) for one in recordings] for name in policies
    }
    return Findings(
        camera="hall",
        model_hash="a" * 64,
        config_hash="b" * 64,
        recogniser="the scoring network",
        recordings=recordings,
        choices=choices,
        evaluations=[evaluator.evaluation(name, choices[name]) for name in policies],
        trade=trade(recordings, SETTINGS, evaluator) if budget else (),
    )


@pytest.fixture(scope="module")
def visit() -> Findings:
    """One person who passes."""
    need_plots()
    return findings(recording({1: walk(1, 64)}), budget=True)


def test_the_json_holds_every_figure(visit: Findings) -> None:
    """Of each policy and of each of its tracks, under a schema with a version."""
    content = json.loads(as_json(visit))
    assert (content["schema"], content["schema_version"]) == ("streamgate.lab.replay", 1)
    (video,) = content["videos"]
    assert (video["file"], video["frames"], video["tracks"]) == ("hall.mkv", 64, 1)
    assert video["fit_faces"] == video["faces"] == 64
    assert [policy["policy"] for policy in content["policies"]] == list(POLICIES)
    for told, known in zip(content["policies"], visit.evaluations, strict=True):
        assert told["regret_quality_mean"] == known.regret_quality_mean
        assert told["per_track"][0]["frame_index"] == known.per_track[0].frame_index
    assert len(content["trade"]) == len(visit.trade) > 5


def test_the_page_tells_the_figures_of_the_json(visit: Findings) -> None:
    """A row a policy, rounded."""
    page = as_html(visit)
    for evaluation in visit.evaluations:
        row = re.search(rf'<tr class="{evaluation.policy}">.*?</tr>', page)
        assert row is not None
        assert f"<td>{evaluation.regret_quality_mean:.2f}</td>" in row[0]
        assert f"<td>{evaluation.missed} of {evaluation.tracks}</td>" in row[0]
        assert f"{100 * evaluation.share_scored:.1f} %" in row[0]


def test_equal_findings_are_equal_pages(visit: Findings) -> None:
    """To the byte, drawings included."""
    again = findings(recording({1: walk(1, 64)}), budget=True)
    assert as_html(visit) == as_html(again)
    assert as_json(visit) == as_json(again)


def test_names_from_outside_are_text_and_no_markup(visit: Findings) -> None:
    """A camera, a file and a recogniser may be called anything."""
    name = "<script>alert(1)</script>"
    table = recording({1: walk(1)}, name="<b>.mkv")
    page = as_html(replace(findings(table), camera=name, recogniser=name))
    assert "<script" not in page
    assert "<b>.mkv" not in page
    assert page.count("&lt;script&gt;") == 3
    assert "&lt;b&gt;.mkv" in page


def test_the_page_ends_somewhere_and_the_json_does_not() -> None:
    """More tracks than anybody looks at are counted."""
    tracks = {track: np.full(20, 60.0) for track in range(1, _MOST_TRACKS + 6)}
    many = findings(recording(tracks), policies=("first",))
    page = as_html(many)
    assert page.count("<h3>") == _MOST_TRACKS
    assert "5 more tracks are in report.json" in page
    assert len(json.loads(as_json(many))["policies"][0]["per_track"]) == len(tracks)


def test_a_track_of_which_nothing_went_is_shown_so() -> None:
    """Beside what the other rules chose."""
    table = recording({1: np.full(40, 60.0)})
    few = findings(table, policies=("gate", "first"))
    few.choices["gate"] = [replace(few.choices["gate"][0], by_track={})]
    assert "gate<br>nothing" in as_html(few)


def test_a_recording_of_nobody_has_a_page_that_says_so() -> None:
    """Neither an empty video nor one of poor faces fails."""
    for table in (Recording(Path("empty.mkv"), ()), recording({1: np.full(20, 5.0)})):
        page = as_html(findings(table, policies=("first", "oracle")))
        assert "No track reached the threshold" in page


def test_drawings_are_svg_that_stands_inside_a_page(visit: Findings) -> None:
    """Well-formed, without a prolog, and with the policies' names as text."""
    gate = visit.choices["gate"][0]
    assert gate.run is not None
    faces = visit.recordings[0].tracks[1]
    drawings = {
        "regrets": draw_regrets(visit.evaluations),
        "trade": draw_trade(visit.trade),
        "course": draw_course(faces, gate.run.scored, frozenset({40})),
    }
    for name, drawing in drawings.items():
        assert drawing.startswith("<svg"), name
        ElementTree.fromstring(drawing)
    text = "".join(ElementTree.fromstring(drawings["regrets"]).itertext())
    assert all(policy in text for policy in POLICIES)
