"""How a fault in a configuration is told: where, what was found, what is wanted."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic_core import ErrorDetails

from streamgate.values.redaction import redact, shown_address

__all__ = [
    "Fault",
    "FaultsError",
    "KeyPath",
    "PlacedFault",
    "dotted",
    "fault_from",
    "faults_from",
    "is_secret_name",
]

KeyPath = tuple[str | int, ...]
"""Where a value is: keys, and places in lists."""

_SECTION_WANTED = ("model_type", "model_attributes_type")
_SECRET_WORDS = ("password", "token", "secret", "key", "credential", "headers")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        line: line in the file, from 1.
        key: dotted path of the key.
        got: what was found.
        wanted: what would be right.
    """

    line: int
    key: str
    got: str
    wanted: str

    def __str__(self) -> str:
        where = f"{self.line}: {self.key}" if self.key else f"{self.line}"
        return f"{where}: got {self.got}; wanted {self.wanted}"


@dataclass(frozen=True, slots=True)
class PlacedFault:
    """A fault that a validator finds below the section that it validates; see `Fault`.

    Attributes:
        path: where it is, from that section on.
    """

    path: KeyPath
    got: str
    wanted: str


class FaultsError(ValueError):
    """Raised by a validator that knows the place of each fault."""

    def __init__(self, faults: Sequence[PlacedFault]) -> None:
        self.faults = tuple(faults)
        super().__init__(
            "; ".join(f"{dotted(one.path)}: got {one.got}; wanted {one.wanted}" for one in faults)
        )


def dotted(path: KeyPath) -> str:
    """A path as people write it: `delivery.sinks[0].url`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def is_secret_name(key: str) -> bool:
    """Whether the values of a key of this name are never shown."""
    return any(word in key.lower() for word in _SECRET_WORDS)


def faults_from(detail: ErrorDetails, place: Callable[[KeyPath], tuple[int, str]]) -> list[Fault]:
    """Tell pydantic's complaint in the words of the file; a validator may have found several.

    Args:
        place: gives the line and the dotted key of a path.
    """
    error = (detail.get("ctx") or {}).get("error")
    if isinstance(error, FaultsError):
        return [
            Fault(*place((*detail["loc"], *one.path)), one.got, one.wanted) for one in error.faults
        ]
    line, key = place(detail["loc"])
    return [fault_from(detail, line=line, key=key)]


def fault_from(detail: ErrorDetails, *, line: int, key: str) -> Fault:
    """Tell pydantic's complaint in the words of the file."""
    kind, name = detail["type"], key.rsplit(".", 1)[-1]
    if kind == "missing":
        return Fault(line, key, "nothing", "this key; it has no default")
    if kind == "extra_forbidden" and _needs_restart(detail["loc"]):
        got = "a setting that a running camera cannot change"
        return Fault(
            line, key, got, f"{_known_keys(detail, name)}; or the setting outside profiles"
        )
    if kind == "extra_forbidden":
        return Fault(line, key, "an unknown key", _known_keys(detail, name))
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        expected = ", ".join(sorted(filter(None, map(_tag, _models_at(detail["loc"])))))
        found = (detail.get("ctx") or {}).get("tag")
        got = "no kind" if found is None else f"kind: {found}"
        return Fault(line, key, got, f"kind: one of {expected}")
    if kind in _SECTION_WANTED:
        return Fault(line, key, _shown(detail["input"], key), "a section: its keys, indented")
    return Fault(line, key, _shown(detail["input"], key), _wanted(detail))


def _wanted(detail: ErrorDetails) -> str:
    context: dict[str, Any] = detail.get("ctx") or {}
    error = context.get("error")
    if isinstance(error, Exception):
        text = str(error)
        return text.removeprefix("wanted ")
    text = detail["msg"]
    for prefix in ("Input should be ", "String should ", "Value error, "):
        text = text.removeprefix(prefix)
    return text


def _shown(value: Any, key: str) -> str:
    """What was found, cut short; nothing that may be a secret."""
    if isinstance(value, SecretStr) or is_secret_name(key):
        return "a value that is not shown"
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return "a list"
    # An address may hold a password before its host, in its path and in its query.
    text = repr(shown_address(value)) if isinstance(value, str) else redact(repr(value))
    return text if len(text) <= 80 else text[:77] + "..."


def _known_keys(detail: ErrorDetails, name: str) -> str:
    """Suggest the key that was meant, as far as the path through the models tells."""
    known = _fields_at(detail["loc"][:-1])
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"{close[0]}"
    return f"one of {', '.join(sorted(known))}" if known else "none of that name"


def _needs_restart(path: tuple[int | str, ...]) -> bool:
    """Whether a key that a profile may not hold is one that the file may."""
    return path[0] == "profiles" and path[-1] in _fields_at(path[2:-1])


def _fields_at(path: tuple[int | str, ...]) -> list[str]:
    return sorted({name for model in _models_at(path) for name in model.model_fields})


def _models_at(path: tuple[int | str, ...]) -> list[type[BaseModel]]:
    """The sections that may be at a path of pydantic's, in which tags of unions are steps too."""
    from streamgate.config.camera import CameraConfig  # noqa: PLC0415 - it imports this module's user

    models: list[type[BaseModel]] = [CameraConfig]
    if path[:1] == ("profiles",):
        # The next step is the profile's name.
        models, path = _models_in(CameraConfig.model_fields["profiles"].annotation), path[2:]
    for part in path:
        if isinstance(part, int):
            continue
        inner = [
            m
            for model in models
            if part in model.model_fields
            for m in _models_in(model.model_fields[part].annotation)
        ]
        models = inner or [model for model in models if _tag(model) == part]
    return models


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for arg in getattr(annotation, "__args__", ()) for m in _models_in(arg)]


def _tag(model: type[BaseModel]) -> str:
    kind = model.model_fields.get("kind")
    return str(kind.annotation.__args__[0]) if kind is not None and kind.annotation else ""
