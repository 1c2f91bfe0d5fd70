"""The page of settings: made from the code, whole, and honest about what changes while running."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

import pytest
from pydantic import BaseModel

from streamgate.config import CameraConfig, ZoneSection
from streamgate.config.camera import ProfileSection
from streamgate.daemon.reload import in_use_after
from tools.configuration import PAGE, Found, is_live, page, sections, settings

SECTIONS = list(sections())


def test_what_is_checked_in_is_what_the_code_makes() -> None:
    """`python -m tools.configuration` would change nothing."""
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("found", SECTIONS, ids=lambda found: f"{found.key}-{found.kinds}")
def test_every_setting_is_explained(found: Found) -> None:
    """Each section has a sentence, and each setting a sentence, a value and a default."""
    assert (found.model.__doc__ or "").strip().endswith((".", "`"))
    for setting in settings(found.model):
        assert setting.description.endswith("."), (found.key, setting.name)
        assert setting.value not in ("", "number", "integer"), (found.key, setting.name)
        assert setting.default, (found.key, setting.name)


def test_the_page_names_every_section() -> None:
    """Those that live in lists and in unions too."""
    text = page()
    assert all(f"# `{found.key}`" in text for found in SECTIONS)
    assert {"delivery.sinks", "delivery.outbox.keys", "source.ice_servers"} <= {
        found.key for found in SECTIONS
    }


def test_what_is_called_live_is_what_a_reload_takes_over() -> None:
    """A setting is marked live if, and only if, a running camera takes it over."""
    now = CameraConfig.model_validate(
        {"camera": {"name": "door"}, "source": {"kind": "rtsp", "url": "rtsp://camera.example/1"}}
    )
    zone = {"name": "clock", "kind": "ignore", "points": [(0, 0), (1, 0), (1, 1)]}
    wanted = now.model_copy(update={"zones": (ZoneSection.model_validate(zone),)})
    assert is_live("zones.points") == (in_use_after(now, wanted).zones == wanted.zones)
    for name in set(CameraConfig.model_fields) - {"zones"}:
        section = getattr(now, name)
        if not isinstance(section, BaseModel):
            wanted = now.model_copy(update={name: object()})
            taken = getattr(in_use_after(now, wanted), name) is getattr(wanted, name)
            assert is_live(name) == taken, name
            continue
        for setting in type(section).model_fields:
            changed = object()
            wanted = now.model_copy(update={name: section.model_copy(update={setting: changed})})
            taken = getattr(getattr(in_use_after(now, wanted), name), setting) is changed
            assert is_live(f"{name}.{setting}") == taken, f"{name}.{setting}"


def test_a_profile_may_hold_what_a_reload_takes_over() -> None:
    """Those settings and no others; a profile of profiles makes no sense."""
    allowed = set(leaves(ProfileSection))
    wanted = {key for key in leaves(CameraConfig) if is_live(key)}
    assert allowed == {key for key in wanted if not key.startswith(("profiles", "schedule"))}


def leaves(model: type[BaseModel], at: str = "") -> Iterator[str]:
    """The dotted keys of a model, with those of the single sections in it."""
    for name, field in model.model_fields.items():
        inner = [part for part in get_args(field.annotation) if part is not type(None)]
        kind = inner[0] if len(inner) == 1 else field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and name != "decision_log":
            yield from leaves(kind, f"{at}{name}.")
        else:
            yield f"{at}{name}"
