"""A real RabbitMQ for tests: one for the whole run, since it takes ten seconds to start.

It runs as whoever runs the tests, with its own folders, cookie and port mapper (epmd), which ends
with it. Debian's own start script insists on the user `rabbitmq`, so it is not used.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from tests import needs
from tests.servers.broker import free_port

__all__ = ["PASSWORD", "USER", "RabbitMq"]

USER, PASSWORD = "cam", "right"
_PROGRAMS = Path("/usr/lib/rabbitmq/bin")
_START_S = 180.0
_COMMAND_S = 60.0


class RabbitMq:
    """A broker at `port`, and with TLS at `tls_port` if it is given a certificate and its key."""

    def __init__(self, folder: Path, *, certificate: tuple[Path, Path] | None = None) -> None:
        if not (_PROGRAMS / "rabbitmq-server").is_file() or shutil.which("epmd") is None:
            needs.missing("RabbitMQ", "apt-get install rabbitmq-server")
        self.port, self.tls_port = free_port(), free_port()
        self._folder = folder
        self._mapper_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        lines = [f"default_user = {USER}", f"default_pass = {PASSWORD}", "loopback_users = none",
                 "disk_free_limit.absolute = 1MB", "max_message_size = 262144"]  # fmt: skip
        if certificate is not None:
            cert, key = certificate
            lines += [
                f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}", f"ssl_options.certfile = {cert}",
                f"ssl_options.keyfile = {key}", "ssl_options.verify = verify_none",
            ]  # fmt: skip
        (folder / "rabbit.conf").write_text("\n".join(lines) + "\n")
        (folder / "plugins").write_text("[].\n")

    @property
    def _environment(self) -> dict[str, str]:
        folder = self._folder
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"streamgate{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(self.port + 1 if self.port < 60_000 else self.port - 1),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbit.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            # One scheduler that does not spin: others test on this machine as well.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._mapper_port),
        }

    def __enter__(self) -> Self:
        with (self._folder / "out.txt").open("ab") as log:
            self._process = subprocess.Popen(
                [str(_PROGRAMS / "rabbitmq-server")], env=self._environment, stdout=log,
                stderr=log, cwd=self._folder, start_new_session=True,
            )  # fmt: skip
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        process, self._process = self._process, None
        if process is not None:
            # The script, its children and the virtual machine are one group of their own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(15)
        # The port mapper is a daemon, which outlives who has started it.
        mapper = ["epmd", "-port", str(self._mapper_port), "-kill"]
        subprocess.run(mapper, env=self._environment, capture_output=True, check=False)

    def wait(self) -> None:
        """Wait until it takes connections."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            if self._process is None or self._process.poll() is not None:
                break
            time.sleep(0.1)
        said = (self._folder / "out.txt").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"RabbitMQ does not start: {said}")

    def control(self, *words: str) -> str:
        """Run `rabbitmqctl`, which takes a second."""
        done = subprocess.run(
            [str(_PROGRAMS / "rabbitmqctl"), *words], env=self._environment, cwd=self._folder,
            capture_output=True, text=True, timeout=_COMMAND_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def freeze(self, *, frozen: bool = True) -> None:
        """Stop answering without closing anything, or go on."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP if frozen else signal.SIGCONT)
