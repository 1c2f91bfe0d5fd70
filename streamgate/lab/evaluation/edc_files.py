"""The files that an evaluation reads: scores, embeddings, comparisons, pairs, identities.

All are text with one item on each line, separated by white space (paths may contain spaces, as
numbers are read from the end), except embeddings, an .npz with `paths` [N] and `embeddings` [N, E].
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamgate.errors import StreamgateError
from streamgate.lab.evaluation.edc import Comparisons

__all__ = [
    "all_pairs",
    "named_pairs",
    "qualities",
    "read_comparisons",
    "read_embeddings",
    "read_identities",
    "read_pairs",
    "read_scores",
]

Pair = tuple[str, str]


def read_scores(path: Path) -> dict[str, float]:
    """Read lines "path score"."""
    scores = {}
    for number, line in _lines(path):
        name, text = _split(path, number, line, "path score")
        scores[name] = _number(path, number, text)
    return scores


def read_identities(path: Path) -> dict[str, str]:
    """Read lines "path identity"."""
    identities = {}
    for number, line in _lines(path):
        name, identity = _split(path, number, line, "path identity")
        identities[name] = identity
    return identities


def read_pairs(path: Path) -> dict[Pair, bool]:
    """Read lines "path path 1|0": 1 for two pictures of one person."""
    return {pair: bool(value) for pair, value in _pairs(path, "path path 1|0")}


def read_comparisons(path: Path) -> dict[Pair, float]:
    """Read lines "path path similarity"."""
    return dict(_pairs(path, "path path similarity"))


def read_embeddings(path: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Read an .npz of `paths` [N] and `embeddings` [N, E]; they are normalised here."""
    try:
        with np.load(path, allow_pickle=False) as content:
            paths, embeddings = content["paths"], content["embeddings"]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise StreamgateError(
            f"{path}: expected an .npz with paths [N] and embeddings [N, E], as streamgate "
            f"extract --embeddings writes it ({error})"
        ) from error
    if embeddings.ndim != 2 or paths.shape != embeddings.shape[:1]:
        raise StreamgateError(f"{path}: {paths.shape} paths for {embeddings.shape} embeddings")
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return [str(name) for name in paths], embeddings / np.maximum(lengths, 1e-12)


def all_pairs(
    names: Sequence[str], embeddings: NDArray[np.float64], identities: Mapping[str, str]
) -> Comparisons:
    """Compare every face with every other; faces without an identity are an error."""
    _complete(names, identities, "identity")
    labels = np.unique([identities[name] for name in names], return_inverse=True)[1]
    first, second = np.triu_indices(len(names), k=1)
    similarity = (embeddings @ embeddings.T)[first, second]
    return Comparisons(first, second, similarity, labels[first] == labels[second])


def named_pairs(
    names: Sequence[str], similarity: Mapping[Pair, float], mated: Mapping[Pair, bool]
) -> Comparisons:
    """Put together the pairs that are labelled; each needs a similarity, in either order."""
    index = {name: place for place, name in enumerate(names)}
    return Comparisons(
        first=np.array([index[first] for first, _ in mated], dtype=np.int64),
        second=np.array([index[second] for _, second in mated], dtype=np.int64),
        similarity=np.array([_similarity(similarity, pair) for pair in mated], dtype=np.float64),
        mated=np.array(list(mated.values()), dtype=np.bool_),
    )


def qualities(
    names: Sequence[str], scores: Mapping[str, float], *, lower_is_better: bool
) -> NDArray[np.float64]:
    """Return one quality for each name [N], higher is better."""
    _complete(names, scores, "score")
    values = np.array([scores[name] for name in names], dtype=np.float64)
    return -values if lower_is_better else values


def _similarity(known: Mapping[Pair, float], pair: Pair) -> float:
    value = known.get(pair, known.get(pair[::-1]))
    if value is None:
        raise StreamgateError(f"no similarity for the pair {pair[0]} {pair[1]}")
    return value


def _pairs(path: Path, expected: str) -> Iterator[tuple[Pair, float]]:
    for number, line in _lines(path):
        fields = line.split()
        if len(fields) != 3:
            raise _fault(path, number, f"expected: {expected}; paths of pairs hold no spaces")
        yield (fields[0], fields[1]), _number(path, number, fields[2])


def _split(path: Path, number: int, line: str, expected: str) -> Pair:
    name, *rest = line.rsplit(maxsplit=1)
    if not rest:
        raise _fault(path, number, f"expected: {expected}")
    return name, rest[0]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        # Names of files may be any bytes, and are compared as they are.
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise StreamgateError(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line.strip()


def _number(path: Path, number: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _fault(path, number, f"{text!r} is not a number") from None
    if np.isnan(value):
        raise _fault(path, number, "NaN cannot be ranked")
    return value


def _fault(path: Path, number: int, message: str) -> StreamgateError:
    return StreamgateError(f"{path}:{number}: {message}")


def _complete(names: Sequence[str], values: Mapping[str, object], what: str) -> None:
    missing = [name for name in names if name not in values]
    if missing:
        raise StreamgateError(f"no {what} for {len(missing)} faces; the first is {missing[0]}")
