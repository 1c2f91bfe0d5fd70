"""An RTSP camera whose timestamps are chosen by the test: H.264 over TCP, in threads of its own."""

from __future__ import annotations

import base64
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.bitstream import BitStreamFilterContext

__all__ = ["StampedRtspServer", "access_units"]

_PACKET_BYTES = 1400
_SPS, _PPS, _DELIMITER = 7, 8, 9


def access_units(clip: Path) -> list[bytes]:
    """Return the coded pictures of an H.264 file, with start codes."""
    with av.open(str(clip)) as container:
        video = container.streams.video[0]
        to_start_codes = BitStreamFilterContext("h264_mp4toannexb", video)
        packets = [
            packet for each in container.demux(video) for packet in to_start_codes.filter(each)
        ]
        return [bytes(packet) for packet in packets if packet.size]


class StampedRtspServer:
    """A camera at `url` that plays coded pictures for ever.

    Args:
        pictures: with start codes; the first must hold the parameter sets.
        rate: pictures a second as they are sent.
        stamp: RTP timestamp of the picture with a number, counted from the start of the stream.
        due: when a picture is sent, in seconds since the start; by default as the rate says.
        first: which picture a client gets first.
    """

    def __init__(
        self,
        pictures: Sequence[bytes],
        *,
        rate: float,
        stamp: Callable[[int], int],
        due: Callable[[int], float] | None = None,
        first: int = 0,
    ) -> None:
        self._pictures = [_units(picture) for picture in pictures]
        self._stamp = stamp
        self._due = due or (lambda number: number / rate)
        self._first = first
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.sent_at: dict[int, float] = {}

    @property
    def url(self) -> str:
        """Address of the stream."""
        return f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/camera"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        for each in (self._listener, *self._connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="stamped-rtsp")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._stopped.is_set():
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections.append(connection)
                self._start(lambda connection=connection: self._serve(connection))  # type: ignore[misc] # bound at once

    def _serve(self, connection: socket.socket) -> None:
        lock = threading.Lock()
        with suppress(OSError, ValueError), connection.makefile("rb") as lines:
            while (line := lines.readline()) and not self._stopped.is_set():
                if line[:1] == b"$":
                    # A receiver report, which may hold a line's end.
                    head = (line + lines.read(max(0, 4 - len(line))))[:4]
                    length = struct.unpack(">H", head[2:4])[0]
                    lines.read(max(0, length - (len(line) - 4)))
                    continue
                method = line.split(b" ")[0].decode()
                headers = {}
                while (header := lines.readline().strip()) and b":" in header:
                    name, _, value = header.partition(b":")
                    headers[name.decode().lower()] = value.strip().decode()
                with lock:
                    connection.sendall(self._answer(method, headers.get("cseq", "0")))
                if method == "PLAY":
                    self._start(lambda: self._play(connection, lock))

    def _answer(self, method: str, sequence: str) -> bytes:
        head = ["RTSP/1.0 200 OK", f"CSeq: {sequence}", "Session: 1;timeout=60"]
        body = ""
        if method == "OPTIONS":
            head.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")
        elif method == "DESCRIBE":
            body = self._description()
            head += ["Content-Type: application/sdp", f"Content-Base: {self.url}/"]
        elif method == "SETUP":
            head.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
        head += [f"Content-Length: {len(body)}", "", body]
        return "\r\n".join(head).encode()

    def _description(self) -> str:
        units = [unit for picture in self._pictures for unit in picture]
        sets = [next(unit for unit in units if unit[0] & 31 == kind) for kind in (_SPS, _PPS)]
        parameters = ",".join(base64.b64encode(unit).decode() for unit in sets)
        return "\r\n".join(
            [
                "v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=camera", "c=IN IP4 0.0.0.0", "t=0 0",
                "a=control:*", "m=video 0 RTP/AVP 96", "a=rtpmap:96 H264/90000",
                f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={parameters}",
                "a=control:trackID=0", "",
            ]
        )  # fmt: skip

    def _play(self, connection: socket.socket, lock: threading.Lock) -> None:
        began_at, sequence = time.monotonic(), count(1)
        with suppress(OSError):
            for number in count():
                wait_s = began_at + self._due(number) - time.monotonic()
                if self._stopped.wait(max(0.0, wait_s)):
                    return
                picture = self._pictures[(self._first + number) % len(self._pictures)]
                packets = _packets(picture, self._stamp(number) & 0xFFFFFFFF, sequence)
                self.sent_at[number] = time.monotonic()
                with lock:
                    connection.sendall(packets)


def _units(picture: bytes) -> list[bytes]:
    found = [unit.rstrip(b"\0") for unit in picture.split(b"\x00\x00\x01")[1:]]
    return [unit for unit in found if unit and unit[0] & 31 != _DELIMITER]


def _packets(units: list[bytes], stamp: int, sequence: count[int]) -> bytes:
    """Return the interleaved RTP packets of a picture (RFC 6184, RFC 2326 section 10.12)."""
    out = bytearray()
    for unit in units:
        is_last_unit = unit is units[-1]
        parts = [unit]
        if len(unit) > _PACKET_BYTES:
            body = unit[1:]
            pieces = [body[at : at + _PACKET_BYTES] for at in range(0, len(body), _PACKET_BYTES)]
            parts = [
                bytes(
                    [
                        unit[0] & 0xE0 | 28,
                        unit[0] & 31 | (at == 0) << 7 | (at == len(pieces) - 1) << 6,
                    ]
                )
                + piece
                for at, piece in enumerate(pieces)
            ]
        for part in parts:
            marker = 0x80 if is_last_unit and part is parts[-1] else 0
            number = next(sequence) & 0xFFFF
            packet = struct.pack(">BBHII", 0x80, marker | 96, number, stamp, 0x1234) + part
            out += b"$\0" + struct.pack(">H", len(packet)) + packet
    return bytes(out)
