"""Which profile is in use: a call, or else the schedule, or else the file."""

from __future__ import annotations

import pytest

from streamgate.config import CameraConfig
from streamgate.selection.profiles import CalledProfile, choose_profile
from streamgate.values.reasons import ProfileReason

ALL_DAY = {"entries": [{"profile": "night", "start": "00:00", "end": "24:00"}]}


def config(**sections: object) -> CameraConfig:
    return CameraConfig.model_validate(
        {
            "camera": {"name": "door"},
            "source": {"kind": "file", "path": "a.mkv"},
            "profiles": {"night": {}, "rush": {}},
            **sections,
        }
    )


@pytest.mark.parametrize(
    ("sections", "called", "wanted"),
    [
        ({}, None, ("default", ProfileReason.FILE)),
        ({"schedule": ALL_DAY}, None, ("night", ProfileReason.SCHEDULE)),
        ({"schedule": ALL_DAY}, CalledProfile("rush"), ("rush", ProfileReason.CALL)),
        ({"schedule": ALL_DAY}, CalledProfile("rush", 101.0), ("rush", ProfileReason.CALL)),
        ({"schedule": ALL_DAY}, CalledProfile("rush", 100.0), ("night", ProfileReason.SCHEDULE)),
        ({"schedule": ALL_DAY}, CalledProfile("default"), ("default", ProfileReason.CALL)),
        # It is no longer in the file.
        ({"schedule": ALL_DAY}, CalledProfile("gone"), ("night", ProfileReason.SCHEDULE)),
        ({}, CalledProfile("rush", 99.0), ("default", ProfileReason.FILE)),
    ],
)
def test_a_call_counts_before_the_schedule(
    sections: dict[str, object], called: CalledProfile | None, wanted: tuple[str, ProfileReason]
) -> None:
    """Until its time is over or its profile is gone."""
    choice = choose_profile(config(**sections), called, wall=1.7e9, monotonic=100.0)
    assert (choice.name, choice.reason) == wanted
