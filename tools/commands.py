"""Make docs/commands.md, the page of every command, from the commands themselves.

python -m tools.commands           # write the page
python -m tools.commands --check   # change nothing; fail if the page is out of date
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from streamgate.cli import app
from tools.pages import write_or_check

__all__ = ["PAGE", "commands", "main", "page"]

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"

_HEAD = """\
<!-- Made by `python -m tools.commands`; a test compares it with the code. -->

# Commands

Every command explains itself with `--help`. Exit codes: 0 success, 1 failure, 2 wrong usage or
configuration.

The shell completes commands and options once it is told how. For bash, zsh or fish:

```sh
eval "$(_STREAMGATE_COMPLETE=bash_source streamgate)"          # in ~/.bashrc
eval "$(_STREAMGATE_COMPLETE=zsh_source streamgate)"           # in ~/.zshrc
_STREAMGATE_COMPLETE=fish_source streamgate | source           # in ~/.config/fish/config.fish
```

"""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield each command with the words by which it is called, in the order of `--help`."""
    context = click.Context(app, info_name="streamgate")
    yield from _below("streamgate", app, context)


def _below(
    called: str, group: click.Group, context: click.Context
) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, "it was listed"
        yield f"{called} {name}", command
        if isinstance(command, click.Group):
            inner = click.Context(command, info_name=name, parent=context)
            yield from _below(f"{called} {name}", command, inner)


def page() -> str:
    """Return the page."""
    return _HEAD + "\n".join(_section(called, command) for called, command in commands())


def _section(called: str, command: click.Command) -> str:
    context = click.Context(command, info_name=called)
    usage = " ".join(command.collect_usage_pieces(context))
    level = "#" * (len(called.split()))
    lines = [f"{level} `{called}`", "", f"`{called} {usage}`", "", *_prose(command), ""]
    rows = [row for parameter in command.params if (row := _row(parameter, context))]
    if rows:
        lines += ["| option | meaning | default |", "| --- | --- | --- |", *rows, ""]
    return "\n".join(lines)


def _prose(command: click.Command) -> list[str]:
    text = inspect.cleandoc(command.help or "").partition("\f")[0]
    blocks = []
    for paragraph in text.split("\n\n"):
        # What click was told not to wrap is shown as it stands.
        if paragraph.startswith("\b"):
            blocks.append("```\n" + paragraph.removeprefix("\b").strip("\n") + "\n```")
        else:
            blocks.append(" ".join(paragraph.split()))
    return ["\n\n".join(blocks)]


def _row(parameter: click.Parameter, context: click.Context) -> str | None:
    if not isinstance(parameter, click.Option) or parameter.hidden:
        return None
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if not (parameter.is_flag or parameter.count):
        names += f" {parameter.make_metavar(context)}"
    default = parameter.get_default(context)
    shown = ""
    if parameter.required:
        shown = "required"
    elif not parameter.is_flag and isinstance(default, str | int | float | Path):
        shown = f"`{default}`"
    cells = (names, " ".join((parameter.help or "").split()), shown)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> int:
    """Write the page, or with --check compare it; return the exit status."""
    return write_or_check("tools.commands", {PAGE: lambda _old: page()})


if __name__ == "__main__":
    sys.exit(main())
