"""What must be there before a camera can run: looked for before it is started, and by `check`.

Both ask the same questions of the same code, so that a configuration that passes is one that
starts. No camera is opened and no server is asked; `online` does that.
"""

from __future__ import annotations

import errno
import http.client
import importlib.util
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

import av

from streamgate.config import (
    CameraConfig,
    DirectorySinkSection,
    FileSection,
    GateSection,
    HttpSinkSection,
    KafkaSinkSection,
    LoadedConfig,
    RtspSection,
    SinkSection,
    SqliteOutboxSection,
    WhepSection,
)
from streamgate.config.faults import Fault, KeyPath
from streamgate.config.service_address import parse_address
from streamgate.config.tls import trusting
from streamgate.daemon.delivery import build_sink
from streamgate.delivery.durable.cipher import Cipher
from streamgate.delivery.durable.faults import StoreCorruptError, StoreFaultError
from streamgate.delivery.durable.file import open_file
from streamgate.delivery.sinks.secure import tls_context
from streamgate.errors import (
    ConfigError,
    DeliveryError,
    DetectorError,
    ModelError,
    OutboxError,
    StreamgateError,
)
from streamgate.faces.detect import YuNetDetector
from streamgate.models.extras import grpc_installed
from streamgate.models.registry import ModelState, find, installed, state_of
from streamgate.quality import Calibration, Scorer
from streamgate.quality.choice import choose
from streamgate.quality.remote.expected import expected_model
from streamgate.quality.score_sketch import ScoreSketch
from streamgate.quality.threshold import with_threshold
from streamgate.sources.opening import NoVideoError, Opening, open_video

__all__ = ["Finding", "Severity", "preflight", "require_startable"]

_OWN_HEALTH_S = 2.0
_OWN_HEALTH_BYTES = 4096


class Severity(StrEnum):
    """What a finding means for a start."""

    REFUSED = "refused"
    """The camera cannot run."""
    UNUSABLE = "unusable"
    """It can run, but a part of it cannot work as things are; that may change while it runs."""
    DOUBTFUL = "doubtful"
    """It can run, and probably not as it was meant."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, and how bad that is."""

    severity: Severity
    fault: Fault


_Found = tuple[Severity, KeyPath, str, str]
_Check = Callable[[CameraConfig], Iterator[_Found]]


def preflight(loaded: LoadedConfig, *, models: bool = True) -> list[Finding]:
    """Look at everything that a configuration names, and return what is wrong, by line.

    Args:
        models: load the models too, which takes seconds.
    """
    findings = [Finding(Severity.DOUBTFUL, warning) for warning in loaded.warnings]
    for check in (*_CHECKS, *(_MODEL_CHECKS if models else ())):
        for severity, path, got, wanted in check(loaded.config):
            findings.append(Finding(severity, loaded.fault(path, _line(got), _line(wanted))))
    findings += _of_profiles(loaded)
    findings.sort(key=lambda finding: finding.fault.line)
    return findings


def _of_profiles(loaded: LoadedConfig) -> Iterator[Finding]:
    """What the sinks of profiles lack."""
    for name in loaded.config.profiles:
        if ("profiles", name, "delivery", "sinks") not in loaded.lines:
            continue
        for severity, path, got, wanted in _sinks(loaded.config.under(name)):
            fault = loaded.fault(("profiles", name, *path), _line(got), _line(wanted))
            yield Finding(severity, fault)


def require_startable(loaded: LoadedConfig) -> list[Fault]:
    """Return what deserves a warning before a start.

    Models are left to the start itself, which loads them with the same code.

    Raises:
        StreamgateError: the camera cannot run; the message lists every reason, one a line.
    """
    findings = preflight(loaded, models=False)
    refused = [found.fault for found in findings if found.severity is Severity.REFUSED]
    if refused:
        # All at once, now that there is no hurry.
        findings = preflight(loaded)
        refused = [found.fault for found in findings if found.severity is Severity.REFUSED]
        # Not a fault of the file's text: what is missing may come, and a restart is worth a try.
        told = "\n".join(f"{loaded.path}:{fault}" for fault in refused)
        raise StreamgateError(f"the camera cannot run as things are\n{told}")
    return [found.fault for found in findings]


def _line(text: str) -> str:
    return " ".join(text.split())


# --- the source ---


def _source(config: CameraConfig) -> Iterator[_Found]:
    match config.source:
        case FileSection() as section:
            yield from _video(section)
        case RtspSection() as section:
            yield from _url(section.url, ("source", "url"))
            if section.ca_file is not None and section.tls_verify:
                yield from _authority(section.ca_file, ("source", "ca_file"))
        case WhepSection() as section:
            yield from _url(section.url, ("source", "url"))
            if section.ca_file is not None:
                yield from _authority(section.ca_file, ("source", "ca_file"))


