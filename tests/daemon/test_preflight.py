"""What keeps a camera from running is found before it is started, and by `check`."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from streamgate.config import LoadedConfig, load_config
from streamgate.daemon.preflight import Finding, Severity, preflight, require_startable
from streamgate.delivery.durable.cipher import Cipher
from streamgate.delivery.durable.file import open_file
from streamgate.errors import StreamgateError
from streamgate.quality import Calibration, fit_percentile
from streamgate.quality.weights import load_weights
from tests.cli.crops import invoke
from tests.quality import cases

Change = Callable[[dict[str, Any], Path], None]


def settings(tmp_path: Path) -> dict[str, Any]:
    """A camera that would run."""
    return {
        "camera": {"name": "door"},
        "source": {"kind": "rtsp", "url": "rtsp://192.0.2.1/stream"},
        "quality": {"device": "cpu"},
        "delivery": {"sinks": [{"kind": "directory", "path": str(tmp_path / "shots")}]},
        "web": {"port": 0},
    }


def loaded(tmp_path: Path, change: Change | None = None) -> LoadedConfig:
    content = settings(tmp_path)
    if change is not None:
        change(content, tmp_path)
    file = tmp_path / "door.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return load_config(file)


def found(config: LoadedConfig, severity: Severity = Severity.REFUSED) -> list[Finding]:
    return [finding for finding in preflight(config) if finding.severity is severity]


@contextmanager
def answering(body: bytes) -> Iterator[int]:
    """A web server that says this at every address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def no_file(content: dict[str, Any], tmp_path: Path) -> None:
    content["source"] = {"kind": "file", "path": str(tmp_path / "none.mkv")}


def a_text(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "film.mkv").write_text("this is no film" * 100)
    content["source"] = {"kind": "file", "path": str(tmp_path / "film.mkv")}


def no_host(content: dict[str, Any], tmp_path: Path) -> None:
    content["source"]["url"] = "rtsp:///stream"


def a_port_beyond_all(content: dict[str, Any], tmp_path: Path) -> None:
    content["delivery"]["sinks"] = [{"kind": "http", "url": "http://192.0.2.1:99999/"}]


def no_weights(content: dict[str, Any], tmp_path: Path) -> None:
    content["quality"]["weights"] = str(tmp_path / "none.pth")


def weights_that_are_none(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"no weights")
    content["quality"]["weights"] = str(tmp_path / "w.safetensors")


def a_calibration_of_others(content: dict[str, Any], tmp_path: Path) -> None:
    calibration(tmp_path / "other.json", "0" * 64)
    content["quality"]["calibration"] = str(tmp_path / "other.json")


def errors_that_are_unknown(content: dict[str, Any], tmp_path: Path) -> None:
    content["gate"] = {"target_fnmr": 0.01}


def a_share_without_calibration(content: dict[str, Any], tmp_path: Path) -> None:
    content["quality"]["weights"] = str(cases.save(tmp_path, cases.TINY, seed=1))
    content["gate"] = {"discard": "20%"}


def another_gpu(content: dict[str, Any], tmp_path: Path) -> None:
    content["quality"]["device"] = "cuda:77"


def tf32_on_a_cpu(content: dict[str, Any], tmp_path: Path) -> None:
    content["quality"]["precision"] = "tf32"


def an_unknown_detector(content: dict[str, Any], tmp_path: Path) -> None:
    content["detector"] = {"model": "yunnet"}


def a_detector_that_is_none(content: dict[str, Any], tmp_path: Path) -> None:
    content["detector"] = {"model": "default"}


def a_sketch_without_folder(content: dict[str, Any], tmp_path: Path) -> None:
    content["quality"]["sketch"] = str(tmp_path / "none" / "sketch.json")


