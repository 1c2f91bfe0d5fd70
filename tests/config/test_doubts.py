"""What is allowed and probably not meant is told, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamgate.config.load import parse_config
from streamgate.errors import ConfigError

_HEAD = "camera: {name: door}\nsource:\n  kind: rtsp\n  url: rtsp://192.0.2.1/a\n"
_SINK = "delivery: {sinks: [{kind: directory, path: shots}]}\n"


def warned(text: str) -> list[str]:
    return [str(warning) for warning in parse_config(text, Path("door.yaml"), {}).warnings]


def test_a_usual_configuration_is_not_doubted() -> None:
    """No warning that people learn to overlook."""
    assert warned(_HEAD + "  username: me\n  password: abc # of the camera\n" + _SINK) == []


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        (_SINK + "gate: {min_quality: 0.4}\n", "6: gate.min_quality: got 0.4 on a scale of 0"),
        (_SINK + "gate: {release_quality: 99.9, min_quality: 3}\n", "6: gate.release_quality"),
        (_SINK + "gate: {discard: 99.5%}\n", "6: gate.discard"),
        (_SINK + "gate: {max_wait_s: 0.1}\n", "6: gate.max_wait_s: got 0.1 s, less than"),
        (_SINK + "precheck: {min_detector_score: 0.99}\n", "6: precheck.min_detector_score"),
        (_SINK + "precheck: {min_sharpness: 300}\n", "6: precheck.min_sharpness: got 300"),
        (_SINK + "tracker: {high_score: 1}\n", "6: tracker.high_score"),
        (_SINK + "precheck: {max_yaw_deg: 0}\n", "6: precheck.max_yaw_deg"),
        ("delivery: {sinks: []}\n", "5: delivery.sinks: got no sinks"),
        ("", "1: delivery.sinks: got no sinks"),
    ],
)
def test_a_setting_that_is_probably_not_meant_is_told(text: str, begins: str) -> None:
    """One warning, at its line."""
    (warning,) = warned(_HEAD + text)
    assert warning.startswith(begins)


@pytest.mark.parametrize("value", ["#abc", "abc #def"])
def test_a_secret_that_yaml_takes_for_a_comment_is_told(value: str) -> None:
    """And not shown."""
    (warning,) = warned(f"{_HEAD}  username: me\n  password: {value}\n{_SINK}")
    assert warning.startswith("6: source.password: got ")
    assert "quotes around the value" in warning
    assert "abc" not in warning


def test_quotes_end_the_doubt() -> None:
    """The value is whole then."""
    assert warned(f"{_HEAD}  username: me\n  password: '#abc'\n{_SINK}") == []


@pytest.mark.parametrize(
    "value",
    ["!!timestamp abc", "!!int ''", "!!int x", "!!float x", "!!bool x", "!!binary x", "!!set x",
     "!!omap x", "!!python/object:os.system x", "!!timestamp 2001-99-99", "!unknown x"],
)  # fmt: skip
def test_a_tag_that_lies_is_a_fault_with_its_line(value: str) -> None:
    """Whatever the parser makes of it, nobody sees its traceback."""
    with pytest.raises(
        ConfigError, match=r"^door\.yaml:5: source\.username: got a value that YAML"
    ):
        parse_config(f"{_HEAD}  username: {value}\n", Path("door.yaml"), {})


def test_a_secret_with_a_tag_that_lies_is_not_shown() -> None:
    """The parser's words hold the value."""
    with pytest.raises(ConfigError) as refusal:
        parse_config(f"{_HEAD}  password: !!float geheim\n", Path("door.yaml"), {})
    assert "geheim" not in str(refusal.value)
