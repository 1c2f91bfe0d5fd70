"""Named sets of settings that a running camera can change between.

A profile is written like the file itself, and holds only what differs. What it may hold is what a
reload may change: its model is made from the sections of the file, with every key optional. The
whole of the file with each profile laid over it is validated when the file is read, so that a
change of the profile cannot fail at night.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model, model_serializer

from streamgate.config.section import Section

__all__ = ["DEFAULT_PROFILE", "PartialSection", "lay_over", "partial_of"]

DEFAULT_PROFILE = "default"
"""The settings of the file itself."""

# Only one of them can be given, so one in a profile takes the place of another in the file.
_THRESHOLDS = frozenset({"min_quality", "discard", "target_fnmr"})


class PartialSection(Section):
    """Some of the keys of a section, of which none is required."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)

    @model_serializer(mode="wrap")
    def _what_is_set(self, serialize: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        dumped = serialize(self)
        return {key: dumped[key] for key in dumped if key in self.model_fields_set}


def partial_of(
    model: type[BaseModel],
    *,
    only: tuple[str, ...] | None = None,
    without: tuple[str, ...] = (),
) -> type[PartialSection]:
    """Make a section's model with every key optional; single sections in it likewise."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if name in without or (only is not None and name not in only):
            continue
        optional = copy.copy(field)
        optional.default, optional.default_factory = None, None
        annotation: Any = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = partial_of(annotation)
        # None stands for a key that is not there; a null where none may be is found in the whole.
        fields[name] = (annotation | None, optional)
    made: type[PartialSection] = create_model(
        f"{model.__name__}Profile", __base__=PartialSection, __doc__=model.__doc__, **fields
    )
    return made


def lay_over(settings: Mapping[str, Any], profile: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with those of a profile in their place, key by key; lists are replaced."""
    out = dict(settings)
    for key, value in profile.items():
        below = out.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            if key == "gate" and _THRESHOLDS & value.keys():
                below = {name: one for name, one in below.items() if name not in _THRESHOLDS}
            out[key] = lay_over(below, value)
        else:
            out[key] = value
    return out