def _video(section: FileSection) -> Iterator[_Found]:
    path, key = section.path, ("source", "path")
    if not path.is_file():
        got = f"{path}, which is no file" if path.exists() else f"{path}, where there is no file"
        yield Severity.REFUSED, key, got, "a video file"
        return
    try:
        with open_video(Opening(str(path), live=False)) as (container, stream):
            picture = next(iter(container.decode(stream)), None)
    except NoVideoError:
        yield Severity.REFUSED, key, f"{path}, which has no video stream", "a video file"
        return
    except (av.FFmpegError, OSError) as error:
        reason = error.strerror or type(error).__name__
        got = f"{path}, which cannot be read as video ({reason})"
        yield Severity.REFUSED, key, got, "a complete video file"
        return
    if picture is None:
        got = f"{path}, which holds no picture that can be decoded"
        yield Severity.REFUSED, key, got, "a complete video file"


def _url(url: str, key: KeyPath) -> Iterator[_Found]:
    """What no client can use, whatever the server says."""
    if any(character.isspace() or not character.isprintable() for character in url):
        yield Severity.REFUSED, key, "an address with a space in it", "%20 in its place"
        return
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        yield Severity.REFUSED, key, f"no address ({error})", "scheme://host:port/path"
        return
    if not host:
        yield Severity.REFUSED, key, "an address without a host", "scheme://host:port/path"
    elif port == 0:
        yield Severity.REFUSED, key, "port 0", "a port from 1 to 65535"


def _authority(path: Path, key: KeyPath) -> Iterator[_Found]:
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or getattr(error, "reason", None) or type(error).__name__
        got = f"{path}, which holds no certificates that can be used ({reason})"
        yield Severity.REFUSED, key, got, "a PEM file"


# --- delivery ---


def _sinks(config: CameraConfig) -> Iterator[_Found]:
    for number, section in enumerate(config.delivery.sinks):
        key: KeyPath = ("delivery", "sinks", number)
        try:
            # It connects when it is first used, and not here.
            build_sink(section)
        except ConfigError as error:
            yield Severity.REFUSED, (*key, "kind"), f"{section.kind}", str(error)
            continue
        if isinstance(section, DirectorySinkSection):
            yield from _folder(section.path, (*key, "path"))
        else:
            yield from _network_sink(section, key)


def _network_sink(section: SinkSection, key: KeyPath) -> Iterator[_Found]:
    assert not isinstance(section, DirectorySinkSection)
    if isinstance(section, KafkaSinkSection):
        for server in section.servers:
            yield from _url(f"kafka://{server}", (*key, "servers"))
    else:
        yield from _url(section.url, (*key, "url"))
    if isinstance(section, HttpSinkSection) and section.answers is not None:
        yield from _file(section.answers.path, (*key, "answers", "path"))
    if section.ca_file is None and section.client_cert_file is None:
        return
    try:
        tls_context(section)
    except DeliveryError as error:
        name = "ca_file" if section.client_cert_file is None else "client_cert_file"
        yield Severity.REFUSED, (*key, name), str(error), "PEM files that fit together"


def _outbox(config: CameraConfig) -> Iterator[_Found]:
    section, key = config.delivery.outbox, ("delivery", "outbox", "path")
    if not isinstance(section, SqliteOutboxSection):
        return
    found = list(_file(section.path, key, Severity.REFUSED))
    yield from found
    if found or not section.path.is_file() or section.path.stat().st_size == 0:
        return
    try:
        open_file(section.path, Cipher(section.keys), config.camera.name).close()
    except OutboxError as error:
        yield Severity.REFUSED, key, str(error), "an outbox of this camera, with its keys"
    except (StoreFaultError, StoreCorruptError) as error:
        yield Severity.DOUBTFUL, key, str(error), "a sound file; the camera recovers what it can"


def _logs(config: CameraConfig) -> Iterator[_Found]:
    if config.delivery.decision_log is not None:
        yield from _file(config.delivery.decision_log.path, ("delivery", "decision_log", "path"))


def _tracing(config: CameraConfig) -> Iterator[_Found]:
    if config.tracing.endpoint is None:
        return
    key = ("tracing", "endpoint")
    yield from _url(config.tracing.endpoint, key)
    with suppress(ModuleNotFoundError):
        if importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None:
            return
    yield (
        Severity.REFUSED,
        key,
        "an endpoint, but OpenTelemetry is not installed",
        "pip install 'streamgate[otel]'",
    )


