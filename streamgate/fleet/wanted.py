"""From the fleet's file and the cameras' files to the processes that shall run.

Everything is validated before anything changes: one faulty file refuses the whole, with its line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from streamgate.config.camera import CameraConfig
from streamgate.config.fleet import CamerasSection, FleetConfig
from streamgate.config.load import parse_config, read_text
from streamgate.config.scorer_file import load_scorer_config
from streamgate.errors import ConfigError
from streamgate.fleet.spec import ProcessSpec

__all__ = ["SCORER_VARIABLE", "wanted_processes"]

SCORER_VARIABLE = "STREAMGATE_SCORER"
_ANY_SCORER = "grpc://127.0.0.1:8001"


def wanted_processes(fleet: FleetConfig, folder: Path) -> tuple[dict[str, ProcessSpec], list[str]]:
    """Return the processes by kind and name, and what deserves a warning.

    Args:
        folder: where relative paths of the fleet's file begin.

    Raises:
        ConfigError: a file is at fault, or two cameras have one name; all faults, one a line.
    """
    wanted: dict[str, ProcessSpec] = {}
    faults: list[str] = []
    warnings: list[str] = []
    origin: dict[str, Path] = {}
    for scorer in fleet.scorers:
        try:
            text = read_text(folder / scorer.path)
            load_scorer_config(folder / scorer.path)
        except ConfigError as error:
            faults.append(str(error))
            continue
        wanted[f"scorer/{scorer.name}"] = _spec(
            fleet, "scorer", scorer.name, text, place=scorer.place, cpus=scorer.cpus,
            gpus=scorer.gpus, address=scorer.address,
        )  # fmt: skip
    # As the supervisor sets it where the process runs.
    environment = {SCORER_VARIABLE: _ANY_SCORER, **os.environ}
    for section in fleet.cameras:
        try:
            files = list(_files(folder / section.path))
        except ConfigError as error:
            faults.append(str(error))
            continue
        for file in files:
            try:
                text = read_text(file)
                config = parse_config(text, file, environment).config
            except ConfigError as error:
                faults.append(str(error))
                continue
            name = config.camera.name
            if name in origin:
                faults.append(f"{file}: the camera {name} is described by {origin[name]} already")
                continue
            origin[name] = file
            warnings += _doubts(config, file)
            wanted[f"camera/{name}"] = _camera(fleet, section, name, text)
    if faults:
        raise ConfigError("\n".join(faults))
    return wanted, warnings


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
    elif path.is_file():
        yield path
    else:
        raise ConfigError(f"{path}: no such file or folder; see cameras in the fleet's file")


def _doubts(config: CameraConfig, file: Path) -> Iterator[str]:
    if config.lease is None:
        yield f"{file}: has no lease: two copies of it may deliver after a machine was cut off"
    if config.delivery.outbox.kind == "memory":
        yield f"{file}: its outbox is in memory: what waits is lost whenever it is moved"


def _camera(fleet: FleetConfig, section: CamerasSection, name: str, text: str) -> ProcessSpec:
    return _spec(
        fleet, "camera", name, text, place=section.place, cpus=section.cpus, gpus=section.gpus,
        memory_mb=section.memory_mb, scorers=tuple(scorer.name for scorer in fleet.scorers),
    )  # fmt: skip


def _spec(fleet: FleetConfig, kind: str, name: str, text: str, **needs: object) -> ProcessSpec:
    return ProcessSpec(
        kind=kind,  # type: ignore[arg-type] # one of two words
        name=name,
        text=text,
        fleet=fleet.name,
        ports=fleet.ports,
        state="" if fleet.state is None else str(fleet.state),
        stop_s=fleet.stop_s,
        restart=fleet.restart.model_dump(),
        **needs,  # type: ignore[arg-type] # the caller's keywords
    )
