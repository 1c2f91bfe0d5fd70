"""One camera's process: what it is made of, how it starts and how it stops."""

from streamgate.daemon.lifecycle import run_camera
from streamgate.daemon.observer import Observer

__all__ = ["Observer", "run_camera"]
