"""The public scorer and its thread."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from streamgate import Scorer
from streamgate.config import QualitySection
from streamgate.errors import ModelError, ScoreError
from streamgate.quality import GrafiqsScorer
from streamgate.quality.grafiqs import GROUPS, Group
from tests.quality import cases


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cases.save(tmp_path_factory.mktemp("weights"), cases.TINY, seed=5)


def settings(weights: Path, **changed: object) -> QualitySection:
    return QualitySection.model_validate(
        {"weights": weights, "device": "cpu", "batch_size": 4, **changed}
    )


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((2, 112, 112, 3), np.float64),
        np.zeros((2, 3, 112, 112), np.uint8),
        np.zeros((112, 112, 3), np.uint8),
        [[1]],
    ],
    ids=["double", "channels first", "one crop", "list"],
)
def test_another_array_is_refused(weights: Path, crops: NDArray[np.uint8]) -> None:
    """The message says which one is expected."""
    with pytest.raises(ScoreError, match="uint8 \\[N, 112, 112, 3\\]"):
        Scorer.load(weights, device="cpu").score(crops)


def test_no_crops_give_no_scores(weights: Path) -> None:
    """With the embedding's width."""
    scores = Scorer.load(weights, device="cpu").score(cases.pictures(1, 1)[:0])
    assert len(scores) == 0
    assert scores.embedding.shape == (0, 16)


def test_read_only_and_strided_crops_are_scored(weights: Path) -> None:
    """As they come out of a decoder or a slice."""
    crops = cases.pictures(4, 2)
    scorer = Scorer.load(weights, device="cpu")
    expected = scorer.score(crops).raw[::2]
    view = crops[::2]
    view.flags.writeable = False
    assert scorer.score(view).raw == pytest.approx(expected, rel=1e-5)


def test_earlier_scores_are_not_overwritten_by_later_ones(weights: Path) -> None:
    """Staging buffers are used again; results are the caller's."""
    scorer = Scorer.load(weights, device="cpu")
    first = scorer.score(cases.pictures(3, 3))
    kept = first.raw.copy(), first.embedding.copy()
    for seed in range(4, 8):
        scorer.score(cases.pictures(3, seed))
    assert np.array_equal(first.raw, kept[0])
    assert np.array_equal(first.embedding, kept[1])


@pytest.mark.parametrize("group", GROUPS)
def test_an_explanation_adds_up_to_the_score(weights: Path, group: Group) -> None:
    """Its map is where the score comes from that the scorer gives, whichever group that is of."""
    crop = cases.pictures(1, 9)[0]
    scorer = Scorer.load(weights, device="cpu", group=group)
    explanation = scorer.explain(crop)
    size = 112 >> GROUPS.index(group)
    assert explanation.magnitude.shape == (size, size)
    assert explanation.magnitude.sum() == pytest.approx(explanation.raw, rel=1e-5)
    assert explanation.raw == pytest.approx(scorer.score(crop[None]).raw[0])
    assert explanation.overlay.shape == (112, 112, 3)
    assert explanation.overlay.dtype == np.uint8


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"device": "cuda:99"}, "not there"),
        ({"device": "tpu"}, "unknown device"),
        ({"device": "cpu", "precision": "tf32"}, "tf32 needs a CUDA device"),
        ({"device": "cpu", "precision": "int8"}, "unknown precision"),
        ({"device": "cpu", "group": "block5"}, "unknown group"),
        ({"device": "cpu", "batch_size": -1}, "expected 1 or more"),
    ],
)
def test_a_choice_that_cannot_be_had_is_refused(
    weights: Path, choice: dict[str, str], message: str
) -> None:
    """Before anything is scored."""
    with pytest.raises(ModelError, match=message):
        Scorer.load(weights, **choice)  # type: ignore[arg-type] # wrong on purpose


async def test_the_thread_gives_the_same_scores(weights: Path) -> None:
    """Bit by bit, in the order of the calls, however many wait at once."""
    crops = cases.pictures(20, 21)
    expected = Scorer.load(weights, device="cpu", batch_size=4).score(crops)
    async with await GrafiqsScorer.start(settings(weights)) as scorer:
        parts = await asyncio.gather(
            *(scorer.score(crops[start : start + 4]) for start in range(0, 20, 4))
        )
    assert np.array_equal(np.concatenate([part.raw for part in parts]), expected.raw)
    assert np.array_equal(np.concatenate([part.embedding for part in parts]), expected.embedding)


async def test_a_failure_to_start_reaches_the_caller_and_leaves_no_thread(tmp_path: Path) -> None:
    """A daemon must not come up without a model."""
    with pytest.raises(ModelError, match=r"none\.pth"):
        await GrafiqsScorer.start(settings(tmp_path / "none.pth"))
    assert "scorer" not in {thread.name for thread in threading.enumerate()}


async def test_a_closed_scorer_refuses(weights: Path) -> None:
    """Rather than let its caller wait for ever."""
    scorer = await GrafiqsScorer.start(settings(weights))
    await scorer.close()
    await scorer.close()
    with pytest.raises(ScoreError, match="closed"):
        await scorer.score(cases.pictures(1, 1))


async def test_too_many_crops_are_refused(weights: Path) -> None:
    """The bound is in the message."""
    async with await GrafiqsScorer.start(settings(weights)) as scorer:
        with pytest.raises(ScoreError, match="got 5 crops; expected 1 to 4"):
            await scorer.score(cases.pictures(5, 1))


async def test_a_caller_that_gave_up_does_not_disturb_the_others(weights: Path) -> None:
    """Its batch is dropped."""
    crops = cases.pictures(4, 1)
    async with await GrafiqsScorer.start(settings(weights)) as scorer:
        impatient = [asyncio.create_task(scorer.score(crops)) for _ in range(6)]
        await asyncio.sleep(0)
        for task in impatient:
            task.cancel()
        scores = await scorer.score(crops)
    assert len(scores) == 4


async def test_closing_finishes_what_waits(weights: Path) -> None:
    """Either with scores or with a refusal; nobody waits for ever."""
    crops = cases.pictures(4, 1)
    scorer = await GrafiqsScorer.start(settings(weights))
    waiting = [asyncio.create_task(scorer.score(crops)) for _ in range(8)]
    await asyncio.sleep(0)
    await scorer.close()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(outcome, ScoreError) or len(outcome) == 4 for outcome in outcomes)  # type: ignore[arg-type] # nothing else
