"""`check --online`: what a camera and its sinks answer, without delivering anything."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis import Redis

from streamgate.config import load_config
from streamgate.daemon.online import Step, as_table, ask_all
from tests.cli.crops import invoke
from tests.daemon.films import film_visit
from tests.servers import broker as servers
from tests.servers.broker import Broker, free_port
from tests.servers.rtsp import RtspServer, require_server

_SECRET = "hunter2-never-shown"


def write(tmp_path: Path, source: dict[str, Any], *sinks: dict[str, Any]) -> Path:
    content = {
        "camera": {"name": "door"},
        "source": source,
        "quality": {"device": "cpu"},
        "delivery": {"sinks": list(sinks)},
        "web": {"port": 0},
    }
    file = tmp_path / "door.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def asked(
    tmp_path: Path, *sinks: dict[str, Any], source: dict[str, Any] | None = None
) -> list[Step]:
    """The steps of the sinks; the source is one that nobody has to open."""
    file = write(tmp_path, source or {"kind": "whip"}, *sinks)
    return ask_all(load_config(file), picture_s=10, sink_s=5)


@contextlib.contextmanager
def answering(status: int) -> Iterator[tuple[str, list[str]]]:
    """A web service that answers every OPTIONS with a status, and notes what it was asked."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_OPTIONS(self) -> None:
            seen.append(f"OPTIONS {self.headers.get('Authorization')}")
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            seen.append("POST")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/shots", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_camera_that_works_is_shown_with_its_faces(tmp_path: Path) -> None:
    """A picture has come, somebody is in it, the folder takes files; nothing is left there."""
    film = film_visit(tmp_path / "visit.mkv", stays_s=2)
    file = write(
        tmp_path,
        {"kind": "file", "path": str(film)},
        {"kind": "directory", "path": str(tmp_path / "shots")},
    )
    result = invoke("check", "--online", file)
    assert result.exit_code == 0, result.output
    assert "a picture of 320×240 pixels has come" in result.stdout
    assert "1 in this picture, 1 of them fit" in result.stdout
    assert "FAILED" not in result.stdout
    assert list((tmp_path / "shots").iterdir()) == []


def test_a_camera_that_is_away_is_told_at_once_and_sinks_are_asked_all_the_same(
    tmp_path: Path,
) -> None:
    """In the words of the log, with what to do; the exit code is 1."""
    file = write(
        tmp_path,
        {
            "kind": "rtsp", "url": f"rtsp://127.0.0.1:{free_port()}/stream", "username": "me",
            "password": _SECRET,
        },
        {"kind": "directory", "path": str(tmp_path / "shots")},
    )  # fmt: skip
    began = time.monotonic()
    result = invoke("check", "--online", file)
    assert result.exit_code == 1
    assert "nothing accepts connections there" in result.stdout
    assert "was written into" in " ".join(result.stdout.split())
    assert _SECRET not in result.output
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("password", "told"),
    [("right-one-2", "a picture of"), ("hunter2-never-shown", "refuses these credentials")],
)
def test_a_camera_is_opened_with_its_password(password: str, told: str, tmp_path: Path) -> None:
    """A wrong one is told at once, in the words of the log, and is not shown."""
    require_server()
    film = film_visit(tmp_path / "visit.mkv", stays_s=4)
    with RtspServer(film, user="me", password="right-one-2") as camera:
        source = {"kind": "rtsp", "url": camera.url, "username": "me", "password": password}
        file = write(tmp_path, source)
        steps = ask_all(load_config(file), picture_s=30)
    assert told in steps[0].told
    assert password not in as_table(steps)
    assert ("source.password" in steps[0].remedy) == (password == _SECRET)


