"""`streamgate decisions`: check a decision log."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

__all__ = ["command"]


@click.group("decisions")
def command() -> None:
    """Check the decision log of a camera."""


@command.command("verify")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)  # fmt: skip
@click.option(
    "--key-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the key of delivery.decision_log.key, if the log is made with one.",
)  # fmt: skip
@click.option(
    "--contains", "known", multiple=True,
    help="The hash of a line that must be among them, as noted down earlier or as the camera's log "
    "told it: this is how a tail that was cut off is noticed.",
)  # fmt: skip
def _verify(files: tuple[Path, ...], key_file: Path | None, known: tuple[str, ...]) -> None:
    """Check that no line of the FILEs was changed, removed or inserted.

    Give a log together with the files that were put aside (`door.jsonl*`), in any order. Exit 1
    names the first line that is broken.
    """
    from streamgate.delivery.chain import BrokenError, verify

    key = None
    if key_file is not None:
        key = key_file.read_bytes().rstrip(b"\r\n")
    try:
        found = verify(_lines(files), key)
    except BrokenError as error:
        click.echo(f"broken: {error}", err=True)
        sys.exit(1)
    for place in found.torn:
        click.echo(f"{place}: half a line, as a crash leaves it; the chain goes on without it")
    if found.before:
        click.echo(f"{found.before} lines before the chain begins are not protected")
    if found.unkeyed:
        click.echo(f"{found.unkeyed} lines are from before the key was set")
    if found.last is None:
        click.echo("broken: there is no line of a chain", err=True)
        sys.exit(1)
    missing = [one for one in known if one not in found.hashes]
    if missing:
        click.echo(f"broken: no line has the hash {missing[0]}; lines were removed", err=True)
        sys.exit(1)
    click.echo(f"{found.lines} lines are sound, numbers {found.first} to {found.last.number}")
    click.echo(f"the last has the hash {found.last.hash}")


def _lines(files: tuple[Path, ...]) -> Iterator[tuple[str, bytes]]:
    """Every line with its place, the files in the order in which they were written."""
    from streamgate.delivery.chain import first_number

    for path in sorted(files, key=first_number):
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield f"{path}:{number}", line
