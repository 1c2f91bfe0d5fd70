"""`streamgate models`: what there is, fetch it ahead of time, and check it."""

from __future__ import annotations

import sys

import click

from streamgate.models.registry import MODELS, Model, ModelState, fetch, find, location, state_of

__all__ = ["command"]


@click.group("models")
def command() -> None:
    """List, fetch and verify models."""


@command.command("list")
def _list() -> None:
    """Print every model: its state, size, licence, purpose and place."""
    for model in MODELS.values():
        click.echo(f"{model.name}: {model.purpose}")
        click.echo(f"  {state_of(model)}, {model.size:,} bytes, licence {model.licence}")
        click.echo(f"  {model.origin}")
        click.echo(f"  {location(model)}")


@command.command("pull")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def _pull(names: tuple[str, ...]) -> None:
    """Fetch the models NAME..., or all of them, so that later no network is needed."""
    for model in _chosen(names):
        click.echo(f"{model.name}: {fetch(model)}")


@command.command("verify")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def _verify(names: tuple[str, ...]) -> None:
    """Check the files of NAME..., or of every model, against their hashes; fetch nothing.

    Exit 1 when a file is damaged, or when one that was named is missing.
    """
    failed = False
    for model in _chosen(names):
        state = state_of(model)
        failed |= state is ModelState.DAMAGED or (bool(names) and state is ModelState.MISSING)
        click.echo(f"{model.name}: {state}, {location(model)}")
    if failed:
        click.echo("fetch what is wrong with: streamgate models pull NAME", err=True)
        sys.exit(1)


def _chosen(names: tuple[str, ...]) -> list[Model]:
    return [find(name) for name in names or MODELS]
