"""Make docs/configuration.md, the page of every setting, from the models of the configuration.

    python -m tools.configuration           # write the page
    python -m tools.configuration --check   # change nothing; fail if the page is out of date

A setting is explained in one place only: the description of its field.
"""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, TypeAdapter
from pydantic.fields import FieldInfo

from streamgate.config import CameraConfig
from streamgate.config.profiles import PartialSection
from tools.pages import write_or_check

__all__ = ["PAGE", "Found", "Setting", "main", "page", "sections", "settings"]

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"

_HEAD = """\
<!-- Made by `python -m tools.configuration`; a test compares it with the code. -->

# Configuration

One YAML file describes one camera. Only `camera.name` and `source` are required; everything else
has a default.

```yaml
camera: {name: door}
source:
  kind: rtsp
  url: rtsp://192.168.1.20:554/stream1
  username: viewer
  password: ${DOOR_PASSWORD}
delivery:
  sinks:
    - {kind: http, url: "http://127.0.0.1:8000/faces"}
```

- `streamgate check FILE` reports all faults of a file at once: for each the line, what was found
  and what is wanted. An unknown key is a fault.
- `streamgate schema` prints the JSON Schema of the file, with which editors complete and check it.
- [`configs/`](../configs/) holds worked examples.
- `${NAME}` stands for the environment variable of that name, and `$$` for one `$`.
- Every *secret* can also be read from a file: write `password_file: PATH` instead of `password`.
  Secrets never appear in logs, metrics or pages.
- Relative paths start at the folder in which streamgate is started.
- Settings marked **live** take effect while the camera runs, the others at its next start: see
  [changing settings](operations.md#changing-settings-while-a-camera-runs).

The column *value* says what may be written, with unit and range. Terms are explained in the
[glossary](glossary.md).

"""

# By the end of a key's name, and by the whole name where the end says nothing.
_UNITS_BY_SUFFIX = {
    "_s": "seconds",
    "_px": "pixels",
    "_deg": "degrees",
    "_bytes": "bytes",
    "itude": "degrees",
    "bits_per_second": "bits a second",
    "frames_per_second": "frames a second",
    "_per_s": "a second",
    "_quality": "points of quality",
    "_shots": "best shots",
    "_tracks": "tracks",
    "_iou": "IoU",
}
_UNITS = {
    "width": "pixels",
    "height": "pixels",
    "improve_by": "points of quality",
    "context_margin": "box sizes",
    "min_sharpness": "thousandths",
    "min_brightness": "levels",
    "max_brightness": "levels",
    "min_contrast": "levels",
    "batch_size": "faces",
    "max_pending": "faces",
    "max_faces": "faces",
    "max_pixels": "pixels",
    "pixel_aspect": "ratio such as 16:15",
    "max_connections": "connections",
    "unhealthy_after_failures": "failures",
    "end_after_failures": "failures",
    "max_length": "entries",
    "top_k": "faces",
    "max_per_track": "faces",
    "max_viewers": "pages",
    "keep": "files",
    "at_once": "deliveries",
    "max_refusals": "refusals",
    "stream_max_bytes": "bytes",
}
# What daemon/reload.py takes over; a test compares the two.
LIVE = (
    "zones", "detector", "tracker", "precheck", "gate", "quality.max_pending",
    "quality.score_share", "delivery", "web.show_pictures", "log", "profiles", "schedule",
)  # fmt: skip
NOT_LIVE = ("detector.model", "delivery.outbox", "delivery.decision_log")


@dataclass(frozen=True, slots=True)
class Found:
    """A section.

    Attributes:
        path: its keys from the top of the file, such as `delivery.outbox`.
        kinds: `kind: NAME` for it and for each section around it that has several kinds.
    """

    path: tuple[str, ...]
    kinds: tuple[str, ...]
    model: type[BaseModel]

    @property
    def key(self) -> str:
        """The dotted path."""
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of a table, in Markdown; `description` is the field's own."""

    name: str
    value: str
    default: str
    description: str


def sections(
    model: type[BaseModel] = CameraConfig,
    path: tuple[str, ...] = (),
    kinds: tuple[str, ...] = (),
) -> Iterator[Found]:
    """Yield every section of the file, depth first, in the order of the models."""
    for name, field in model.model_fields.items():
        for child in _models(field.annotation):
            kind = _kind(child)
            found = Found((*path, name), (*kinds, kind) if kind else kinds, child)
            yield found
            # What a profile may hold is explained where it is explained for the file.
            if not issubclass(child, PartialSection):
                yield from sections(child, found.path, found.kinds)


