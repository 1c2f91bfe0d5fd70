"""`streamgate serve`: the scorer service."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import click

from streamgate.cli import tell
from streamgate.errors import StreamgateError

__all__ = ["command"]


@click.command("serve")
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_obj
def command(leave: Callable[[int], None] | None, file: Path) -> None:
    """Score faces for the cameras that name this service, as FILE describes, until told to stop.

    SIGTERM and SIGINT stop it in order: what waits is answered first.
    """
    from streamgate.config.scorer_file import load_scorer_config
    from streamgate.config.section import secrets_of
    from streamgate.telemetry.logs import configure_logs, log_uncaught

    config = load_scorer_config(file)
    secrets = secrets_of(config)
    configure_logs(config.log, secrets=secrets, scorer=config.scorer.name)
    log_uncaught()
    code = 0
    try:
        from streamgate.models.extras import require_grpc

        require_grpc()
        from streamgate.service.lifecycle import run_scorer

        asyncio.run(run_scorer(config))
    except StreamgateError as error:
        code = tell(error, secrets)
    if leave is not None:
        leave(code)
    sys.exit(code)
