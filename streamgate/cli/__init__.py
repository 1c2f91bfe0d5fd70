"""The command line.

Exit codes: 0 done, 1 failed, 2 bad usage or configuration. Each command lives in a module of its
own that is imported when it is called, because importing torch takes seconds.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from typing import Any

import click

from streamgate import __version__
from streamgate.errors import ConfigError, StreamgateError

__all__ = ["app", "tell"]

_COMMANDS = {
    "init": ("streamgate.cli.init", "Set a camera up, and write its configuration."),
    "check": ("streamgate.cli.check", "Validate a configuration file."),
    "schema": ("streamgate.cli.schema", "Print the JSON Schema of the configuration."),
    "run": ("streamgate.cli.run", "Run the gate for one camera."),
    "profile": ("streamgate.cli.profile", "Show or change the profile of a running camera."),
    "fleet": ("streamgate.cli.fleet", "Run many cameras on a cluster of machines."),
    "serve": ("streamgate.cli.serve", "Score faces for many cameras."),
    "outbox": ("streamgate.cli.outbox", "Inspect and change what waits in the outbox."),
    "decisions": ("streamgate.cli.decisions", "Check a decision log."),
    "recognise": ("streamgate.cli.recognise", "Name the people in incoming best shots."),
    "demo": ("streamgate.cli.demo", "Show the gate at work on a synthetic camera."),
    "models": ("streamgate.cli.models", "List, fetch and verify models."),
    "score": ("streamgate.cli.score", "Score the faces of photographs."),
    "extract": ("streamgate.cli.extract", "Write GraFIQs score files for a folder of crops."),
    "edc": ("streamgate.cli.edc", "Compute error-versus-discard curves of score files."),
    "calibrate": ("streamgate.cli.calibrate", "Fit the quality scale to a set of faces."),
    "replay": ("streamgate.cli.replay", "Compare the gate with other rules on recorded videos."),
    "distill": ("streamgate.cli.distill", "Make a quality network from any recogniser."),
    "export": ("streamgate.cli.export", "Export the score as an ONNX graph."),
}


class _Commands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            raise click.UsageError(f"no command {name!r}; there are: {', '.join(_COMMANDS)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StreamgateError as error:
            sys.exit(tell(error))


def tell(error: StreamgateError, secrets: Iterable[str] = ()) -> int:
    """Say on stderr what went wrong, without the secrets, and return the exit code."""
    if isinstance(error, ConfigError):
        click.echo(str(error), err=True)
        return 2
    from streamgate.values.redaction import redact

    click.echo(f"streamgate: {redact(str(error), secrets)}", err=True)
    return 1


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def app() -> None:
    """A streaming quality gate between a camera and a face recogniser."""
