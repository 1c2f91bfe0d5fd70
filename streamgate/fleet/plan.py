"""What has to be done to make the fleet what its file says: pure, so that it can be shown first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from streamgate.fleet.spec import ProcessSpec, actor_name, split_name

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Actors to stop and processes to start; all others are left alone.

    Attributes:
        stop: names of actors.
        start: what is started once those are gone.
        added, changed, removed, unchanged: names of cameras and scorers, for people.
    """

    stop: tuple[str, ...]
    start: tuple[ProcessSpec, ...]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]

    def __str__(self) -> str:
        shown = [
            f"{label}: {', '.join(names)}"
            for label, names in (
                ("added", self.added), ("changed", self.changed), ("removed", self.removed),
            )
            if names
        ]  # fmt: skip
        return "; ".join([*shown, f"{len(self.unchanged)} unchanged"])


def make_plan(wanted: Mapping[str, ProcessSpec], actors: Iterable[str]) -> Plan:
    """Compare what is wanted with the actors that there are.

    Args:
        wanted: by kind and name, such as `camera/door`.
        actors: names of actors, see `actor_name`.
    """
    running: dict[str, list[str]] = {}
    for actor in actors:
        parts = split_name(actor)
        if parts is not None:
            running.setdefault(f"{parts[0]}/{parts[1]}", []).append(actor)
    stop: list[str] = []
    start: list[ProcessSpec] = []
    names: dict[str, list[str]] = {"added": [], "changed": [], "removed": [], "unchanged": []}
    for key, found in sorted(running.items()):
        spec = wanted.get(key)
        keep = None if spec is None else actor_name(spec)
        stop += [actor for actor in found if actor != keep]
        if spec is None:
            names["removed"].append(key)
        elif keep in found:
            names["unchanged"].append(key)
        else:
            names["changed"].append(key)
            start.append(spec)
    for key, spec in sorted(wanted.items()):
        if key not in running:
            names["added"].append(key)
            start.append(spec)
    # Scorers first: cameras ask for their addresses.
    start.sort(key=lambda spec: spec.kind != "scorer")
    return Plan(tuple(stop), tuple(start), **{key: tuple(value) for key, value in names.items()})
