"""`streamgate run`: the daemon of one camera."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streamgate.cli import tell
from streamgate.errors import StreamgateError

if TYPE_CHECKING:
    from streamgate.config import LoadedConfig

__all__ = ["command"]


@click.command("run")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--web-port", type=click.IntRange(0, 65_535), help="Listen on this port, not on web.port."
)
@click.pass_obj
def command(leave: Callable[[int], None] | None, file: Path, web_port: int | None) -> None:
    """Run the gate for the camera that FILE describes, until it ends or is told to stop.

    SIGTERM and SIGINT stop it in order: live tracks are decided, what is due is delivered or kept.
    A second signal, at least a second later, ends it at once with exit code 1.
    """
    from streamgate.config import load_config
    from streamgate.config.section import secrets_of
    from streamgate.telemetry.logs import configure_logs

    loaded = load_config(file)
    if web_port is not None:
        web = loaded.config.web.model_copy(update={"port": web_port})
        loaded = replace(loaded, config=loaded.config.model_copy(update={"web": web}))
    boot_id = secrets.token_hex(6)
    configure_logs(
        loaded.config.log,
        secrets=secrets_of(loaded.config),
        camera=loaded.config.camera.name,
        boot=boot_id,
    )
    from streamgate.telemetry.logs import log_uncaught

    log_uncaught()
    # Not before the file is known to be good: it brings torch, which takes seconds.
    import structlog

    from streamgate.daemon.preflight import require_startable

    for fault in require_startable(loaded):
        structlog.get_logger(__name__).warning(
            "setting to look at", key=fault.key, line=fault.line, got=fault.got, wanted=fault.wanted
        )
    sys.exit(asyncio.run(_run(loaded, boot_id, leave)))


async def _run(loaded: LoadedConfig, boot_id: str, leave: Callable[[int], None] | None) -> int:
    """Run the camera and return the exit code; where the process is ours, leave it with that code.

    To leave from here, and not after the loop has closed, spares the wait for its worker threads,
    of which one may be asking a name server that does not answer.
    """
    from streamgate.config.section import secrets_of
    from streamgate.daemon import run_camera

    try:
        lost = await run_camera(loaded, boot_id)
    except StreamgateError as error:
        code = tell(error, secrets_of(loaded.config))
    else:
        code = 1 if lost else 0
        if lost:
            import structlog

            structlog.get_logger(__name__).error(
                "best shots were lost with the memory outbox; use outbox kind sqlite to keep them",
                lost=lost,
            )
    if leave is not None:
        leave(code)
    return code