# --- the web server ---


def _web(config: CameraConfig) -> Iterator[_Found]:
    web = config.web
    if not web.enabled:
        return
    if web.cert_file is not None:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            # Without a function it would ask the terminal for a passphrase.
            context.load_cert_chain(web.cert_file, web.key_file, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror or getattr(error, "reason", None) or type(error).__name__
            got = f"{web.cert_file}, which cannot be used ({reason})"
            wanted = "a PEM certificate and its key, not encrypted, in cert_file and key_file"
            yield Severity.REFUSED, ("web", "cert_file"), got, wanted
    yield from _listening(config)


def _listening(config: CameraConfig) -> Iterator[_Found]:
    host, port = config.web.host, config.web.port
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        yield Severity.REFUSED, ("web", "host"), f"{host}, which is no address", "an address"
        return
    family, kind, protocol, _, address = places[0]
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            number, reason = error.errno, error.strerror
        else:
            return
    if number == errno.EADDRINUSE and _is_this_camera(config):
        # Its file is checked while it runs.
        return
    of_port = number in (errno.EADDRINUSE, errno.EACCES)
    yield (
        Severity.REFUSED,
        ("web", "port" if of_port else "host"),
        f"{port if of_port else host}, but nothing may listen: cannot listen on {host}:{port} "
        f"({reason})",
        "a free port, or 0 for any" if of_port else "an address of this machine",
    )


def _is_this_camera(config: CameraConfig) -> bool:
    """Whether what listens at the camera's own address is the camera itself."""
    web = config.web
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(web.host, web.host)  # noqa: S104 - compared
    try:
        if web.cert_file is None:
            connection = http.client.HTTPConnection(host, web.port, timeout=_OWN_HEALTH_S)
        else:
            # Only its name is asked for, on this machine.
            context = ssl._create_unverified_context()  # noqa: S323
            connection = http.client.HTTPSConnection(
                host, web.port, timeout=_OWN_HEALTH_S, context=context
            )
        with closing(connection):
            connection.request("GET", "/healthz")
            told = json.loads(connection.getresponse().read(_OWN_HEALTH_BYTES))
    except (OSError, http.client.HTTPException, ValueError):
        return False
    return isinstance(told, dict) and told.get("camera") == config.camera.name


# --- the models ---


def _detector_file(config: CameraConfig) -> Iterator[_Found]:
    """Whether it is there: in no case is it fetched, which may take minutes."""
    name, key = config.detector.model, ("detector", "model")
    try:
        state = state_of(find(name))
    except ModelError as error:
        yield Severity.REFUSED, key, str(error), "yunet"
        return
    if state is not ModelState.PRESENT:
        wanted = f"its file; fetch it with: streamgate models pull {name}"
        yield Severity.REFUSED, key, f"{name}, which is {state}", wanted


def _sketch(config: CameraConfig) -> Iterator[_Found]:
    path, key = config.quality.sketch, ("quality", "sketch")
    if path is None:
        return
    if not path.parent.is_dir():
        got = f"{path}, whose folder is not there"
        yield Severity.REFUSED, key, got, "a file in a folder that exists"
        return
    try:
        if path.exists():
            ScoreSketch.load(path)
        else:
            ScoreSketch("", "")
    except ModelError as error:
        yield Severity.REFUSED, key, str(error), "a sketch of this program, or another file"
        return
    yield from _file(path, key)


def _detector(config: CameraConfig) -> Iterator[_Found]:
    with suppress(ModelError):
        try:
            YuNetDetector(config.detector, installed(config.detector.model))
        except DetectorError as error:
            yield Severity.REFUSED, ("detector", "model"), str(error), "yunet"


def _service(config: CameraConfig) -> Iterator[_Found]:
    """Whether services can be used; they are asked by `online`."""
    section = config.quality
    if not section.service:
        return
    if not grpc_installed():
        wanted = "pip install 'streamgate[service]'"
        yield (
            Severity.REFUSED,
            ("quality", "service"),
            "services, but gRPC is not installed",
            wanted,
        )
        return
    addresses = [parse_address(text) for text in section.service]
    if any(address.tls for address in addresses):
        authorities, chain = section.service_ca_file, section.service_cert_file
        try:
            trusting(authorities, chain, section.service_key_file)
        except ConfigError as error:
            name = "service_ca_file" if chain is None else "service_cert_file"
            yield Severity.REFUSED, ("quality", name), str(error), "PEM files that fit together"
    if section.service_token is not None and any(
        not address.tls and not address.local for address in addresses
    ):
        yield (
            Severity.DOUBTFUL,
            ("quality", "service_token"),
            "a token that is sent to another machine without TLS",
            "grpcs:// in quality.service",
        )


def _remote_quality(config: CameraConfig) -> Iterator[_Found]:
    """What a camera with a service reads of the network: its hash and its calibration."""
    try:
        model = expected_model(config.quality)
    except ModelError as error:
        named = config.quality.calibration
        of_calibration = named is not None and str(named) in str(error)
        name = "calibration" if of_calibration else "weights"
        yield Severity.REFUSED, ("quality", name), str(error), "the files that the services have"
        return
    yield from _threshold(config.gate, model.calibration)


def _quality(config: CameraConfig) -> Iterator[_Found]:
    section = config.quality
    if section.service and section.on_loss == "skip":
        yield from _remote_quality(config)
        return
    device, precision = section.device, section.precision
    try:
        choose(device, precision)
    except ModelError as error:
        name = "precision" if "precision" in str(error) else "device"
        wanted = "auto, cpu, or a CUDA device that is there; float32 where there is none"
        yield Severity.REFUSED, ("quality", name), str(error), wanted
        # The files may be at fault as well.
        device, precision = "cpu", "float32"
    try:
        scorer = Scorer.load(
            section.weights,
            group=section.group,
            device=device,
            precision=precision,
            batch_size=section.batch_size,
            calibration=section.calibration,
            cuda_graphs=section.cuda_graphs,
        )
    except StreamgateError as error:
        # A calibration is read when the weights are known to be good.
        of_calibration = section.calibration is not None and str(section.calibration) in str(error)
        name = "calibration" if of_calibration else "weights"
        wanted = (
            "a calibration of these weights and this group"
            if of_calibration
            else "default, or a .safetensors or .pth file of an IResNet"
        )
        yield Severity.REFUSED, ("quality", name), str(error), wanted
        return
    yield from _threshold(config.gate, scorer._calibration)
    for name in config.profiles:
        gate = config.under(name).gate
        if gate != config.gate:
            for severity, path, got, wanted in _threshold(gate, scorer._calibration):
                if path[0] == "gate":
                    yield severity, ("profiles", name, *path), got, wanted


def _threshold(gate: GateSection, calibration: Calibration | None) -> Iterator[_Found]:
    try:
        settled = with_threshold(gate, calibration)
    except ConfigError as error:
        # It says `gate.NAME: got …; wanted …`.
        key, _, rest = str(error).partition(": got ")
        got, _, wanted = rest.rpartition("; wanted ")
        yield Severity.REFUSED, tuple(key.split(".")), got, wanted
        return
    if calibration is None:
        yield (
            Severity.DOUBTFUL,
            ("quality", "weights"),
            "weights without a calibration, so that quality only ranks and thresholds mean little",
            "a calibration: streamgate calibrate",
        )
        return
    best = max(calibration.quality)
    for name in ("min_quality", "release_quality"):
        threshold = getattr(settled, name)
        if threshold is not None and threshold > best:
            got = f"{threshold:g}, but no face is given more than {best:g} by this calibration"
            yield Severity.DOUBTFUL, ("gate", name), got, f"at most {best:g}"


# --- places on the disk ---


def _folder(path: Path, key: KeyPath, severity: Severity = Severity.UNUSABLE) -> Iterator[_Found]:
    """A folder that files are to be written into; it is made where it does not exist."""
    yield from _writable(path, path.absolute(), key, severity)


def _file(path: Path, key: KeyPath, severity: Severity = Severity.UNUSABLE) -> Iterator[_Found]:
    """A file that is to be written."""
    if _exists(path) and not path.is_file():
        yield severity, key, f"{path}, which is no file", "a file"
    elif _exists(path) and not os.access(path, os.R_OK | os.W_OK):
        yield severity, key, f"{path}, which may not be written", "a file that this user may write"
    else:
        yield from _writable(path, path.absolute().parent, key, severity)


def _writable(path: Path, folder: Path, key: KeyPath, severity: Severity) -> Iterator[_Found]:
    nearest = next((place for place in (folder, *folder.parents) if _exists(place)), folder)
    if not nearest.is_dir():
        yield severity, key, f"{path}, but {nearest} is no folder", "a place in a folder"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        got = f"{path}, but nothing may be written into {nearest}"
        yield severity, key, got, "a folder that this user may write into"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # What may not even be looked at is told as a folder that may not be written.
        return False


_CHECKS: tuple[_Check, ...] = (
    _source, _sinks, _outbox, _logs, _tracing, _web, _detector_file, _sketch, _service,
)  # fmt: skip
_MODEL_CHECKS: tuple[_Check, ...] = (_detector, _quality)
