"""Configuration files as people write them, with their mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamgate.config import CameraConfig, RtspSection, load_config
from streamgate.config.section import secrets_of
from streamgate.errors import ConfigError

GOOD = """\
camera:
  name: door
source:
  kind: rtsp
  url: rtsp://camera.example/stream
  username: viewer
  password: ${DOOR_PASSWORD}
"""

# Each line holds the line before it twice.
DOUBLED = b"".join(b"a%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 20))


def write(folder: Path, text: str) -> Path:
    path = folder / "door.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def faults(path: Path, **environment: str) -> list[str]:
    """The lines of the error that loading the file raises, without the path."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, environment)
    return [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]


def test_secret_comes_from_the_environment(tmp_path: Path) -> None:
    """${NAME} is replaced, and the secret is masked wherever the settings are shown."""
    loaded = load_config(write(tmp_path, GOOD), {"DOOR_PASSWORD": "hunter2"})
    source = loaded.config.source
    assert isinstance(source, RtspSection)
    assert source.password is not None
    assert source.password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(loaded)


def test_secret_comes_from_a_file(tmp_path: Path) -> None:
    """password_file names a file whose text, less the line's end, is the password."""
    secret = tmp_path / "secret"
    secret.write_text("two words \n")
    text = GOOD.replace("password: ${DOOR_PASSWORD}", f"password_file: {secret}")
    source = load_config(write(tmp_path, text), {}).config.source
    assert isinstance(source, RtspSection)
    assert source.password is not None
    assert source.password.get_secret_value() == "two words "


@pytest.mark.parametrize("headers", ["{Authorization: 99887766}", "'Authorization: 99887766'"])
def test_a_header_at_fault_is_not_shown(tmp_path: Path, headers: str) -> None:
    """It may be an API key."""
    sink = f"{{kind: http, url: 'http://sink.example/', headers: {headers}}}"
    text = GOOD.replace("${DOOR_PASSWORD}", "x") + f"delivery: {{sinks: [{sink}]}}\n"
    found = faults(write(tmp_path, text))
    assert any("headers" in fault for fault in found)
    assert "99887766" not in str(found)


def test_every_secret_is_known_to_the_log() -> None:
    """Wherever one may stand: in a section, in a list of sinks, among their headers.

    A header's short value is no secret: it would strike out what it names all over the log.
    """
    secret = {name: f"secret-{name}" for name in ("camera", "bearer", "header", "redis", "turn")}
    whip = {
        "kind": "whip",
        "token": secret["camera"],
        "ice_servers": [
            {"url": "turn:192.0.2.1", "username": "u", "credential": secret["turn"]}
        ],
    }  # fmt: skip
    http = {"kind": "http", "url": "http://sink.example/", "headers": {}}
    http["headers"] = {"X-Key": secret["header"], "X-Site": "north"}
    redis = {"kind": "redis", "url": "redis://sink.example", "password": secret["redis"]}
    other = {
        "kind": "http", "name": "b", "url": "http://sink.example/", "token": secret["bearer"],
    }  # fmt: skip
    config = CameraConfig.model_validate(
        {"camera": {"name": "door"}, "source": whip, "delivery": {"sinks": [http, redis, other]}}
    )
    assert sorted(secrets_of(config)) == sorted(secret.values())


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00"])
def test_unusable_secret_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    """A secret's file that is missing, empty or no text is named with its key's line."""
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_bytes(content)
    text = GOOD.replace("password: ${DOOR_PASSWORD}", f"password_file: {secret}")
    (fault,) = faults(write(tmp_path, text))
    assert fault.startswith(("3:", "7:"))
    assert str(secret) in fault


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Five faults of five kinds are each named with line, key, what was found and wanted."""
    text = """\
camera:
  name: Front Door
source:
  kind: rtsp
  url: rtsp://camera.example/stream
  transprot: udp
gate:
  min_quality: 140
quality:
  batch_size: many
delivery:
  sinks:
    - kind: http
      url: https://example.com/faces
      token: ${NOT_SET}
