"""`streamgate edc`: compare quality scores by the errors that a recogniser makes on what they
keep."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import click

from streamgate.errors import StreamgateError

if TYPE_CHECKING:
    from streamgate.lab.evaluation.edc import Comparisons, Curve

__all__ = ["command"]

Curves: TypeAlias = "Mapping[tuple[str, float], Curve]"
_AREAS = (0.2, 0.3)
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command("edc")
@click.option(
    "--raw",
    multiple=True,
    metavar="NAME=FILE",
    help="A method and its score file, lower is better, as streamgate extract writes it.",
)
@click.option(
    "--scores",
    multiple=True,
    metavar="NAME=FILE",
    help="A method and its score file, higher is better.",
)
@click.option("--embeddings", type=_FILE, help=".npz with paths and embeddings.")
@click.option("--comparisons", type=_FILE, help='Lines "path path similarity".')
@click.option("--identities", type=_FILE, help='Lines "path identity": all pairs are compared.')
@click.option("--pairs", type=_FILE, help='Lines "path path 1|0": these pairs are compared.')
@click.option(
    "--fmr",
    "rates",
    multiple=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=(1e-3, 1e-4),
    show_default=True,
    help="False match rate; may be given several times.",
)
@click.option("--csv", "table", type=click.Path(path_type=Path, dir_okay=False), help="Curves.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Picture of the curves, .png, .svg or .pdf.",
)
def command(
    *,
    raw: tuple[str, ...],
    scores: tuple[str, ...],
    embeddings: Path | None,
    comparisons: Path | None,
    identities: Path | None,
    pairs: Path | None,
    rates: tuple[float, ...],
    table: Path | None,
    plot: Path | None,
) -> None:
    """Print the partial areas under FNMR over discard, to 20 and 30 %; less is better.

    The threshold is set at the start (fixed) or again on what is left (recomputed).
    """
    from streamgate.lab.evaluation.edc import edc
    from streamgate.lab.evaluation.edc_files import qualities, read_scores

    methods = _methods(raw, scores)
    names, compared = _compared(embeddings, comparisons, identities, pairs)
    curves: dict[tuple[str, float], Curve] = {}
    for method, (file, lower_is_better) in methods.items():
        quality = qualities(names, read_scores(file), lower_is_better=lower_is_better)
        for rate in rates:
            curves[method, rate] = edc(compared, quality, rate)
    click.echo(_summary(curves))
    if table is not None:
        _write_table(curves, table)
    if plot is not None:
        _draw(curves, plot)


def _methods(raw: tuple[str, ...], scores: tuple[str, ...]) -> dict[str, tuple[Path, bool]]:
    methods = {}
    for text, lower_is_better in [*((text, True) for text in raw), *((t, False) for t in scores)]:
        name, separator, file = text.partition("=")
        if not separator or not name or name in methods:
            raise click.UsageError(f"{text!r}: expected NAME=FILE, each name once")
        methods[name] = (Path(file), lower_is_better)
    if not methods:
        raise click.UsageError("give at least one method with --raw or --scores NAME=FILE")
    return methods


def _compared(
    embeddings: Path | None, comparisons: Path | None, identities: Path | None, pairs: Path | None
) -> tuple[list[str], Comparisons]:
    """Return the faces' names and the comparisons between them."""
    if (embeddings is None) == (comparisons is None):
        raise click.UsageError("give either --embeddings or --comparisons")
    if (identities is None) == (pairs is None):
        raise click.UsageError("give either --identities or --pairs")
    from streamgate.lab.evaluation.edc_files import (
        all_pairs,
        named_pairs,
        read_comparisons,
        read_embeddings,
        read_identities,
        read_pairs,
    )

    if embeddings is not None and identities is not None:
        names, vectors = read_embeddings(embeddings)
        return names, all_pairs(names, vectors, read_identities(identities))
    known = read_comparisons(comparisons) if comparisons is not None else {}
    if pairs is not None:
        mated = read_pairs(pairs)
    else:
        assert identities is not None
        people = read_identities(identities)
        mated = {pair: _same(people, pair) for pair in known}
    if embeddings is not None:
        names, vectors = read_embeddings(embeddings)
        place = {name: index for index, name in enumerate(names)}
        for pair in mated:
            for name in pair:
                if name not in place:
                    raise StreamgateError(f"{embeddings}: no embedding of {name}")
        known = {(a, b): float(vectors[place[a]] @ vectors[place[b]]) for a, b in mated}
    names = sorted({name for pair in mated for name in pair})
    return names, named_pairs(names, known, mated)


def _same(people: Mapping[str, str], pair: tuple[str, str]) -> bool:
    for name in pair:
        if name not in people:
            raise StreamgateError(f"no identity of {name}")
    return people[pair[0]] == people[pair[1]]


def _summary(curves: Curves) -> str:
    from streamgate.lab.evaluation.edc import partial_area

    lines = ["method           FMR     threshold   FNMR at 0 %  pAUC 20 %    pAUC 30 %"]
    for (method, rate), curve in curves.items():
        for way, fnmr in curve.ways.items():
            areas = "   ".join(f"{partial_area(fnmr, area):.6f}" for area in _AREAS)
            lines.append(f"{method:<16} {rate:<7g} {way:<11} {fnmr[0]:<12.6f} {areas}")
    return "\n".join(lines)


def _write_table(curves: Curves, path: Path) -> None:
    from streamgate.lab.evaluation.edc import DISCARDS

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["method", "fmr", "threshold", "discard", "fnmr"])
        for (method, rate), curve in curves.items():
            for way, fnmr in curve.ways.items():
                for discard, value in zip(DISCARDS, fnmr, strict=True):
                    writer.writerow([method, f"{rate:g}", way, f"{discard:.2f}", f"{value:.8f}"])


def _draw(curves: Curves, path: Path) -> None:
    try:
        from matplotlib.figure import Figure  # an optional package
    except ImportError:
        raise StreamgateError("--plot needs matplotlib: pip install 'streamgate[plots]'") from None
    from streamgate.lab.evaluation.edc import DISCARDS

    rates = sorted({rate for _, rate in curves}, reverse=True)
    figure = Figure(figsize=(6.0 * len(rates), 4.5), layout="constrained")
    for axes, rate in zip(figure.subplots(1, len(rates), squeeze=False)[0], rates, strict=True):
        for number, method in enumerate(dict.fromkeys(method for method, _ in curves)):
            curve = curves[method, rate]
            colour = f"C{number}"
            axes.plot(DISCARDS, curve.fixed, color=colour, label=f"{method}, fixed")
            axes.plot(DISCARDS, curve.recomputed, "--", color=colour, label=f"{method}, recomputed")
        axes.set(title=f"FMR {rate:g}", xlabel="share discarded", ylabel="FNMR")
        axes.legend()
    figure.savefig(path)
