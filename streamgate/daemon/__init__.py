"""One camera's process: its parts, start, stop and reload."""

from streamgate.daemon.lifecycle import run_camera
from streamgate.daemon.observer import Observer

__all__ = ["Observer", "run_camera"]
