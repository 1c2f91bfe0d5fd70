"""The recogniser that best shots are posted to: a real HTTP server that checks what it is sent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Posted", "Recogniser"]


@dataclass(frozen=True)
class Posted:
    """One best shot as it came over the wire."""

    key: str
    metadata: dict[str, Any]
    crop: NDArray[np.uint8]
    at: float


class Recogniser:
    """Takes best shots at `url` and keeps each key once, as its users are told to do."""

    def __init__(self) -> None:
        self.posted: dict[str, Posted] = {}
        self.refusing = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not outer.refusing:
                    outer._take(self.headers["Idempotency-Key"], self.headers["Content-Type"], body)
                self.send_response(503 if outer.refusing else 204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        """Where to post."""
        return f"http://127.0.0.1:{self._server.server_port}/faces"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def until(
        self, holds: Callable[[list[Posted]], object], timeout_s: float = 90.0
    ) -> list[Posted]:
        """Wait until what has been posted fulfils a condition, and return it in order."""
        deadline = time.monotonic() + timeout_s
        while not holds(posted := list(self.posted.values())):
            if time.monotonic() > deadline:
                raise AssertionError(f"only {[(p.key, p.metadata['reason']) for p in posted]}")
            time.sleep(0.05)
        return posted

    def _take(self, key: str, content_type: str, body: bytes) -> None:
        message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
        parts: dict[Any, bytes] = {
            part.get_param("name", header="content-disposition"): _content(part)
            for part in message.walk()
            if not part.is_multipart()
        }
        crop = cv2.imdecode(np.frombuffer(parts["crop"], np.uint8), cv2.IMREAD_COLOR)
        assert crop is not None
        picture = np.asarray(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB), np.uint8)
        posted = Posted(key, json.loads(parts["metadata"]), picture, time.monotonic())
        self.posted.setdefault(key, posted)


def _content(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content