"""
    found = faults(write(tmp_path, text))
    assert len(found) == 5
    expected = [
        ("2: camera.name:", "'Front Door'", "pattern"),
        ("6: source.transprot:", "an unknown key", "transport"),
        ("8: gate.min_quality:", "140", "less than or equal to 100"),
        ("10: quality.batch_size:", "'many'", "integer"),
        ("15: delivery.sinks[0].token:", "${NOT_SET}, which is not set", "variable NOT_SET"),
    ]
    for fault, (start, got, wanted) in zip(found, expected, strict=True):
        assert fault.startswith(start)
        assert got in fault
        assert wanted in fault


def test_missing_section_is_named(tmp_path: Path) -> None:
    """Without a source there is one fault, and it names the key."""
    assert any("source: got nothing" in f for f in faults(write(tmp_path, "camera: {name: a}\n")))


def test_unknown_kind_lists_the_known(tmp_path: Path) -> None:
    """A source of unknown kind is answered with the kinds that there are."""
    text = "camera: {name: a}\nsource:\n  kind: carrier-pigeon\n"
    (fault,) = faults(write(tmp_path, text))
    assert fault.startswith("2: source: got kind: carrier-pigeon")
    assert "rtsp" in fault
    assert "file" in fault


def test_key_given_twice_is_a_fault(tmp_path: Path) -> None:
    """YAML would let the second value win in silence; here both lines are named."""
    (fault,) = faults(write(tmp_path, GOOD + "camera:\n  name: back\n"), DOOR_PASSWORD="x")
    assert fault.startswith("8: camera: got the key a second time")
    assert "line: 1" in fault or "line 1" in fault


@pytest.mark.parametrize("url", ["rtsp://admin:hunter2@camera/x", "http://admin:hunter2@camera/x"])
def test_credentials_in_a_url_are_refused_unseen(tmp_path: Path, url: str) -> None:
    """A URL with a password is refused without showing it."""
    text = GOOD.replace("rtsp://camera.example/stream", url)
    told = "\n".join(faults(write(tmp_path, text), DOOR_PASSWORD="x"))
    assert "5: source.url" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("camera: [", "not valid YAML"),
        ("- a\n- b\n", "wanted sections"),
        ("", "wanted sections"),
        (
            "camera: {name: !!python/object:os.system x}\nsource: {kind: file, path: a}",
            "camera.name",
        ),
        ("a: " * 2000 + "b", "not valid YAML"),
    ],
)
def test_hostile_text_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    """Text that is no configuration gives one clear fault, and nothing of it is executed."""
    found = faults(write(tmp_path, text))
    assert told in found[0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "1: got an empty file"),
        (b"# nothing but a comment\n", "1: got an empty file"),
        (b"42\n", "1: got one value"),
        (b"camera:\n\tname: a\n", "2: is not valid YAML"),
        (b"camera: {name: a, name: b}\n", "1: camera.name: got the key a second time"),
        ("camera: {name: é}\n".encode("latin-1"), " is not UTF-8 text (byte 15)"),
        ("camera: {name: a}\n".encode("utf-16"), " is not UTF-8 text"),
        (b"camera:\n  name: \0\n", "2: is not valid YAML: the character U+0000"),
        (b'camera: {name: "a\\0"}\n', "1: camera.name: got a character that is none"),
        (b'camera: {name: "\\ud800"}\n', "1: camera.name: got a character that is none"),
        (b"camera:\nsource:\n", "1: camera: got nothing; wanted a section"),
        (b"camera: *door\n", "1: is not valid YAML: found undefined alias"),
        (b"camera: &c {name: *c}\n", "1: got deeper nesting"),
        (b"camera: &c [*c, *c]\n", "1: got deeper nesting"),
        (b"a0: &a0 [1, 1]\n" + DOUBLED, "got more than 50000 values; wanted fewer aliases"),
        (b"[" * 500, " is nested deeper"),
        (b"camera: {name: a}\n---\nsource: {}\n", "2: is not valid YAML"),
        (b"? {a: b}\n: c\n", "1: got a key that is a section"),
        (b"camera: {name: !!bool perhaps}\n", "1: camera.name: got a value that YAML cannot read"),
        (b"camera: {name: 2026-13-45}\n", "1: camera.name: got a value that YAML cannot read"),
        (b"camera: {name: a}\nsource:\n  <<: {kind: file}\n", "3: source.<<: got a merge key"),
        (b"camera: {name: a}\nsource: {path: a}\n", "2: source: got no kind; wanted kind: one of"),
    ],
)
def test_odd_text_is_told_and_not_a_crash(tmp_path: Path, content: bytes, told: str) -> None:
    """What editors, shells and mishaps leave in a file is told in words, soon."""
    path = tmp_path / "door.yaml"
    path.write_bytes(content)
    assert any(fault.startswith(told) or told in fault for fault in faults(path))


def test_anchors_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    """A value may be named once and used twice, and Windows' editors may mark the file."""
    path = write(
        tmp_path, "\ufeffcamera: {name: &name door}\r\nsource: {kind: file, path: *name}\r\n"
    )
    assert load_config(path, {}).config.camera.name == "door"


def test_missing_file_is_told(tmp_path: Path) -> None:
    """A file that cannot be read is named with the system's reason."""
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "absent.yaml", {})


def test_hash_tells_settings_not_text(tmp_path: Path) -> None:
    """Comments and order do not change the hash; a threshold does; a secret does not enter it."""
    first = load_config(write(tmp_path, GOOD), {"DOOR_PASSWORD": "a"}).config_hash
    same = load_config(write(tmp_path, "# door\n" + GOOD), {"DOOR_PASSWORD": "b"}).config_hash
    text = GOOD + "gate:\n  min_quality: 31\n"
    other = load_config(write(tmp_path, text), {"DOOR_PASSWORD": "a"}).config_hash
    assert first == same != other


@pytest.mark.parametrize(
    "line",
    [
        "url: http://cam.example/user=admin_password=hunter2",
        "url: http://viewer:hunter2@cam.example/x",
        "url: 'http://viewer:my hunter2@cam.example/x'",
        "url: [rtsp://cam.example/?token=hunter2]",
        "transport: rtsp://viewer:hunter2@cam.example",
        "url: rtsp://cam.example/x\n  password: !!int hunter2",
        "url: rtsp://cam.example/x\n  password: !!float hunter2",
        "url: rtsp://cam.example/x\n  open_timeout_s: rtsp://cam/hunter2",
    ],
)
def test_no_fault_shows_what_an_address_or_a_secret_holds(tmp_path: Path, line: str) -> None:
    """Also where the value is of another kind than the key wants."""
    told = faults(write(tmp_path, f"camera:\n  name: door\nsource:\n  kind: rtsp\n  {line}\n"))
    assert told
    assert "hunter2" not in "\n".join(told)


@pytest.mark.parametrize("kind", ["timestamp", "int", "float", "bool", "binary", "null", "set"])
@pytest.mark.parametrize("value", ["abc", "", '"99:99:99"', "'é'"])
def test_a_value_that_is_not_of_the_type_it_names_is_told(
    tmp_path: Path, kind: str, value: str
) -> None:
    """YAML's own reader fails on them in many ways."""
    text = f"camera:\n  name: door\nsource:\n  kind: file\n  path: !!{kind} {value}\n"
    told = "door.yaml:5: source.path: got"
    try:
        load_config(write(tmp_path, text), {})
    except ConfigError as error:
        told = str(error)
    assert "door.yaml:5: source.path: got" in told
