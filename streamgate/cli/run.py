"""`streamgate run`: the daemon of one camera."""

from __future__ import annotations

import asyncio
import secrets
import sys
from pathlib import Path

import click
import structlog

from streamgate.config import load_config
from streamgate.config.section import secrets_of
from streamgate.daemon import run_camera
from streamgate.logs import configure_logs

__all__ = ["command"]


@click.command("run")
@click.argument("file", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Run the gate for the camera that FILE describes, until it ends or is told to stop.

    SIGTERM and SIGINT end it in order: live tracks are judged, what is due is delivered or kept.
    """
    loaded = load_config(file)
    boot_id = secrets.token_hex(6)
    configure_logs(
        loaded.config.log,
        secrets=secrets_of(loaded.config),
        camera=loaded.config.camera.name,
        boot=boot_id,
    )
    lost = asyncio.run(run_camera(loaded, boot_id))
    if lost:
        structlog.get_logger(__name__).error(
            "best shots were lost with the memory outbox; use outbox kind sqlite to keep them",
            lost=lost,
        )
        sys.exit(1)
