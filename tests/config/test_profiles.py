"""Profiles and schedules in the file: what they may hold, and how the whole is judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamgate.config.load import LoadedConfig, parse_config
from streamgate.config.section import secrets_of
from streamgate.errors import ConfigError

BASE = """\
camera: {name: door}
source: {kind: rtsp, url: "rtsp://camera.example/1", username: viewer, password: hunter22}
gate: {discard: 20%, min_age_s: 2}
"""


def parsed(more: str) -> LoadedConfig:
    return parse_config(BASE + more, Path("door.yaml"), {})


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            "profiles: {night: {source: {kind: file}}}",
            "4: profiles.night.source: got a setting that a running camera cannot change; wanted",
        ),
        (
            "profiles:\n  night:\n    detector: {model: other}",
            "6: profiles.night.detector.model: got a setting that a running camera cannot change",
        ),
        ("profiles: {night: {web: {port: 1}}}", "profiles.night.web.port: got a setting that"),
        (
            "profiles: {night: {gate: {min_qualty: 1}}}",
            "profiles.night.gate.min_qualty: got an unknown key; wanted min_quality",
        ),
        (
            "profiles: {night: {gate: {min_quality: 140}}}",
            "night.gate.min_quality: got 140; wanted",
        ),
        ("profiles: {night: {gate: {min_age_s: null}}}", "night.gate.min_age_s: got nothing"),
        # What is right alone, and wrong in its place.
        (
            "profiles:\n  night:\n    precheck: {min_brightness: 250}",
            "6: profiles.night.precheck: got a section; wanted min_brightness must be below",
        ),
        ("profiles: {default: {}}", "4: profiles.default: got default; wanted another name"),
        ("profiles: {Night: {}}", "4: profiles"),
        (
            "schedule:\n  entries:\n    - {profile: nigth, start: 22:00, end: 06:00}",
            "6: schedule.entries[0].profile: got nigth; wanted one of default",
        ),
        ("schedule: {time_zone: Europe/Berln}", "schedule.time_zone: got 'Europe/Berln'; wanted"),
        ("schedule: {time_zone: ../../etc/passwd}", "schedule.time_zone"),
        (
            "schedule: {entries: [{profile: default, start: 25:00, end: 6:00}]}",
            "schedule.entries[0].start: got 1500; wanted a time of day such as 22:00",
        ),
        (
            "schedule: {entries: [{profile: default, start: sunset+07:00, end: 6:00}]}",
            "schedule.entries[0].start: got 'sunset+07:00'; wanted a time of day",
        ),
        (
            'schedule: {entries: [{profile: default, start: "08:00", end: 8:00}]}',
            "schedule.entries[0]: got a section; wanted an end that is not the start",
        ),
        (
            "schedule: {entries: [{profile: default, start: sunset, end: 06:00}]}",
            "schedule: got a section; wanted place:",
        ),
    ],
)
def test_faults_are_told_with_their_place(more: str, told: str) -> None:
    """By line and key, with what is wanted; before anything is used."""
    with pytest.raises(ConfigError) as caught:
        parsed(more)
    assert told in str(caught.value)


def test_a_profile_changes_what_it_names_and_nothing_else() -> None:
    """Key by key; a list is replaced as a whole."""
    loaded = parsed("""\
delivery: {retry: {max_s: 9}, sinks: [{kind: directory, path: a}]}
profiles:
  night:
    gate: {max_wait_s: 7}
    delivery: {retry: {initial_s: 2}, sinks: [{kind: directory, path: b}]}
""")
    night = loaded.under("night").config
    assert (night.gate.max_wait_s, night.gate.min_age_s, night.gate.discard) == (7, 2, 20)
    assert (night.delivery.retry.initial_s, night.delivery.retry.max_s) == (2, 9)
    assert [sink.path for sink in night.delivery.sinks] == [Path("b")]  # type: ignore[union-attr]
    assert night.source == loaded.config.source
    assert loaded.under("default").config == loaded.config


def test_a_threshold_replaces_the_one_of_the_file() -> None:
    """Only one of three can be given, so the file's need not be taken back."""
    night = parsed("profiles: {night: {gate: {min_quality: 25}}}").under("night").config
    assert (night.gate.min_quality, night.gate.discard) == (25, None)


def test_each_profile_has_a_hash_of_its_own() -> None:
    """That of the settings that it comes to."""
    loaded = parsed("profiles: {night: {gate: {min_quality: 25}}, late: {gate: {min_quality: 26}}}")
    hashes = {loaded.under(name).config_hash for name in ("default", "night", "late")}
    assert len(hashes) == 3


def test_secrets_of_profiles_are_known_and_not_told() -> None:
    """So that they are struck out of logs, and the hash does not show them."""
    loaded = parsed("""\
profiles:
  night:
    delivery: {sinks: [{kind: http, url: "http://r.example/", token: night-token-1}]}
""")
    assert set(secrets_of(loaded.config)) == {"hunter22", "night-token-1"}
    assert "night-token-1" not in loaded.config.model_dump_json()


def test_a_doubtful_profile_is_warned_of() -> None:
    """At its own line, and not at that of the file's own settings."""
    loaded = parsed("profiles:\n  night: {gate: {min_quality: 0.4}}")
    assert ("profiles.night.gate.min_quality", 5) in [(w.key, w.line) for w in loaded.warnings]
