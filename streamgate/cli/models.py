"""`streamgate models`: list the models, fetch them in advance, and verify them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from streamgate.models.registry import Model

__all__ = ["command"]


@click.group("models")
def command() -> None:
    """List, fetch and verify models."""


@command.command("list")
def _list() -> None:
    """Print every model: its state, size, licence, purpose and path."""
    from streamgate.models.registry import MODELS, location, state_of

    for model in MODELS.values():
        click.echo(f"{model.name}: {model.purpose}")
        click.echo(f"  {state_of(model)}, {model.size:,} bytes, licence {model.licence}")
        click.echo(f"  {model.origin}")
        click.echo(f"  {location(model)}")


@command.command("pull")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def _pull(names: tuple[str, ...]) -> None:
    """Fetch the models NAME..., or all of them, so that no network is needed later."""
    from streamgate.models.registry import fetch

    for model in _chosen(names):
        click.echo(f"{model.name}: {fetch(model)}")


@command.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def _verify(names: tuple[str, ...]) -> None:
    """Verify the files of NAME..., or of all models, by their hashes; fetch nothing.

    Exit 1 when a file is damaged, or when one that was named is missing.
    """
    from streamgate.models.registry import ModelState, location, state_of

    failed = False
    for model in _chosen(names):
        state = state_of(model)
        failed |= state is ModelState.DAMAGED or (bool(names) and state is ModelState.MISSING)
        click.echo(f"{model.name}: {state}, {location(model)}")
    if failed:
        click.echo("fetch what is wrong with: streamgate models pull NAME", err=True)
        sys.exit(1)


def _chosen(names: tuple[str, ...]) -> list[Model]:
    from streamgate.models.registry import MODELS, find

    return [find(name) for name in names or MODELS]
