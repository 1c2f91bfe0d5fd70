"""`python -m streamgate` and the console script."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NoReturn

from streamgate.cli import app


def main() -> None:
    """Run the command line."""
    # OpenCV says on standard error, in its own form, what our messages say as well. It reads this
    # when it is loaded; what somebody has set stays.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "FATAL")
    app(prog_name="streamgate", obj=leave_at_once)


def leave_at_once(code: int) -> NoReturn:
    """End the process without taking the interpreter down, for a command that has closed its own.

    On a busy machine the teardown of torch and PyAV alone was seen to take 16 seconds, and a thread
    that asks a dead name server would be waited for; a service manager would have killed us by now.
    """
    for stream in (sys.stdout, sys.stderr):
        # The reader may have gone before us.
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
