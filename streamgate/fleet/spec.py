"""What a machine must know to run one process of the fleet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

__all__ = ["ProcessSpec", "actor_name", "split_name"]

Kind = Literal["camera", "scorer"]


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process, and what it needs. It travels to the machine that runs it.

    Attributes:
        kind: camera or scorer.
        text: its configuration file; it may hold secrets, and is shown nowhere.
        fleet: the fleet's name.
        place: of the machine, None for any.
        cpus, gpus, memory_mb: what it occupies in Ray's account.
        command: the program and its first arguments; the file follows. Empty for streamgate itself.
        address: where a scorer is reached.
        scorers: names of those that a camera may use.
        ports: first and last port for its web server.
        state: folder for files, empty for the user's own.
        restart: see `RestartSection`.
    """

    kind: Kind
    name: str
    text: str = field(repr=False)
    fleet: str
    place: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    memory_mb: float | None = None
    command: tuple[str, ...] = ()
    address: str = ""
    scorers: tuple[str, ...] = ()
    ports: tuple[int, int] = (9300, 9999)
    state: str = ""
    stop_s: float = 30.0
    restart: Mapping[str, float] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that differ when anything differs."""
        said = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:12]


def actor_name(spec: ProcessSpec) -> str:
    """The name of the actor: kind, name and digest, so that the cluster itself is the record."""
    return f"{spec.kind}/{spec.name}/{spec.digest}"


def split_name(actor: str) -> tuple[str, str, str] | None:
    """Kind, name and digest; None for an actor of another kind."""
    parts = actor.split("/")
    if len(parts) != 3 or parts[0] not in ("camera", "scorer"):
        return None
    return parts[0], parts[1], parts[2]
