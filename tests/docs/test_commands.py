"""The page of commands: made from the code, and whole."""

from __future__ import annotations

from tools.commands import PAGE, commands, page


def test_what_is_checked_in_is_what_the_code_makes() -> None:
    """`python -m tools.commands` would change nothing."""
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_command_is_explained() -> None:
    """Each has a sentence."""
    for called, command in commands():
        assert (command.help or "").strip(), called
