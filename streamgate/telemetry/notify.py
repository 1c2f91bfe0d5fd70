"""Notifications to the service manager: the process is ready, works, reloads its settings, stops.

The protocol is that of `sd_notify(3)`: one datagram of `KEY=value` lines to the socket that
`NOTIFY_SOCKET` names. Without that variable nothing is sent, so nothing here needs systemd.

The watchdog is fed only while the process is healthy. A process that hangs in a driver looks alive
from outside; one that no longer says so is killed and started again.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import structlog

__all__ = ["feed_watchdog", "notify", "reloading", "watchdog_period_s"]

log = structlog.get_logger(__name__)

_MICROSECOND = 1e-6


def notify(*lines: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send lines such as `READY=1`; never waits and never raises.

    Returns:
        Whether somebody listens.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address.startswith("@"):
        # The abstract namespace, written without its leading NUL.
        address = "\0" + address[1:]
    message = "\n".join(lines).encode()
    with (
        suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender,
    ):
        sender.setblocking(False)
        sender.sendto(message, address)
        return True
    return False


def reloading(environment: Mapping[str, str] = os.environ) -> bool:
    """Say that the settings are read again; `notify("READY=1")` says that they have been."""
    microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    return notify("RELOADING=1", f"MONOTONIC_USEC={microseconds}", environment=environment)


def watchdog_period_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """How often this process has to say that it works; None where nobody asks."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        limit_s = int(environment.get("WATCHDOG_USEC", "0")) * _MICROSECOND
    except ValueError:
        return None
    # Three times within the limit: one late turn of a loaded machine must not be fatal.
    return limit_s / 3 if limit_s > 0 else None


async def feed_watchdog(
    fault: Callable[[], str | None], environment: Mapping[str, str] = os.environ
) -> None:
    """Say that the process works for as long as it does; returns at once where nobody asks.

    Args:
        fault: what is wrong, or None.
        environment: where the service manager left its address and limit.
    """
    period_s = watchdog_period_s(environment)
    if period_s is None:
        return
    known: str | None = None
    while True:
        wrong = fault()
        if wrong is None:
            notify("WATCHDOG=1", environment=environment)
        elif known is None:
            log.error("the watchdog is not fed, so the service manager will restart", fault=wrong)
            notify(f"STATUS={wrong}", environment=environment)
        known = wrong
        await asyncio.sleep(period_s)
