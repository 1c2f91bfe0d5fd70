"""What stands around the daemon in these tests, and can be made to fail."""

from __future__ import annotations

import http.server
import json
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from pathlib import Path
from typing import Any, Self

import yaml

from tests.servers.broker import free_port

__all__ = ["Daemon", "Link", "Receiver"]


class Receiver:
    """Takes best shots by HTTP; it chokes on every second one if it is told to."""

    def __init__(self) -> None:
        self.port = free_port()
        self.chokes = False
        self._server: http.server.ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> None:
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                # By its key, so that a best shot fares the same at each try.
                odd = zlib.crc32(self.headers["Idempotency-Key"].encode()) % 2
                self.send_response(422 if receiver.chokes and odd else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self._server = self._thread = None


class Link:
    """A network between camera and daemon, with a delay that can be changed."""

    def __init__(self, camera_port: int) -> None:
        self.delay_s = 0.0
        self._camera_port = camera_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stopped.set()
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._camera_port), 5)
            except OSError:
                near.close()
                continue
            for one, other in ((near, far), (far, near)):
                waiting: queue.Queue[tuple[float, bytes]] = queue.Queue()
                threading.Thread(target=self._read, args=(one, waiting), daemon=True).start()
                threading.Thread(target=self._write, args=(other, waiting), daemon=True).start()

    def _read(self, source: socket.socket, waiting: queue.Queue[tuple[float, bytes]]) -> None:
        data = b"-"
        while data:
            try:
                data = source.recv(65_536)
            except OSError:
                data = b""
            waiting.put((time.monotonic() + self.delay_s, data))

    def _write(self, target: socket.socket, waiting: queue.Queue[tuple[float, bytes]]) -> None:
        while True:
            due, data = waiting.get()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if not data:
                    target.shutdown(socket.SHUT_RDWR)
                target.sendall(data)
            except OSError:
                data = b""
            if not data:
                target.close()
                return


class Daemon:
    """`streamgate run` of one camera."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.config = folder / "camera.yml"
        self._log = folder / "streamgate.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.configure({**config, "web": {"port": self.port}})

    def configure(self, config: dict[str, Any]) -> None:
        self.config.write_text(yaml.safe_dump(config))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
            self._process = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streamgate", "run", str(self.config)],
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """End at once, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the daemon has ended:\n{self._log.read_text()[-3000:]}")
        try:
            with urllib.request.urlopen(f"http://{self.address}/readyz", timeout=2) as answer:
                return bool(json.load(answer)["ok"])
        except OSError:
            return False

    def metrics(self, *, accept: str = "text/plain") -> str:
        """Return what is scraped."""
        request = urllib.request.Request(
            f"http://{self.address}/metrics", headers={"Accept": accept}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            text: str = answer.read().decode()
        return text
