"""`streamgate check`: say every fault of a configuration file."""

from __future__ import annotations

from pathlib import Path

import click

from streamgate.config import load_config

__all__ = ["command"]


@click.command("check")
@click.argument("file", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Validate FILE; exit 0 when it can be used, else 2 with every fault, line and remedy."""
    loaded = load_config(file)
    config = loaded.config
    sinks = ", ".join(sink.name for sink in config.delivery.sinks) or "no sinks"
    click.echo(
        f"{file}: camera {config.camera.name}, source {config.source.kind}, {sinks}; "
        f"config hash {loaded.config_hash[:12]}"
    )
