"""A camera made of gst-rtsp-server: run by the system's Python, which has GStreamer's bindings.

Clips are decoded by ffmpeg, fed through `appsrc` at their own rate and encoded live, because a
looped file source ends after one pass. The only argument is JSON; see `RtspServer` in `rtsp.py`.
The port is written to standard output once connections are accepted.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import gi  # type: ignore[import-not-found]  # the system's Python has it, the project's does not

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import (  # type: ignore[import-not-found]  # noqa: E402  # as above
    Gio,
    GLib,
    Gst,
    GstRtsp,
    GstRtspServer,
)

ENCODERS = {
    # One slice a picture (threads=1): the payloader repeats the parameter sets before every slice
    # of a keyframe, and FFmpeg takes each repetition for the start of another picture.
    "h264": "x264enc tune=zerolatency threads=1 speed-preset=ultrafast key-int-max={gop} "
    "bitrate=2500 ! video/x-h264,profile=baseline "
    "! rtph264pay name=pay0 pt=96 config-interval=-1",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast key-int-max={gop} bitrate=2500 "
    "option-string=log-level=none "
    "! rtph265pay name=pay0 pt=96 config-interval=-1",
    "mjpeg": "jpegenc quality=85 ! rtpjpegpay name=pay0 pt=26",
}
STAMP_BITS = 32
STAMP_BLOCK_PX = 16


class Feeder(threading.Thread):
    """Pushes the decoded frames of the clips, one after the other and for ever, at their rate."""

    def __init__(self, appsrc: Any, clips: list[dict[str, Any]], stamp_time: bool) -> None:
        super().__init__(daemon=True)
        self._appsrc = appsrc
        self._clips = clips
        self._stamp_time = stamp_time
        self.stopped = threading.Event()

    def run(self) -> None:
        due = time.monotonic()
        for clip in itertools.cycle(self._clips):
            self._appsrc.set_property("caps", caps(clip))
            for picture in decoded(clip):
                due = max(due + 1 / clip["rate"], time.monotonic() - 0.2)
                if self.stopped.wait(max(0.0, due - time.monotonic())):
                    return
                if self._stamp_time:
                    stamp(picture, clip["width"])
                buffer = Gst.Buffer.new_wrapped(bytes(picture))
                if self._appsrc.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                    return


def caps(clip: dict[str, Any]) -> Any:
    size = f"width={clip['width']},height={clip['height']}"
    rate = f"framerate={round(clip['rate'] * 1000)}/1000"
    return Gst.Caps.from_string(f"video/x-raw,format=I420,{size},{rate},colorimetry=bt601")


def decoded(clip: dict[str, Any]) -> Iterator[bytearray]:
    width, height = clip["width"], clip["height"]
    command = ["ffmpeg", "-v", "error", "-nostdin", "-i", clip["path"], "-an"]
    command += ["-vf", f"scale={width}:{height}:out_color_matrix=bt601:out_range=tv"]
    command += ["-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]
    size = width * height * 3 // 2
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            while len(picture := process.stdout.read(size)) == size:
                yield bytearray(picture)
        finally:
            process.kill()


def stamp(picture: bytearray, width: int) -> None:
    """Draw the monotonic clock's milliseconds as black and white blocks at the top."""
    milliseconds = int(time.monotonic() * 1000)
    row = bytearray(width)
    for bit in range(min(STAMP_BITS, width // STAMP_BLOCK_PX)):
        level = 235 if milliseconds >> bit & 1 else 16
        first = bit * STAMP_BLOCK_PX
        row[first : first + STAMP_BLOCK_PX] = bytes([level]) * STAMP_BLOCK_PX
    picture[: width * STAMP_BLOCK_PX] = bytes(row) * STAMP_BLOCK_PX


def media_factory(settings: dict[str, Any]) -> Any:
    factory = GstRtspServer.RTSPMediaFactory()
    encoder = ENCODERS[settings["codec"]].format(gop=max(1, round(settings["clips"][0]["rate"])))
    source = "appsrc name=frames is-live=true do-timestamp=true format=time block=true"
    factory.set_launch(f"( {source} max-bytes=4000000 ! {encoder} )")
    factory.set_shared(True)

    def configure(_factory: Any, media: Any) -> None:
        appsrc = media.get_element().get_child_by_name("frames")
        feeder = Feeder(appsrc, settings["clips"], settings["stamp_time"])
        media.connect("unprepared", lambda _media: feeder.stopped.set())
        feeder.start()

    factory.connect("media-configure", configure)
    return factory


def authorise(settings: dict[str, Any], factory: Any) -> Any:
    """Ask for the password by the wanted method, over TLS where a certificate is given."""
    auth = GstRtspServer.RTSPAuth()
    if settings["certificate"]:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(settings["certificate"]))
    permissions = GstRtspServer.RTSPPermissions()
    for role in ("viewer", "anonymous"):
        permissions.add_permission_for_role(role, "media.factory.access", True)
        permissions.add_permission_for_role(role, "media.factory.construct", True)
    factory.set_permissions(permissions)
    token = GstRtspServer.RTSPToken()
    user, password = settings["user"], settings["password"]
    if not user:
        token.set_string("media.factory.role", "anonymous")
        auth.set_default_token(token)
    elif settings["digest"]:
        token.set_string("media.factory.role", "viewer")
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    else:
        token.set_string("media.factory.role", "viewer")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    return auth


def main() -> None:
    settings = json.loads(sys.argv[1])
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(settings["port"]))
    factory = media_factory(settings)
    if settings["user"] or settings["certificate"]:
        server.set_auth(authorise(settings, factory))
    server.get_mount_points().add_factory("/camera", factory)
    if server.attach(None) == 0:
        raise SystemExit(f"port {settings['port']} is taken")
    sys.stdout.write(f"{server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
