"""The notification protocol, against a socket like the service manager's."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamgate.telemetry.notify import feed_watchdog, notify, reloading, watchdog_period_s

DEADLINE_S = 90.0
CAMERA = """
camera: {name: door}
source:
  kind: rtsp
  url: rtsp://127.0.0.1:9/nobody
  reconnect: {initial_s: 0.5, max_s: 0.5}
web: {enabled: false}
delivery:
  sinks: [{kind: directory, path: shots}]
"""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        server.settimeout(DEADLINE_S)
        yield server


def environment(manager: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(manager.getsockname()), **more}


def told(manager: socket.socket, line: str) -> list[str]:
    """Wait for a message that begins with this line, and return all its lines."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        lines = manager.recv(4096).decode().split("\n")
        if lines[0] == line:
            return lines
    pytest.fail(f"{line} was not told")


def test_lines_arrive_as_one_message(manager: socket.socket) -> None:
    """As sd_notify(3) wants them."""
    assert notify("READY=1", "STATUS=Watches door", environment=environment(manager))
    assert manager.recv(4096) == b"READY=1\nSTATUS=Watches door"


def test_the_abstract_namespace_is_written_with_an_at_sign() -> None:
    """Container runtimes use it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(f"\0streamgate-{os.getpid()}")
        assert notify("READY=1", environment={"NOTIFY_SOCKET": f"@streamgate-{os.getpid()}"})
        assert server.recv(64) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/notify"])
def test_without_a_manager_nothing_happens(address: str) -> None:
    """Neither an error nor a wait."""
    assert not notify("READY=1", environment={"NOTIFY_SOCKET": address})


def test_a_reload_carries_its_time(manager: socket.socket) -> None:
    """Type=notify-reload compares it with the time of its own signal."""
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    assert reloading(environment(manager))
    first, second = manager.recv(4096).decode().split("\n")
    assert first == "RELOADING=1"
    name, _, microseconds = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(microseconds) * 1e-6 + 1e-6
    assert int(microseconds) * 1e-6 <= time.clock_gettime(time.CLOCK_MONOTONIC)


@pytest.mark.parametrize(
    ("variables", "period_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 10.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_fed_where_it_is_asked_for(
    variables: dict[str, str], period_s: float | None
) -> None:
    """By the process that it was set for, three times within its limit."""
    assert watchdog_period_s(variables) == (None if period_s is None else pytest.approx(period_s))


async def test_a_sick_process_does_not_feed_the_watchdog(manager: socket.socket) -> None:
    """It says what is wrong, once, and feeds again when it is well."""
    manager.setblocking(False)
    faults = [None, "one frame has been in analysis for 31 s", "the same", None]

    def fault() -> str | None:
        return faults.pop(0) if len(faults) > 1 else faults[0]

    feeding = asyncio.create_task(
        feed_watchdog(fault, environment(manager, WATCHDOG_USEC=str(30_000)))
    )
    messages: list[str] = []
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(DEADLINE_S):
        while len(messages) < 3:
            messages.append((await loop.sock_recv(manager, 4096)).decode())
    feeding.cancel()
    assert messages == [
        "WATCHDOG=1",
        "STATUS=one frame has been in analysis for 31 s",
        "WATCHDOG=1",
    ]


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_daemon_tells_its_manager_how_it_is(manager: socket.socket, tmp_path: Path) -> None:
    """Ready though its camera is away, fed, reloading on SIGHUP, stopping on SIGTERM."""
    config = tmp_path / "door.yaml"
    config.write_text(CAMERA)
    variables = {**os.environ, **environment(manager, WATCHDOG_USEC="900000")}
    command = [sys.executable, "-m", "streamgate", "run", str(config)]
    with subprocess.Popen(command, cwd=tmp_path, env=variables, stderr=subprocess.PIPE) as process:
        try:
            assert told(manager, "READY=1")[1] == "STATUS=Watches door"
            told(manager, "WATCHDOG=1")
            process.send_signal(signal.SIGHUP)
            told(manager, "RELOADING=1")
            told(manager, "READY=1")
            process.send_signal(signal.SIGTERM)
            told(manager, "STOPPING=1")
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()
