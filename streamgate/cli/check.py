"""`streamgate check`: report every fault of a configuration, and what else would keep it from
running."""

from __future__ import annotations

import sys
from pathlib import Path

import click

__all__ = ["command"]


@click.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--online",
    is_flag=True,
    help="Also open the source, look for faces in its first picture, and contact each sink.",
)
def command(file: Path, online: bool) -> None:
    """Validate FILE and everything that it names. Exit 0 if `streamgate run FILE` would start, else
    2.

    Each fault is reported with its line, what was found and what is wanted. Warnings are not
    faults. Without --online no camera is opened and no server is contacted. FILE may also be
    that of a scorer service (`streamgate serve`).
    """
    from streamgate.config import load_config
    from streamgate.config.scorer_file import is_scorer_file

    if is_scorer_file(file):
        _check_scorer(file)
        return
    loaded = load_config(file)
    # Not before the file is known to be good: it brings torch, which takes seconds.
    from streamgate.daemon.preflight import Severity, preflight

    findings = preflight(loaded)
    faulty = False
    for found in findings:
        doubtful = found.severity is Severity.DOUBTFUL
        faulty |= not doubtful
        click.echo(f"{file}:{found.fault}{' (warning)' if doubtful else ''}", err=True)
    if faulty:
        sys.exit(2)
    config = loaded.config
    sinks = ", ".join(sink.name for sink in config.delivery.sinks) or "no sinks"
    click.echo(
        f"{file}: camera {config.camera.name}, source {config.source.kind}, {sinks}; "
        f"config hash {loaded.config_hash[:12]}"
    )
    if not online:
        return
    from streamgate.daemon.online import as_table, ask_all

    steps = ask_all(loaded)
    click.echo(as_table(steps), nl=False)
    if not all(step.ok for step in steps):
        sys.exit(1)


def _check_scorer(file: Path) -> None:
    """Check the file of a scorer service as far as that can be done without starting it."""
    from streamgate.config.scorer_file import load_scorer_config
    from streamgate.models.extras import require_grpc

    config = load_scorer_config(file)
    require_grpc()
    from streamgate.service.preflight import preflight

    faults = preflight(config)
    for fault in faults:
        click.echo(f"{file}: {fault}", err=True)
    if faults:
        sys.exit(2)
    listen = config.listen
    places = [
        *([f"unix:{listen.unix}"] if listen.unix is not None else []),
        *([f"{listen.host}:{listen.port}"] if listen.port is not None else []),
    ]
    click.echo(f"{file}: scorer {config.scorer.name}, listens at {', '.join(places)}")
