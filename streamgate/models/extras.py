"""Libraries that only some installations have."""

from __future__ import annotations

import importlib.util

from streamgate.errors import ModelError

__all__ = ["grpc_installed", "require_grpc"]


def grpc_installed() -> bool:
    """Return whether the extra `service` is installed."""
    try:
        return all(importlib.util.find_spec(name) for name in ("grpc", "google.protobuf"))
    except ModuleNotFoundError:
        # There is no package `google` either.
        return False


def require_grpc() -> None:
    """Raise ModelError unless the extra `service` is installed."""
    if not grpc_installed():
        raise ModelError("a scorer service needs gRPC: pip install 'streamgate[service]'")