def an_outbox_below_a_file(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    content["delivery"]["outbox"] = {
        "kind": "sqlite", "path": str(tmp_path / "file" / "outbox.db"),
        "store_pictures_unencrypted": True,
    }  # fmt: skip


def authorities_that_are_none(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    content["delivery"]["sinks"] = [
        {"kind": "http", "url": "https://192.0.2.1/", "ca_file": str(tmp_path / "ca.pem")}
    ]


def a_certificate_that_is_none(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "web.pem").write_text("no certificate")
    content["web"]["cert_file"] = str(tmp_path / "web.pem")


def an_address_of_others(content: dict[str, Any], tmp_path: Path) -> None:
    content["web"] |= {"host": "192.0.2.77", "live_page": False}


@pytest.mark.parametrize(
    ("change", "key", "said"),
    [
        (no_file, "source.path", "there is no file"),
        (a_text, "source.path", "cannot be read as video"),
        (no_host, "source.url", "without a host"),
        (a_port_beyond_all, "delivery.sinks[0].url", "ort"),
        (no_weights, "quality.weights", "cannot be read"),
        (weights_that_are_none, "quality.weights", "damaged or no safetensors"),
        (a_calibration_of_others, "quality.calibration", "made for weights 000"),
        (errors_that_are_unknown, "gate.target_fnmr", "holds no errors"),
        (a_share_without_calibration, "gate.discard", "not calibrated"),
        (another_gpu, "quality.device", "is not there"),
        (tf32_on_a_cpu, "quality.precision", "needs a CUDA device"),
        (an_unknown_detector, "detector.model", "no model 'yunnet'"),
        (a_detector_that_is_none, "detector.model", "cannot be used"),
        (a_sketch_without_folder, "quality.sketch", "folder is not there"),
        (an_outbox_below_a_file, "delivery.outbox.path", "is no folder"),
        (authorities_that_are_none, "delivery.sinks[0].ca_file", "TLS cannot be set up"),
        (a_certificate_that_is_none, "web.cert_file", "cannot be used"),
        (an_address_of_others, "web.host", "nothing may listen"),
    ],
)  # fmt: skip
def test_what_run_would_refuse_is_found(
    change: Change, key: str, said: str, tmp_path: Path
) -> None:
    """With the line of its key, or of the section that it would belong to."""
    config = loaded(tmp_path, change)
    (finding,) = found(config)
    assert finding.fault.key == key
    assert said in finding.fault.got
    lines = config.path.read_text().splitlines()
    assert key.rpartition(".")[2] in lines[finding.fault.line - 1]


def test_a_good_configuration_has_no_finding(tmp_path: Path) -> None:
    """Neither fault nor doubt."""
    assert preflight(loaded(tmp_path)) == []


def test_a_model_that_is_missing_is_never_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that fetches it is named; with an index that hangs, waiting would show."""
    monkeypatch.setenv("STREAMGATE_CACHE", str(tmp_path / "cache"))
    (finding,) = found(loaded(tmp_path))
    assert finding.fault.key == "detector.model"
    assert "streamgate models pull yunet" in finding.fault.wanted


def test_a_sink_whose_library_is_missing_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the extra that brings it."""
    monkeypatch.setitem(sys.modules, "aiomqtt", None)
    monkeypatch.delitem(sys.modules, "streamgate.delivery.sinks.mqtt", raising=False)

    def change(content: dict[str, Any], tmp_path: Path) -> None:
        content["delivery"]["sinks"] = [{"kind": "mqtt", "url": "mqtt://192.0.2.1"}]

    (finding,) = found(loaded(tmp_path, change))
    assert finding.fault.key == "delivery.sinks[0].kind"
    assert "streamgate[mqtt]" in finding.fault.wanted
    monkeypatch.undo()
    importlib.import_module("streamgate.delivery.sinks.mqtt")


def test_a_folder_that_cannot_be_written_fails_check_and_not_a_start(tmp_path: Path) -> None:
    """A disk that is away for an hour must not keep a camera from starting."""

    def change(content: dict[str, Any], tmp_path: Path) -> None:
        (tmp_path / "shots").write_text("a file")

    config = loaded(tmp_path, change)
    assert [f.fault.key for f in found(config, Severity.UNUSABLE)] == ["delivery.sinks[0].path"]
    assert [fault.key for fault in require_startable(config)] == ["delivery.sinks[0].path"]
    assert invoke("check", config.path).exit_code == 2


def test_a_start_is_refused_with_every_reason_at_once(tmp_path: Path) -> None:
    """Those of the models too, which are not looked at where all else is well."""

    def change(content: dict[str, Any], tmp_path: Path) -> None:
        no_file(content, tmp_path)
        no_weights(content, tmp_path)

    with pytest.raises(StreamgateError) as refusal:
        require_startable(loaded(tmp_path, change))
    assert "source.path" in str(refusal.value)
    assert "quality.weights" in str(refusal.value)


def test_a_port_that_another_program_has_is_found(tmp_path: Path) -> None:
    """A camera that is checked while it runs has its port itself, and says its name there."""
    with answering(b'{"camera": "garden", "ok": true}') as port:

        def change(content: dict[str, Any], tmp_path: Path) -> None:
            content["web"]["port"] = port

        (finding,) = found(loaded(tmp_path, change))
        assert finding.fault.key == "web.port"
        assert f"cannot listen on 127.0.0.1:{port}" in finding.fault.got
    with answering(b'{"camera": "door", "ok": true}') as port:
        assert preflight(loaded(tmp_path, change)) == []


def test_an_outbox_of_another_camera_is_found(tmp_path: Path) -> None:
    """It is opened as the camera would open it."""
    open_file(tmp_path / "outbox.db", Cipher(()), "gate").close()

    def change(content: dict[str, Any], tmp_path: Path) -> None:
        content["delivery"]["outbox"] = {
            "kind": "sqlite", "path": str(tmp_path / "outbox.db"),
            "store_pictures_unencrypted": True,
        }  # fmt: skip

    (finding,) = found(loaded(tmp_path, change))
    assert "belongs to the camera gate" in finding.fault.got


def test_a_threshold_that_the_calibration_never_gives_is_doubted(tmp_path: Path) -> None:
    """Quality ends where the reference ends."""
    weights = cases.save(tmp_path, cases.TINY, seed=1)
    calibration(tmp_path / "c.json", load_weights(weights).sha256, best=80.0)

    def change(content: dict[str, Any], tmp_path: Path) -> None:
        content["quality"] |= {"weights": str(weights), "calibration": str(tmp_path / "c.json")}
        content["gate"] = {"min_quality": 90}

    (doubt,) = found(loaded(tmp_path, change), Severity.DOUBTFUL)
    assert doubt.fault.key == "gate.min_quality"
    assert "80" in doubt.fault.wanted


def calibration(path: Path, weights_sha256: str, *, best: float = 100.0) -> None:
    fitted = fit_percentile(
        np.array([1.0, 2.0, 3.0]), weights_sha256=weights_sha256, group="block4", source="test"
    )
    quality = tuple(q * best / 100.0 for q in fitted.quality)
    Calibration(weights_sha256, "block4", fitted.raw, quality, "test", 3).save(path)