def test_a_service_that_answers_is_not_sent_anything(tmp_path: Path) -> None:
    """OPTIONS with the token, and no POST; that it is refused as a method is no fault."""
    with answering(405) as (url, seen):
        (_, step) = asked(tmp_path, {"kind": "http", "url": url, "token": _SECRET})
    assert step.ok
    assert "HTTP 405" in step.told
    assert seen == [f"OPTIONS Bearer {_SECRET}"]


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (401, "check delivery.sinks[0].token"),
        (403, "check delivery.sinks[0].token"),
        (404, "check delivery.sinks[0].url"),
        (302, "delivery.sinks[0].url"),
        (502, "see its log"),
    ],
)
def test_a_service_that_refuses_is_told_with_what_to_do(
    status: int, remedy: str, tmp_path: Path
) -> None:
    """And the token is not shown."""
    with answering(status) as (url, _):
        (_, step) = asked(tmp_path, {"kind": "http", "url": url, "token": _SECRET})
    assert not step.ok
    assert remedy in step.remedy
    assert _SECRET not in as_table([step])


@pytest.mark.parametrize(
    "sink",
    [
        {"kind": "http", "url": "http://127.0.0.1:{port}/a"},
        {"kind": "redis", "url": "redis://127.0.0.1:{port}/0", "password": _SECRET},
        {"kind": "nats", "url": "nats://127.0.0.1:{port}", "token": _SECRET},
        {"kind": "mqtt", "url": "mqtt://127.0.0.1:{port}"},
        {"kind": "kafka", "servers": ["127.0.0.1:{port}"]},
    ],
    ids=lambda sink: sink["kind"],
)
@pytest.mark.parametrize("silent", [False, True], ids=["refusing", "silent"])
def test_a_sink_that_is_away_is_told_in_time(
    sink: dict[str, Any], silent: bool, tmp_path: Path
) -> None:
    """Whether it refuses connections or takes them and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if silent:
            listener.listen(8)
        port = str(listener.getsockname()[1])
        at_port = {
            name: [v.replace("{port}", port) for v in value]
            if isinstance(value, list)
            else value.replace("{port}", port)
            for name, value in sink.items()
        }
        began = time.monotonic()
        (_, step) = asked(tmp_path, {**at_port, "timeout_s": 1})
    assert not step.ok
    assert "delivery.sinks[0]" in step.remedy
    assert _SECRET not in as_table([step])
    assert time.monotonic() - began < 15


_BROKERS: dict[str, tuple[Callable[[Path], Broker], dict[str, Any]]] = {
    "redis": (servers.redis, {"kind": "redis", "url": "redis://127.0.0.1:{port}/0"}),
    "nats": (servers.nats, {"kind": "nats", "url": "nats://127.0.0.1:{port}", "stream": "shots"}),
    "mqtt": (servers.mosquitto, {"kind": "mqtt", "url": "mqtt://127.0.0.1:{port}"}),
}


@pytest.mark.parametrize("kind", _BROKERS)
def test_a_broker_that_is_there_is_only_asked(kind: str, tmp_path: Path) -> None:
    """It answers, and has nothing of ours afterwards."""
    make, sink = _BROKERS[kind]
    with make(tmp_path) as broker:
        url = sink["url"].replace("{port}", str(broker.port))
        (_, step) = asked(tmp_path, {**sink, "url": url})
        if kind == "redis":
            client: Redis = Redis(port=broker.port)
            assert client.dbsize() == 0
            client.close()
    assert step.ok, step.told


def test_a_key_of_another_kind_is_told(tmp_path: Path) -> None:
    """A delivery would be refused for ever."""
    with servers.redis(tmp_path) as broker:
        client: Redis = Redis(port=broker.port)
        client.set("streamgate:best-shots", "a text")
        client.close()
        url = f"redis://127.0.0.1:{broker.port}/0"
        (_, step) = asked(tmp_path, {"kind": "redis", "url": url})
    assert "holds something else" in step.told


def test_a_subject_that_no_stream_listens_to_is_told(tmp_path: Path) -> None:
    """Where the sink is not told to make one."""
    with servers.nats(tmp_path) as broker:
        url = f"nats://127.0.0.1:{broker.port}"
        (_, step) = asked(tmp_path, {"kind": "nats", "url": url})
    assert not step.ok
    assert "no stream listens" in step.told
