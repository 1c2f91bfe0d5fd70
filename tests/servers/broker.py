"""Real brokers for tests, each a process on loopback: started, stopped, started again."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests import needs

__all__ = ["Broker", "mosquitto", "nats", "redis", "tansu"]

START_TIMEOUT_S = 10.0


def free_port() -> int:
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Broker:
    """A server that listens on `port`; a restart takes the same port and the same data."""

    def __init__(self, command: Sequence[str], port: int, folder: Path) -> None:
        self.port = port
        self._command = command
        self._log = folder / "log.txt"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"{self._command[0]} does not start: {self._log.read_text()[-2000:]}")

    def stop(self, *, kill: bool = False) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            process.wait(START_TIMEOUT_S)

    def freeze(self, *, frozen: bool = True) -> None:
        """Stop answering without closing anything, or go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)
        threads = Path(f"/proc/{self._process.pid}/task")
        while frozen and any(_state(thread) != "T" for thread in threads.iterdir()):
            time.sleep(0.001)


def _state(thread: Path) -> str:
    """One letter: T is stopped."""
    with contextlib.suppress(OSError):
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    return "T"


def redis(folder: Path, *, password: str | None = None, options: Sequence[str] = ()) -> Broker:
    """Redis that writes each command to disk before it answers."""
    port = free_port()
    command = [
        needs.program("redis-server"), "--port", str(port), "--bind", "127.0.0.1",
        "--dir", str(folder), "--appendonly", "yes", "--appendfsync", "always", "--save", "",
    ]  # fmt: skip
    if password is not None:
        command += ["--requirepass", password]
    return Broker([*command, *options], port, folder)


def nats(
    folder: Path, *, user: str | None = None, password: str = "", max_payload: int = 1_048_576
) -> Broker:
    """NATS with JetStream."""
    port = free_port()
    config = folder / "nats.conf"
    text = f'listen: "127.0.0.1:{port}"\nmax_payload: {max_payload}\n'
    text += f'jetstream {{ store_dir: "{folder}/data" }}\n'
    if user is not None:
        text += f'authorization {{ user: "{user}", password: "{password}" }}\n'
    config.write_text(text)
    return Broker([needs.program("nats-server"), "-c", str(config)], port, folder)


def mosquitto(
    folder: Path, *, user: str | None = None, password: str = "", acl: str | None = None
) -> Broker:
    """Mosquitto; an access list is in its own format."""
    port = free_port()
    lines = [f"listener {port} 127.0.0.1", "persistence false", "user root"]
    if user is None:
        lines.append("allow_anonymous true")
    else:
        passwords = folder / "passwords"
        passwords.touch(0o600)
        tool = needs.program("mosquitto_passwd", package="mosquitto")
        subprocess.run([tool, "-b", str(passwords), user, password], check=True)
        lines += ["allow_anonymous false", f"password_file {passwords}"]
    if acl is not None:
        (folder / "acl").write_text(acl)
        lines.append(f"acl_file {folder}/acl")
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n")
    return Broker([needs.program("mosquitto"), "-c", str(config)], port, folder)


def tansu(folder: Path, *, authentication: bool = False, seen_at: int | None = None) -> Broker:
    """A broker that speaks Kafka's protocol; in memory, so that a restart begins anew.

    Args:
        authentication: it wants clients to sign in by SCRAM; there are no users.
        seen_at: the port at which clients are to reach it; default: its own.
    """
    program = Path(__file__).parent / "tansu" / "tansu"
    if not program.is_file():
        needs.missing("the broker Tansu", "tools/test_kafka.sh .venv/bin/python")
    port = free_port()
    command = [
        str(program), "broker", "--listener-url", f"tcp://127.0.0.1:{port}",
        "--advertised-listener-url", f"tcp://127.0.0.1:{seen_at or port}",
    ]  # fmt: skip
    if authentication:
        command.append("--authentication")
    return Broker(command, port, folder)
