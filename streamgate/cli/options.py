"""Options that several commands share, so that what means the same is called the same.

Nothing heavy is imported here: `--help` must not wait for torch. What is spelt out because of that
is compared with its origin by a test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

__all__ = [
    "BACKBONES",
    "GROUPS",
    "batch_size",
    "device",
    "group",
    "recogniser",
    "renamed",
    "weights",
]

GROUPS = ("image", "block1", "block2", "block3", "block4")
BACKBONES = ("iresnet18", "iresnet34", "iresnet50", "iresnet100")

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

weights: _Decorator = click.option(
    "--weights",
    default="default",
    show_default=True,
    help="default, or a .safetensors or .pth file.",
)
group: _Decorator = click.option(
    "--group",
    type=click.Choice(GROUPS),
    default="block4",
    show_default=True,
    help="Where the gradient is taken.",
)
device: _Decorator = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu or cuda:N."
)
batch_size: _Decorator = click.option(
    "--batch-size", type=click.IntRange(min=1), help="Faces scored at once."
)

_RECOGNISER = (
    click.option("--recogniser-size", type=int, default=112, show_default=True, help="Pixels."),
    click.option(
        "--recogniser-color", type=click.Choice(["rgb", "bgr"]), default="rgb", show_default=True
    ),
    click.option("--recogniser-mean", type=float, default=127.5, show_default=True),
    click.option("--recogniser-std", type=float, default=127.5, show_default=True),
)


def recogniser(text: str) -> _Decorator:
    """An independent recogniser, an ONNX file, and the input that it expects."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(_RECOGNISER):
            command = option(command)
        return click.option("--recogniser", type=click.Path(path_type=Path), help=text)(command)

    return decorate


def renamed(names: Mapping[str, str]) -> type[click.Command]:
    """Return a command that still takes options by the names that they once had, and says so."""

    class Renamed(click.Command):
        def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
            return super().parse_args(ctx, [_new(arg) for arg in args])

    def _new(arg: str) -> str:
        name, equals, value = arg.partition("=")
        if name not in names:
            return arg
        click.echo(f"{name} is called {names[name]} now", err=True)
        return f"{names[name]}{equals}{value}"

    return Renamed
