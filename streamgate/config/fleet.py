"""The whole configuration of a fleet: which cameras run, on which kind of machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, field_validator, model_validator

from streamgate.config.camera import WebSection
from streamgate.config.load import load_part
from streamgate.config.section import Name, Seconds, Section

__all__ = [
    "CamerasSection",
    "FleetConfig",
    "RestartSection",
    "ScorerSection",
    "load_fleet",
]

_Place = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")]
_ADDRESS = r"^(local|auto|[A-Za-z0-9.-]{1,253}:\d{1,5})$"


class CamerasSection(Section):
    """Some cameras, and what each of them needs of the machine that it runs on."""

    path: Path = Field(
        description="A camera's configuration file, or a folder with one file (*.yaml, *.yml) for "
        "each camera. A relative path starts at the folder of the fleet's file."
    )
    place: _Place | None = Field(
        default=None,
        description="Run only on machines that were started with this place: `ray start "
        "--labels=place=NAME`. For cameras that only one site can reach. Default: anywhere.",
    )
    cpus: float = Field(
        default=1.0,
        ge=0,
        le=1024,
        description="CPU cores that a camera occupies in Ray's account; it is not limited to them.",
    )
    memory_mb: float | None = Field(
        default=None,
        gt=0,
        description="Memory that a camera occupies in Ray's account, MiB. Default: not counted.",
    )
    gpus: float = Field(
        default=0.0,
        ge=0,
        le=64,
        description="Share of a GPU that a camera occupies. Cameras with a scorer need none.",
    )


class ScorerSection(Section):
    """A service that scores the faces of many cameras."""

    name: Name = Field(description="Name of the scorer in lists and logs.")
    path: Path = Field(description="Configuration file for `streamgate serve`.")
    address: Annotated[str, Field(pattern=r"^(grpcs?://\S+|unix:/\S+)$")] = Field(
        default="grpc://{host}:8001",
        description="Where cameras reach it. {host} stands for the address of the machine that it "
        "runs on. A camera finds the nearest scorer in the environment variable STREAMGATE_SCORER: "
        "write ${STREAMGATE_SCORER} into quality.service.",
    )
    place: _Place | None = Field(default=None, description="As for cameras.")
    cpus: float = Field(default=1.0, ge=0, le=1024, description="As for cameras.")
    gpus: float = Field(
        default=0.0, ge=0, le=64, description="Share of a GPU: 0.5 lets two share one."
    )


class RestartSection(Section):
    """How a process that has ended is started again."""

    initial_s: Seconds = Field(
        default=1.0, description="First pause, seconds; each failure doubles it."
    )
    max_s: Seconds = Field(default=60.0, description="Longest pause, seconds.")
    jitter: float = Field(
        default=0.3, ge=0, le=1, description="Largest share that is taken off a pause at random."
    )
    crash_loop: int = Field(
        default=5,
        ge=2,
        le=1000,
        description="So many ends in a row, each within a minute of its start, are told as a crash "
        "loop. The process is still restarted, after the longest pause.",
    )


class FleetConfig(Section):
    """The file of a fleet."""

    name: Name = Field(
        default="streamgate",
        description="Name of the fleet: the namespace in Ray. Fleets of one cluster differ in it.",
    )
    address: Annotated[str, Field(pattern=_ADDRESS)] = Field(
        default="local",
        description="The Ray cluster: host:port of its head, auto for the one that runs on this "
        "machine, or local to start a head on this machine that only this machine can reach.",
    )
    cameras: tuple[CamerasSection, ...] = Field(
        default=(), max_length=1000, description="The cameras."
    )
    scorers: tuple[ScorerSection, ...] = Field(
        default=(), max_length=100, description="Scorer services, if there are any."
    )
    restart: RestartSection = Field(default_factory=RestartSection)
    ports: tuple[int, int] = Field(
        default=(9300, 9999),
        description="First and last port on each machine for the cameras' web servers. The port "
        "in a camera's own file is not used, so that cameras of one machine do not collide.",
    )
    state: Path | None = Field(
        default=None,
        description="Folder on each machine for configurations, outboxes and logs. A camera is "
        "started in STATE/FLEET/CAMERA, where relative paths of its file begin. Default: "
        "~/.local/state/streamgate.",
    )
    stop_s: Seconds = Field(
        default=30.0,
        description="How long a process may take to stop before it is killed, seconds.",
    )
    web: WebSection = Field(
        default_factory=lambda: WebSection(port=9290),
        description="The overview page and Prometheus' service discovery: the keys of a camera's "
        "web section.",
    )

    @field_validator("ports")
    @classmethod
    def _in_order(cls, ports: tuple[int, int]) -> tuple[int, int]:
        if not 1024 <= ports[0] <= ports[1] <= 65_535:
            raise ValueError("wanted two ports from 1024 to 65535, the lower one first")
        return ports

    @model_validator(mode="before")
    @classmethod
    def _own_port(cls, data: Any) -> Any:
        """Give the overview a port of its own where its section names none."""
        if isinstance(data, dict) and isinstance(data.get("web"), dict):
            return {**data, "web": {"port": 9290, **data["web"]}}
        return data

    @model_validator(mode="after")
    def _scorers_differ(self) -> FleetConfig:
        names = [scorer.name for scorer in self.scorers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two scorers are named {twice[0]}; give each a name of its own")
        return self


def load_fleet(path: Path) -> FleetConfig:
    """Read and validate a fleet's file.

    Raises:
        ConfigError: the message lists every fault, one a line.
    """
    return load_part(path, (), TypeAdapter(FleetConfig))
