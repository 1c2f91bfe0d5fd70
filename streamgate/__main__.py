"""`python -m streamgate` and the console script."""

from __future__ import annotations

from streamgate.cli import app


def main() -> None:
    """Run the command line."""
    app(prog_name="streamgate")


if __name__ == "__main__":
    main()
