"""`streamgate fleet`: many cameras on a cluster of machines, on Ray Core."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from streamgate.config.fleet import FleetConfig
    from streamgate.fleet.cluster import Fleet
    from streamgate.fleet.spec import ProcessSpec

__all__ = ["command"]

_FILE = click.argument("file", metavar="FLEET", type=click.Path(path_type=Path))
_NAMES = click.argument("names", metavar="[NAME]...", nargs=-1)


@click.group("fleet")
def command() -> None:
    """Run many cameras on a cluster of machines.

    FLEET is the fleet's file. It names the cameras' files, scorers, and the Ray cluster. NAME is a
    camera's or a scorer's; without one, a command is about all.
    """


@command.command("up")
@_FILE
def _up(file: Path) -> None:
    """Start the fleet: the head where the file says local, all cameras, and the overview page."""
    fleet, wanted = _read(file)
    with _connected(fleet, start=True) as cluster:
        from streamgate.fleet.overview import ensure_overview

        # First, so that it shows how the cameras start.
        url = ensure_overview(fleet.web, fleet.name)
        _apply(cluster, wanted, only_show=False)
    click.echo(f"overview: {url}; Prometheus' service discovery: {url}/sd")


@command.command("apply")
@_FILE
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
def _apply_command(file: Path, dry_run: bool) -> None:
    """Start, restart and stop what has changed in the files; leave all others alone.

    Everything is validated first: one faulty file changes nothing.
    """
    fleet, wanted = _read(file)
    with _connected(fleet) as cluster:
        _apply(cluster, wanted, only_show=dry_run)


@command.command("status")
@_FILE
@click.option(
    "--format", "layout", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def _status(file: Path, layout: str) -> None:
    """Print how every camera and scorer is. Exit 1 if one of them does not run."""
    with _connected(_config(file)) as cluster:
        found = cluster.status()
    if layout == "json":
        click.echo(json.dumps(found, indent=1))
    else:
        click.echo(_as_table(found), nl=False)
    if any(said["state"] not in ("running", "ended", "stopped") for said in found):
        sys.exit(1)


@command.command("logs")
@_FILE
@click.argument("name")
@click.option("--lines", "-n", default=50, show_default=True, type=click.IntRange(1, 500))
def _logs(file: Path, name: str, lines: int) -> None:
    """Print the newest lines that the process of NAME has written."""
    with _connected(_config(file)) as cluster:
        for actor in cluster.chosen([name]):
            for line in cluster.lines(actor, lines):
                click.echo(line)


@command.command("restart")
@_FILE
@_NAMES
def _restart(file: Path, names: tuple[str, ...]) -> None:
    """Stop processes in order and start them again, where they are."""
    with _connected(_config(file)) as cluster:
        actors = cluster.chosen(names)
        cluster.restart(actors)
    click.echo(f"{len(actors)} restarted")


@command.command("drain")
@_FILE
@_NAMES
def _drain(file: Path, names: tuple[str, ...]) -> None:
    """Stop processes in order: tracks are decided, and what is due is delivered or kept.

    They stay stopped until `restart` or `apply`. Exit 1 if one had to be killed.
    """
    with _connected(_config(file)) as cluster:
        actors = cluster.chosen(names)
        hard = cluster.stop(actors, remove=False)
    click.echo(f"{len(actors) - len(hard)} stopped")
    _tell_killed(hard)


@command.command("down")
@_FILE
@click.option("--keep-head", is_flag=True, help="Leave Ray's head running where up has started it.")
def _down(file: Path, keep_head: bool) -> None:
    """Stop all processes in order, remove the fleet from the cluster, and end a local head."""
    fleet = _config(file)
    with _connected(fleet) as cluster:
        from streamgate.fleet.overview import end_overview

        actors = cluster.actors()
        hard = cluster.stop(actors, remove=True)
        end_overview()
    if fleet.address == "local" and not keep_head:
        from streamgate.fleet.cluster import stop_local_head

        stop_local_head(fleet)
    click.echo(f"{len(actors) - len(hard)} stopped")
    _tell_killed(hard)


@command.command("serve")
@_FILE
def _serve(file: Path) -> None:
    """Serve the overview page from here, until Ctrl-C; `up` leaves one on the head."""
    fleet = _config(file)
    with _connected(fleet):
        from streamgate.fleet.overview import serve_here

        serve_here(fleet.web, fleet.name, tell=click.echo)


def _config(file: Path) -> FleetConfig:
    from streamgate.config.fleet import load_fleet

    return load_fleet(file)


def _read(file: Path) -> tuple[FleetConfig, dict[str, ProcessSpec]]:
    """Everything is read and validated before anything is connected to."""
    from streamgate.fleet.wanted import wanted_processes

    fleet = _config(file)
    wanted, warnings = wanted_processes(fleet, file.parent)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    return fleet, wanted


@contextmanager
def _connected(fleet: FleetConfig, *, start: bool = False) -> Iterator[Fleet]:
    if fleet.address == "local":
        from streamgate.fleet.local import use_token

        use_token(fleet)
    from streamgate.fleet.cluster import Fleet

    with Fleet.connected(fleet, start=start) as cluster:
        yield cluster


def _apply(cluster: Fleet, wanted: dict[str, ProcessSpec], *, only_show: bool) -> None:
    plan = cluster.plan(wanted)
    click.echo(("would be " if only_show else "") + str(plan))
    if not only_show:
        cluster.apply(plan)


def _tell_killed(actors: Sequence[str]) -> None:
    if actors:
        names = ", ".join(actor.split("/")[1] for actor in actors)
        click.echo(f"did not stop in order: {names}", err=True)
        sys.exit(1)


def _as_table(found: Sequence[dict[str, Any]]) -> str:
    from rich.console import Console
    from rich.table import Table

    columns = ("name", "state", "host", "place", "rate", "quality", "frame age", "outbox", "epoch")
    table = Table(*columns)
    for said in found:
        age = said.get("frame_age_s")
        cells = (
            said["name"], said["state"], said.get("host"), said.get("place"), said.get("rate"),
            said.get("quality"), None if age is None else f"{age:.1f} s", said.get("outbox"),
            said.get("epoch"),
        )  # fmt: skip
        table.add_row(*("" if cell is None else str(cell) for cell in cells))
    text = io.StringIO()
    Console(file=text, width=None if sys.stdout.isatty() else 160).print(table, markup=False)
    return text.getvalue()
