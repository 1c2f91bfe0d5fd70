"""`streamgate edc`: from files to areas, a table and a picture."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.cli.crops import invoke

PEOPLE, EACH = 12, 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Faces whose embeddings are the noisier the lower their quality is."""
    rng = np.random.default_rng(6)
    centres = rng.normal(size=(PEOPLE, 32))
    names, identities, scores, embeddings = [], [], [], []
    for person in range(PEOPLE):
        for number in range(EACH):
            noise = rng.uniform(0.1, 1.6)
            names.append(f"p{person}/{number}.jpg")
            identities.append(f"{names[-1]} p{person}")
            scores.append(f"{names[-1]} {noise!r}")
            embeddings.append(centres[person] + noise * rng.normal(size=32))
    np.savez(tmp_path / "e.npz", paths=np.array(names), embeddings=np.array(embeddings))
    (tmp_path / "people.txt").write_text("\n".join(identities))
    (tmp_path / "good.txt").write_text("\n".join(scores))
    random = [
        f"{name} {value!r}" for name, value in zip(names, rng.random(72).tolist(), strict=True)
    ]
    (tmp_path / "random.txt").write_text("\n".join(random))
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_score_that_knows_the_noise_beats_chance(folder: Path) -> None:
    """In both ways of setting the threshold, in the table and in the summary."""
    result = invoke(
        "edc", "--raw", f"good={folder / 'good.txt'}", "--raw", f"chance={folder / 'random.txt'}",
        "--embeddings", folder / "e.npz", "--identities", folder / "people.txt", "--fmr", "1e-3",
        "--csv", folder / "c.csv", "--plot", folder / "c.svg",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "recomputed" in result.stdout
    found = {
        (row["method"], row["threshold"]): float(row["fnmr"])
        for row in rows(folder / "c.csv")
        if row["discard"] == "0.50"
    }
    assert found["good", "fixed"] < 0.6 * found["chance", "fixed"]
    assert found["good", "recomputed"] < found["chance", "recomputed"]
    assert (folder / "c.svg").stat().st_size > 1000


def test_the_direction_of_a_score_is_named(folder: Path) -> None:
    """The same file the other way round discards the best."""
    result = invoke(
        "edc", "--raw", f"right={folder / 'good.txt'}", "--scores", f"wrong={folder / 'good.txt'}",
        "--embeddings", folder / "e.npz", "--identities", folder / "people.txt", "--fmr", "1e-2",
        "--csv", folder / "c.csv",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    at = {row["method"]: float(row["fnmr"]) for row in rows(folder / "c.csv")
          if row["discard"] == "0.50" and row["threshold"] == "fixed"}  # fmt: skip
    assert at["right"] < at["wrong"]


def test_comparison_scores_and_pairs_give_what_embeddings_and_identities_do(folder: Path) -> None:
    """Either kind of input, the same curves."""
    with np.load(folder / "e.npz") as content:
        names = content["paths"].tolist()
        vectors = content["embeddings"]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity, labels = [], []
    for i, first in enumerate(names):
        for j in range(i + 1, len(names)):
            similarity.append(f"{first} {names[j]} {float(vectors[i] @ vectors[j])!r}")
            labels.append(f"{first} {names[j]} {int(i // EACH == j // EACH)}")
    (folder / "similarity.txt").write_text("\n".join(similarity))
    (folder / "pairs.txt").write_text("\n".join(labels))
    sources = {
        "a": ("--embeddings", "e.npz", "--identities", "people.txt"),
        "b": ("--comparisons", "similarity.txt", "--pairs", "pairs.txt"),
        "c": ("--embeddings", "e.npz", "--pairs", "pairs.txt"),
        "d": ("--comparisons", "similarity.txt", "--identities", "people.txt"),
    }
    for name, (one, file, other, labelled) in sources.items():
        result = invoke(
            "edc", "--raw", f"m={folder / 'good.txt'}", one, folder / file, other,
            folder / labelled, "--fmr", "1e-2", "--csv", folder / f"{name}.csv",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
    expected = rows(folder / "a.csv")
    assert all(rows(folder / f"{name}.csv") == expected for name in sources)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--fmr", "1e-5"], 1, "at least 100000 are needed"),
        (["--pairs", "people.txt"], 2, "either --identities or --pairs"),
        (["--scores", "nameless"], 2, "expected NAME=FILE"),
        (["--fmr", "1e-2", "--raw", "other=people.txt"], 1, "people.txt:1: 'p0' is not a number"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(
    arguments: list[str], code: int, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bad usage is 2, a failure 1; a bad line is named."""
    monkeypatch.chdir(folder)
    result = invoke(
        "edc", "--raw", "m=good.txt", "--embeddings", "e.npz", "--identities", "people.txt",
        *arguments,
    )  # fmt: skip
    assert result.exit_code == code
    assert message in result.output
