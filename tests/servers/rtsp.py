"""A real RTSP camera for tests: gst-rtsp-server in a process of its own, fed with any clip."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import av
import numpy as np
from numpy.typing import NDArray

from tests import needs

__all__ = ["RtspServer", "read_stamp"]

SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("gst_rtsp_server.py")
START_TIMEOUT_S = 20.0
_PROBE = (
    "import gi\n"
    "gi.require_version('GstRtspServer', '1.0')\n"
    "from gi.repository import Gst, GstRtspServer\n"
    "Gst.init(None)\n"
    "names = ('appsrc', 'x264enc', 'x265enc', 'jpegenc', 'rtph264pay')\n"
    "raise SystemExit(any(Gst.ElementFactory.find(name) is None for name in names))\n"
)
_STAMP_BITS = 32
_STAMP_BLOCK_PX = 16


class RtspServer:
    """A camera at `url` that plays the clips in order and for ever, at their own frame rate.

    It is reached by TCP and by UDP. Clips of different sizes make the size change in mid-stream.

    Args:
        clips: video files of any kind that ffmpeg reads.
        codec: what the camera sends.
        user, password: what it asks for; no user means that nothing is asked for.
        digest: ask by Digest rather than by Basic.
        certificate: PEM file with certificate and key; given, the camera speaks RTSPS alone.
        port: port to bind on 127.0.0.1; 0 takes a free one, and a restart takes it again.
        stamp_time: draw the system's monotonic clock into each picture, see `read_stamp`; the
            clip must be at least 512 pixels wide.
    """

    def __init__(
        self,
        *clips: Path,
        codec: Literal["h264", "h265", "mjpeg"] = "h264",
        user: str | None = None,
        password: str = "",
        digest: bool = False,
        certificate: Path | None = None,
        port: int = 0,
        stamp_time: bool = False,
    ) -> None:
        self._settings: dict[str, Any] = {
            "clips": [_describe(clip) for clip in clips],
            "codec": codec,
            "user": user,
            "password": password,
            "digest": digest,
            "certificate": str(certificate) if certificate else None,
            "stamp_time": stamp_time,
        }
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address of the stream, without credentials."""
        scheme = "rtsps" if self._settings["certificate"] else "rtsp"
        return f"{scheme}://127.0.0.1:{self.port}/camera"

    def __enter__(self) -> Self:
        require_server()
        self.restart()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def restart(self, *clips: Path) -> None:
        """Start, on the same port as before; with other clips, if some are given."""
        self.kill()
        if clips:
            self._settings["clips"] = [_describe(clip) for clip in clips]
        settings = json.dumps({**self._settings, "port": self.port})
        with tempfile.TemporaryFile() as complaints:
            self._process = subprocess.Popen(
                [SYSTEM_PYTHON, str(SCRIPT), settings],
                stdout=subprocess.PIPE,
                stderr=complaints,
                start_new_session=True,
            )
            line = _first_line(self._process)
            if not line:
                self.kill()
                complaints.seek(0)
                raise RuntimeError(f"no RTSP server: {complaints.read().decode()}")
        self.port = int(line)

    def set_password(self, password: str) -> None:
        """Ask for another password from the next restart on."""
        self._settings["password"] = password

    def kill(self) -> None:
        """Die at once, without a word to those who watch."""
        process, self._process = self._process, None
        if process is None:
            return
        self._signal(process, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def freeze(self) -> None:
        """Hold still: connections stay open, and nothing is sent or answered."""
        if self._process is not None:
            self._signal(self._process, signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        if self._process is not None:
            self._signal(self._process, signal.SIGCONT)

    def _signal(self, process: subprocess.Popen[bytes], number: signal.Signals) -> None:
        # The server leads its own session, so that its ffmpeg goes with it.
        os.killpg(process.pid, number)


def require_server() -> None:
    """Skip the test where the programs of Debian that the camera is made of are missing."""
    needs.program("ffmpeg")
    needs.program(SYSTEM_PYTHON, package="python3")
    if subprocess.run([SYSTEM_PYTHON, "-c", _PROBE], capture_output=True, check=False).returncode:
        needs.missing(
            "gst-rtsp-server",
            "apt-get install gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 python3-gi "
            "gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad "
            "gstreamer1.0-plugins-ugly gstreamer1.0-rtsp",
        )


def read_stamp(image: NDArray[np.uint8]) -> float:
    """Read the clock that `stamp_time` drew: monotonic seconds at which the picture was taken.

    Args:
        image: RGB uint8 [H, W, 3].
    """
    half = _STAMP_BLOCK_PX // 2
    luma = image[half - 3 : half + 3].mean(axis=(0, 2))
    columns = [luma[bit * _STAMP_BLOCK_PX + half - 3 :][:6].mean() for bit in range(_STAMP_BITS)]
    return sum(1 << bit for bit, level in enumerate(columns) if level > 127) / 1000


def _describe(clip: Path) -> dict[str, Any]:
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 25)
        # 4:2:0 pictures have even sides.
        width, height = stream.codec_context.width // 2 * 2, stream.codec_context.height // 2 * 2
    return {"path": str(clip), "width": width, "height": height, "rate": rate}


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], START_TIMEOUT_S)
    return process.stdout.readline() if ready else b""
