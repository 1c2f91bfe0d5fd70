"""`python -m streamgate.quality.convert FILE OUTPUT`: read with torch, and be gone with it."""

from __future__ import annotations

import sys
from pathlib import Path

from streamgate.errors import ModelError
from streamgate.quality.checkpoint import convert


def main() -> int:
    """Convert a checkpoint; a refusal is the last line on stderr."""
    source, output = sys.argv[1:]
    try:
        convert(Path(source), Path(output))
    except ModelError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
