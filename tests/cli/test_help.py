"""What every command has in common: it answers `--help` at once, and names options alike."""

from __future__ import annotations

import ast
import subprocess
import sys

import click
import pytest

from streamgate.cli import app, distill, options, recognise, replay
from streamgate.lab.distill.training import Recipe
from streamgate.lab.replay import policies
from streamgate.quality import GROUPS
from streamgate.quality.iresnet import DEPTHS
from streamgate.recognise import gallery
from tests.cli.crops import invoke

_COMMANDS = (*app.list_commands(click.Context(app)), "")
_HEAVY = {
    "aiohttp", "av", "cv2", "numpy", "onnxruntime", "pydantic", "rich", "scipy", "structlog",
    "torch", "yaml",
}  # fmt: skip
_ASK = """
import sys
sys.argv = ["streamgate", *{words!r}, "--help"]
from streamgate.cli import app
try:
    app(prog_name="streamgate")
except SystemExit as end:
    assert not end.code
print(sorted(set(sys.modules) & {heavy!r}))
"""


@pytest.mark.parametrize("name", _COMMANDS)
def test_help_imports_nothing_heavy(name: str) -> None:
    """Not even numpy, which alone takes longer than an eye blinks."""
    words = [name] if name else []
    script = _ASK.format(words=words, heavy=_HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert "Usage: streamgate" in done.stdout
    assert ast.literal_eval(done.stdout.splitlines()[-1]) == []


def test_importing_the_package_is_light() -> None:
    """What it offers is imported when it is asked for."""
    script = f"import sys, streamgate; dir(streamgate); print(set(sys.modules) & {_HEAVY!r})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"


def test_what_the_options_spell_out_is_what_there_is() -> None:
    """They are written down a second time only because their origins bring torch."""
    assert tuple(map(str, GROUPS)) == options.GROUPS
    assert tuple(DEPTHS) == options.BACKBONES
    assert replay.POLICIES == policies.POLICIES
    assert recognise.THRESHOLD == gallery.THRESHOLD
    recipe = Recipe()
    assert {name: getattr(recipe, name) for name in distill.RECIPE} == distill.RECIPE


def test_an_option_of_one_name_means_the_same_everywhere() -> None:
    """Output goes to --out, pictures come from --images, and words are parted by hyphens."""
    context = click.Context(app)
    named: dict[str, set[str]] = {}
    for name in app.list_commands(context):
        command = app.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                for option in parameter.opts:
                    named.setdefault(option, set()).add(name)
    assert not {"--output", "--output-dir", "--image-path"} & set(named)
    assert not [option for option in named if "_" in option]
    assert {"demo", "extract", "export", "calibrate", "distill", "replay"} <= named["--out"]


def test_the_old_name_of_an_option_still_works_and_says_so() -> None:
    """Scripts that are written already go on."""
    result = invoke("export", "--output", "/nowhere/a.onnx", "--weights", "/nowhere/a.pth")
    assert result.exit_code == 1
    assert "--output is called --out now" in result.output
    assert "/nowhere/a.pth" in result.output