def settings(model: type[BaseModel]) -> list[Setting]:
    """Return the settings that stand in a section itself, without those of sections in it."""
    if issubclass(model, PartialSection):
        return []
    properties: Mapping[str, Any] = model.model_json_schema()["properties"]
    return [
        Setting(
            name, _value(name, field, properties[name]), _default(field), field.description or ""
        )
        for name, field in model.model_fields.items()
        if not (name == "kind" and _kind(model)) and not _is_single_section(field)
    ]


def page() -> str:
    """Return the page; a section that several kinds share is shown once."""
    shared: dict[tuple[tuple[str, ...], type[BaseModel]], list[Found]] = {}
    for found in sections():
        shared.setdefault((found.path, found.model), []).append(found)
    return _HEAD + "\n".join(_section(same) for same in shared.values())


def _section(same: list[Found]) -> str:
    found = same[0]
    kinds = ", ".join(f"`{kind}`" for one in same for kind in one.kinds)
    title = f"`{found.key}`" + (f" of kind {kinds}" if kinds else "")
    lines = [f"{'#' * min(4, 1 + len(found.path))} {title}", "", _prose(found.model), ""]
    rows = [_row(found.key, setting) for setting in settings(found.model)]
    if rows:
        lines += ["| key | value | default | meaning and reason |", "| --- | --- | --- | --- |"]
        lines += [*rows, ""]
    return "\n".join(lines)


def _row(section: str, setting: Setting) -> str:
    live = " **live**" if is_live(f"{section}.{setting.name}") else ""
    cells = (f"`{setting.name}`{live}", setting.value, setting.default, setting.description)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def is_live(key: str) -> bool:
    """Return whether a setting takes effect while the camera runs."""
    return _is_within(key, LIVE) and not _is_within(key, NOT_LIVE)


def _is_within(key: str, keys: tuple[str, ...]) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in keys)


def _prose(model: type[BaseModel]) -> str:
    """Return a section's docstring with one line for each paragraph."""
    paragraphs = (model.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the sections that a field may hold, in lists and unions too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _models(part)]


def _is_single_section(field: FieldInfo) -> bool:
    """Return whether a field holds one section that is always there; its table is enough."""
    annotation = field.annotation
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _kind(model: type[BaseModel]) -> str:
    """Return what `kind` must be in a section; empty where that is a choice, or no key."""
    field = model.model_fields.get("kind")
    choices = () if field is None else typing.get_args(field.annotation)
    return str(choices[0]) if len(choices) == 1 else ""


def _value(name: str, field: FieldInfo, schema: Mapping[str, Any]) -> str:
    if _holds_secret(field.annotation):
        return "names with secrets" if schema.get("type") == "object" else "secret"
    models = _models(field.annotation)
    if models:
        listed = "list of sections" if schema.get("type") == "array" else "section"
        kinds = ", ".join(f"`{_kind(model)}`" for model in models if _kind(model))
        return f"{listed}: {kinds}" if kinds else listed
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    return " or ".join(dict.fromkeys(_option(name, option) for option in options))


def _option(name: str, schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        return "list of texts" if schema["items"].get("type") == "string" else "list of points"
    if kind == "boolean":
        return "`true`, `false`"
    if kind in ("number", "integer"):
        return ", ".join(filter(None, (_unit(name), _range(schema)))) or str(kind)
    return "path" if schema.get("format") == "path" else "text"


def _unit(name: str) -> str:
    if name in _UNITS:
        return _UNITS[name]
    return next((unit for end, unit in _UNITS_BY_SUFFIX.items() if name.endswith(end)), "")


def _range(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if least is not None and most is not None:
        return f"{_number(least)} to {_number(most)}"
    bounds = (("≥", least), (">", above), ("≤", most), ("<", below))
    return ", ".join(f"{sign} {_number(bound)}" for sign, bound in bounds if bound is not None)


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def _holds_secret(annotation: Any) -> bool:
    parts = typing.get_args(annotation)
    return annotation is SecretStr or any(_holds_secret(part) for part in parts)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        kind = _kind(type(default))
        return f"`{kind}`" if kind else ""
    if default is None or default in ((), {}):
        return "none"
    plain = TypeAdapter(type(default)).dump_python(default, mode="json")
    return f"`{plain if isinstance(plain, str) else json.dumps(plain)}`"


def main() -> int:
    """Write the page, or with --check compare it; return the exit status."""
    return write_or_check("tools.configuration", {PAGE: lambda _old: page()})


if __name__ == "__main__":
    sys.exit(main())
