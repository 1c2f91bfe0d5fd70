"""Agreement of a face with its track."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamgate.selection.agreement import TrackTemplate, worth


def direction(seed: int, size: int = 16) -> NDArray[np.float64]:
    vector = np.random.default_rng(seed).normal(size=size)
    return np.asarray(vector / np.linalg.norm(vector))


def test_no_face_agrees_with_itself() -> None:
    """A track of one face says nothing; of two, each agrees as they are alike."""
    template, one, other = TrackTemplate(), direction(1), direction(2)
    template.add(one, 50.0)
    assert template.agreement(one, 50.0) is None
    template.add(other, 80.0)
    assert template.agreement(one, 50.0) == pytest.approx(float(one @ other))
    assert template.agreement(other, 80.0) == pytest.approx(float(one @ other))


@given(
    qualities=st.lists(st.floats(0, 100), min_size=2, max_size=8), place=st.integers(min_value=0)
)
def test_agreement_is_the_cosine_to_the_weighted_mean_of_the_others(
    qualities: list[float], place: int
) -> None:
    """As the formula says it, whatever the order and the qualities."""
    template = TrackTemplate()
    for number, quality in enumerate(qualities):
        template.add(direction(number), quality)
    place %= len(qualities)
    others = sum(
        (max(1.0, quality**2) * direction(n) for n, quality in enumerate(qualities) if n != place),
        np.zeros(16),
    )
    expected = float(direction(place) @ others / np.linalg.norm(others))
    assert template.agreement(direction(place), qualities[place]) == pytest.approx(
        expected, abs=1e-6
    )


def test_a_sharp_stranger_loses_to_a_face_like_the_others() -> None:
    """Ten points of quality do not outweigh that it looks like nobody in the track."""
    template, person = TrackTemplate(), direction(1)
    faces = [(person, 60.0), (person, 62.0), (person, 64.0), (direction(5), 74.0)]
    for embedding, quality in faces:
        template.add(embedding, quality)
    ranks = [worth(quality, template.agreement(face, quality)) for face, quality in faces]
    assert int(np.argmax(ranks)) == 2


def test_merged_templates_are_as_if_one_track_had_been_seen() -> None:
    """Two tracklets of a person are one."""
    whole, first, second = TrackTemplate(), TrackTemplate(), TrackTemplate()
    for number in range(6):
        whole.add(direction(number), 10.0 * number)
        (first if number < 3 else second).add(direction(number), 10.0 * number)
    first.merge(second)
    assert first.faces == whole.faces
    assert first.mean is not None
    assert whole.mean is not None
    assert first.mean == pytest.approx(whole.mean)
    assert float(np.linalg.norm(first.mean)) == pytest.approx(1.0)


def test_a_track_without_scores_has_no_template() -> None:
    """And merging it changes nothing."""
    template = TrackTemplate()
    template.merge(TrackTemplate())
    assert template.mean is None
    assert template.agreement(direction(0), 50.0) is None
