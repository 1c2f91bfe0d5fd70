"""What a head on this machine needs before Ray is imported, which reads it then."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from streamgate.config.fleet import FleetConfig

__all__ = ["head_folder", "use_token"]


def head_folder(config: FleetConfig) -> Path:
    """Where a head that `fleet up` has started on this machine keeps its files."""
    root = config.state or Path.home() / ".local" / "state" / "streamgate"
    return root / config.name


def use_token(config: FleetConfig) -> None:
    """Have Ray ask for a token that only this user can read: its ports run any program."""
    file = head_folder(config) / "ray-token"
    if not file.is_file():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(secrets.token_hex(32))
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(file)
