"""The track protocol, on embeddings whose similarities are known."""

from __future__ import annotations

import numpy as np
import pytest

from streamgate.errors import StreamgateError
from streamgate.lab.evaluation.identification import (
    Probes,
    bootstrap,
    fnir_at,
    gap_closed,
    mated_similarity,
    rank_1,
)

PEOPLE = 200


def gallery() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.eye(PEOPLE)


def probes(similarity: np.ndarray[tuple[int], np.dtype[np.float64]], to_next: float) -> Probes:
    """Probes of each person, that like to themselves and so like to the next person."""
    own = np.eye(PEOPLE)
    embedding = similarity[:, None] * own + to_next * np.roll(own, 1, axis=1)
    return Probes(embedding, np.arange(PEOPLE))


def test_the_mate_is_the_persons_own_photograph() -> None:
    """Its similarity is that to the row of the gallery that the probe names."""
    similarity = np.linspace(0.1, 0.9, PEOPLE)
    assert mated_similarity(probes(similarity, 0.2), gallery()) == pytest.approx(similarity)


def test_rank_1_counts_who_is_likest() -> None:
    """Whoever is less like herself than like somebody else is named wrongly."""
    named = rank_1(probes(np.linspace(0.0, 1.0, PEOPLE), 0.5), gallery())
    assert named.mean() == pytest.approx(0.5, abs=0.01)


def test_fnir_falls_with_the_false_positives_that_are_allowed() -> None:
    """Strangers reach 0.5: a threshold that keeps 99 % of them out keeps out who is less alike."""
    chance = np.random.default_rng(0)
    faces = probes(np.linspace(0.0, 1.0, PEOPLE), 0.0)
    noise = chance.uniform(0.0, 0.5, (PEOPLE, PEOPLE)) * (1 - np.eye(PEOPLE))
    noisy = Probes(faces.embedding + noise, faces.person)
    rates = [float(fnir_at(noisy, gallery(), fpir).mean()) for fpir in (0.01, 0.2, 0.9)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(0.5, abs=0.01)


def test_too_few_probes_for_a_rate_are_an_error() -> None:
    """One in a hundred cannot be told from ten searches."""
    faces = probes(np.ones(PEOPLE), 0.0)
    few = Probes(faces.embedding[:10], faces.person[:10])
    with pytest.raises(StreamgateError, match="10 probes cannot resolve"):
        fnir_at(few, gallery(), 0.01)


def test_the_gap_runs_from_chance_to_the_oracle() -> None:
    """0 is chance, 1 the oracle, and where there is no choice there is no share."""
    assert gap_closed(0.75, random=0.5, oracle=1.0) == 0.5
    assert gap_closed(0.4, random=0.5, oracle=1.0) < 0
    assert np.isnan(gap_closed(0.5, random=0.5, oracle=0.5))


def test_an_interval_is_over_people() -> None:
    """A thousand faces of two people say no more than two people do."""
    values = np.repeat([0.0, 1.0], 500)
    few = bootstrap(np.repeat(["ann", "bob"], 500).tolist(), lambda rows: values[rows].mean())
    assert (few.value, few.low, few.high) == (0.5, 0.0, 1.0)
    values = np.tile([0.0, 1.0], 500)
    many = bootstrap(list(range(1000)), lambda rows: float(values[rows].mean()))
    assert many.high - many.low < 0.1
