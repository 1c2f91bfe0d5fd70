"""A small ONVIF camera: it answers probes, and names its streams to who may know."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

__all__ = ["OnvifServer"]

_GROUP, _PORT = "239.255.255.250", 3702
_SOAP = (
    '<?xml version="1.0"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
    'xmlns:tds="http://www.onvif.org/ver10/device/wsdl" '
    'xmlns:trt="http://www.onvif.org/ver10/media/wsdl" '
    'xmlns:tt="http://www.onvif.org/ver10/schema"><s:Body>{}</s:Body></s:Envelope>'
)
_REFUSED = (
    '<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value xmlns:ter="http://www.onvif.'
    'org/ver10/error">ter:NotAuthorized</s:Value></s:Subcode></s:Code><s:Reason><s:Text xml:lang='
    '"en">Sender not Authorized</s:Text></s:Reason></s:Fault>'
)
_MATCH = (
    '<?xml version="1.0"?><e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" '
    'xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><e:Body><d:ProbeMatches>'
    "<d:ProbeMatch><d:Scopes>onvif://www.onvif.org/type/video onvif://www.onvif.org/name/"
    "Front%20door</d:Scopes><d:XAddrs>{}</d:XAddrs></d:ProbeMatch></d:ProbeMatches></e:Body>"
    "</e:Envelope>"
)


class OnvifServer:
    """A camera on the loopback interface.

    Args:
        streams: name, width, height and address of each stream.
        user, password: who may ask.
    """

    def __init__(
        self, *streams: tuple[str, int, int, str], user: str = "viewer", password: str = "secret"
    ) -> None:
        self.user, self.password = user, password
        self.streams = streams
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status, body = camera.answer(asked)
                data = _SOAP.format(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/soap+xml")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/onvif/device_service"
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((_GROUP, _PORT))
        membership = struct.pack("4s4s", socket.inet_aton(_GROUP), socket.inet_aton("127.0.0.1"))
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        self._socket.settimeout(0.1)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._server.serve_forever),
            threading.Thread(target=self._answer_probes),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._server.shutdown()
        for thread in self._threads:
            thread.join()
        self._server.server_close()
        self._socket.close()

    def answer(self, asked: str) -> tuple[int, str]:
        """The status and the body for a question."""
        if "GetSystemDateAndTime" in asked:
            return 200, "<tds:GetSystemDateAndTimeResponse/>"
        if not self._is_authorized(asked):
            return 400, _REFUSED
        if "GetCapabilities" in asked:
            media = f"<tt:Media><tt:XAddr>{self.url}</tt:XAddr></tt:Media>"
            return 200, (
                "<tds:GetCapabilitiesResponse><tds:Capabilities>"
                f"{media}</tds:Capabilities></tds:GetCapabilitiesResponse>"
            )
        if "GetStreamUri" in asked:
            number = int(re.findall(r"ProfileToken>p(\d+)<", asked)[0])
            uri = f"<trt:MediaUri><tt:Uri>{self.streams[number][3]}</tt:Uri></trt:MediaUri>"
            return 200, f"<trt:GetStreamUriResponse>{uri}</trt:GetStreamUriResponse>"
        profiles = "".join(
            f'<trt:Profiles token="p{number}" fixed="true"><tt:Name>{name}</tt:Name>'
            f'<tt:VideoEncoderConfiguration token="v{number}"><tt:Resolution><tt:Width>{width}'
            f"</tt:Width><tt:Height>{height}</tt:Height></tt:Resolution>"
            "</tt:VideoEncoderConfiguration></trt:Profiles>"
            for number, (name, width, height, _) in enumerate(self.streams)
        )
        return 200, f"<trt:GetProfilesResponse>{profiles}</trt:GetProfilesResponse>"

    def _is_authorized(self, asked: str) -> bool:
        """Check the digest of the UsernameToken profile."""
        parts = {
            name: found[0]
            for name in ("Username", "Password", "Nonce", "Created")
            if (found := re.findall(rf"{name}(?:\s[^>]*)?>([^<]*)<", asked))
        }
        if len(parts) < 4 or parts["Username"] != self.user:
            return False
        told = base64.b64decode(parts["Nonce"]) + (parts["Created"] + self.password).encode()
        wanted = base64.b64encode(hashlib.sha1(told).digest()).decode()
        return bool(parts["Password"] == wanted)

    def _answer_probes(self) -> None:
        while not self._stop.is_set():
            try:
                data, sender = self._socket.recvfrom(65_536)
            except TimeoutError:
                continue
            if b"Probe" in data:
                self._socket.sendto(_MATCH.format(self.url).encode(), sender)
