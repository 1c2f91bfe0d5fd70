"""From a YAML file to settings, with every fault named by file, line and key.

The text is read as YAML nodes first, because only nodes know their line; pydantic then judges the
plain values, and each of its complaints is led back to the node that it is about.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from streamgate.config.camera import CameraConfig
from streamgate.config.doubts import doubts
from streamgate.config.faults import Fault, KeyPath, dotted, faults_from, is_secret_name
from streamgate.config.profiles import DEFAULT_PROFILE
from streamgate.errors import ConfigError
from streamgate.values.redaction import redact

__all__ = ["LoadedConfig", "load_config", "load_part", "parse_config", "read_text"]

MAX_BYTES = 1_000_000
_MOST_VALUES = 50_000
"""Aliases make a few lines unfold into more values than any memory holds."""
_MOST_NESTING = 32
_VARIABLE = re.compile(r"\$(\$|\{([^}]*)\})")
_WHOLE_COMMENT = re.compile(r"\s*:\s+#\S")
_END_COMMENT = re.compile(r"\S\s+#\S")
# PyYAML takes a tag's word for what a text is, and fails in whatever way it then fails:
# `!!timestamp abc` asks None for its groups, `!!int ""` an empty text for its first letter.
_UNREADABLE = (
    yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError,
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
T = TypeVar("T")
_MERGE = "tag:yaml.org,2002:merge"
_KINDS: dict[type, str] = {type(None): "an empty file", list: "a list"}


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A valid configuration and the hash of what it says.

    Attributes:
        config: the settings.
        config_hash: sha256 over the settings, secrets left out; equal files have equal hashes.
        path: where it was read from.
        warnings: what is allowed, and probably not meant.
        lines: where each key is, from 1.
        profile: whose settings are in `config`.
    """

    config: CameraConfig
    config_hash: str
    path: Path
    warnings: tuple[Fault, ...] = ()
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    profile: str = DEFAULT_PROFILE

    def fault(self, path: KeyPath, got: str, wanted: str) -> Fault:
        """A fault of the value at a path, with the line of what comes nearest to it."""
        return Fault(nearest_line(self.lines, path), dotted(path), got, wanted)

    def under(self, profile: str) -> LoadedConfig:
        """The same with a profile in use, and the hash of the settings that it comes to."""
        config = self.config.under(profile)
        return replace(self, config=config, config_hash=hash_config(config), profile=profile)


def nearest_line(lines: Mapping[KeyPath, int], path: KeyPath) -> int:
    """The line of a key, or of the section that it would belong to."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


@dataclass(slots=True)
class _Reading:
    """What the walk over the nodes has found."""

    environment: Mapping[str, str]
    text: str
    lines: dict[KeyPath, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)
    values: int = 0


class _UnreadableError(Exception):
    """The walk over the nodes cannot go on."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))


def load_part(
    path: Path,
    at: tuple[str, ...],
    kind: TypeAdapter[T],
    *,
    without: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> T:
    """Read one section of a camera's file; what stands elsewhere need not be right, or there.

    Args:
        at: where the section stands.
        kind: validates it.
        without: keys of the section that are not read, such as secrets that nobody needs.
        environment: values for `${NAME}`; the process environment by default.

    Raises:
        ConfigError: the message lists every fault of the section, one a line.
    """
    text = read_text(path)
    node = _compose(text, path)
    for key in at:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        node = next((value for name, value in pairs if name.value == key), None)
    if isinstance(node, yaml.MappingNode):
        node.value = [(name, value) for name, value in node.value if name.value not in without]
    reading = _Reading(os.environ if environment is None else environment, text)
    try:
        data = _plain(node, at, reading)
    except _UnreadableError as error:
        raise ConfigError(f"{path}:{error}") from None
    reading.lines.setdefault((), 1)
    try:
        found = kind.validate_python(data)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            detail["loc"] = (*at, *detail["loc"])
            reading.faults += _located(detail, reading)
        found = None
    if reading.faults or found is None:
        raise ConfigError("\n".join(f"{path}:{fault}" for fault in reading.faults))
    return found


def load_config(path: Path, environment: Mapping[str, str] | None = None) -> LoadedConfig:
    """Read and validate a camera's YAML file.

    Args:
        path: the file.
        environment: values for `${NAME}`; the process environment by default.

    Raises:
        ConfigError: the message lists every fault, one a line.
    """
    return parse_config(read_text(path), path, os.environ if environment is None else environment)


def read_text(path: Path) -> str:
    """Read a configuration's text.

    Raises:
        ConfigError: it cannot be read, or it is larger than any.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(f"{path}: {size} bytes; a configuration has at most {MAX_BYTES}")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start})") from None


def parse_config(text: str, path: Path, environment: Mapping[str, str]) -> LoadedConfig:
    """Validate the text of a configuration; `path` is for messages.

    Raises:
        ConfigError: the message lists every fault, one a line.
    """
    reading = _Reading(environment, text)
    try:
        data = _plain(_compose(text, path), (), reading)
    except _UnreadableError as error:
        raise ConfigError(f"{path}:{error}") from None
    config: CameraConfig | None = None
    if not isinstance(data, dict):
        reading.faults.append(
            Fault(
                1, "", _KINDS.get(type(data), "one value"), "sections such as camera: and source:"
            )
        )
    else:
        try:
            config = CameraConfig.model_validate(data)
        except ValidationError as error:
            told = {(fault.line, fault.key) for fault in reading.faults}
            for detail in error.errors(include_url=False):
                reading.faults += [
                    fault
                    for fault in _located(detail, reading)
                    if (fault.line, fault.key) not in told
                ]
    if config is not None:
        reading.faults += _faults_of_profiles(config, reading)
    if reading.faults or config is None:
        faults = sorted(reading.faults, key=lambda fault: fault.line)
        raise ConfigError("\n".join(f"{path}:{fault}" for fault in faults))
    warnings = [
        *reading.warnings,
        *(
            Fault(nearest_line(reading.lines, where), dotted(where), got, wanted)
            for where, got, wanted in doubts(config)
        ),
        *_doubts_of_profiles(config, reading),
    ]
    warnings.sort(key=lambda warning: warning.line)
    return LoadedConfig(config, hash_config(config), path, tuple(warnings), reading.lines)


def hash_config(config: CameraConfig) -> str:
    """sha256 over the settings in canonical form; secrets are masked by pydantic."""
    canonical = json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _faults_of_profiles(config: CameraConfig, reading: _Reading) -> Iterator[Fault]:
    """What is wrong with a profile in the place of what it replaces, or with its use."""
    known = {DEFAULT_PROFILE, *config.profiles}
    for number, entry in enumerate(config.schedule.entries):
        if entry.profile not in known:
            path: KeyPath = ("schedule", "entries", number, "profile")
            wanted = f"one of {', '.join(sorted(known))}"
            yield Fault(nearest_line(reading.lines, path), dotted(path), entry.profile, wanted)
    for name in config.profiles:
        if name == DEFAULT_PROFILE:
            path = ("profiles", name)
            wanted = "another name: this one stands for the settings of the file itself"
            yield Fault(nearest_line(reading.lines, path), dotted(path), name, wanted)
            continue
        try:
            config.under(name)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                detail["loc"] = ("profiles", name, *detail["loc"])
                yield from _located(detail, reading)


def _doubts_of_profiles(config: CameraConfig, reading: _Reading) -> Iterator[Fault]:
    """What a profile itself says and probably does not mean."""
    for name in config.profiles:
        for where, got, wanted in doubts(config.under(name)):
            path = ("profiles", name, *where)
            if path in reading.lines:
                yield Fault(reading.lines[path], dotted(path), got, wanted)


def _compose(text: str, path: Path) -> yaml.Node | None:
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: is not valid YAML: {error.problem}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{path}:{line}: is not valid YAML: the character U+{error.character:04X}"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}:1: is not valid YAML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested deeper than any setting is") from None
    return node


def _plain(node: yaml.Node | None, at: KeyPath, reading: _Reading, depth: int = 0) -> Any:
    """Turn a node into dicts, lists and scalars; note its line and its faults on the way."""
    if node is None:
        return None
    line = node.start_mark.line + 1
    reading.lines.setdefault(at, line)
    if depth > _MOST_NESTING:
        # A section that holds an alias of itself ends here too.
        raise _UnreadableError(Fault(line, "", "deeper nesting than any setting has", "less"))
    reading.values += 1
    if reading.values > _MOST_VALUES:
        raise _UnreadableError(Fault(line, "", f"more than {_MOST_VALUES} values", "fewer aliases"))
    if isinstance(node, yaml.MappingNode):
        return _plain_mapping(node, at, reading, depth)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*at, i), reading, depth + 1) for i, item in enumerate(node.value)]
    return _plain_scalar(node, at, reading)


def _plain_mapping(
    node: yaml.MappingNode, at: KeyPath, reading: _Reading, depth: int
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            reading.faults.append(Fault(line, dotted(at), "a key that is a section", "a name"))
            continue
        key = str(key_node.value)
        path = (*at, key)
        if key_node.tag == _MERGE:
            fault = Fault(line, dotted(path), "a merge key", "the keys that it stands for")
            reading.faults.append(fault)
            continue
        if key in out:
            first = reading.lines[path]
            reading.faults.append(
                Fault(line, dotted(path), "the key a second time", f"it once (first: line {first})")
            )
            continue
        reading.lines[path] = line
        _note_comment(key_node, value_node, path, reading)
        out[key] = _plain(value_node, path, reading, depth + 1)
    return out


def _note_comment(
    key_node: yaml.ScalarNode, value_node: yaml.Node, path: KeyPath, reading: _Reading
) -> None:
    """Warn of a value that YAML took for a comment: `password: #abc` is no password at all."""
    if not isinstance(value_node, yaml.ScalarNode) or value_node.style is not None:
        return
    rest = reading.text[key_node.end_mark.index :].split("\n", 1)[0]
    if not value_node.value:
        swallowed = _WHOLE_COMMENT.match(rest) is not None
        got = "nothing, because what follows # is a comment"
    else:
        swallowed = is_secret_name(str(path[-1])) and _END_COMMENT.search(rest) is not None
        got = "a value that ends before #, where a comment begins"
    if swallowed:
        wanted = "quotes around the value, if # belongs to it"
        reading.warnings.append(Fault(reading.lines[path], dotted(path), got, wanted))


def _plain_scalar(node: yaml.Node, at: KeyPath, reading: _Reading) -> Any:
    text = str(node.value)
    if _VARIABLE.search(text):
        return _expand(text, at, reading)
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
        got, wanted = "a character that is none (NUL or half of a pair)", "text"
        reading.faults.append(Fault(reading.lines[at], dotted(at), got, wanted))
        return None
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node, deep=True)
    except _UNREADABLE as error:
        why = (
            ""
            if is_secret_name(str(at[-1] if at else ""))
            else f" ({redact(_brief(error, node.tag))})"
        )
        got, wanted = f"a value that YAML cannot read{why}", "text, in quotes"
        reading.faults.append(Fault(reading.lines[at], dotted(at), got, wanted))
        return None
    finally:
        loader.dispose()


def _brief(error: Exception, tag: str) -> str:
    """The first words of what a parser complains of, on one line."""
    if not isinstance(error, yaml.YAMLError | ValueError):
        return f"it is no {tag.rpartition(':')[2]}"
    text = str(getattr(error, "problem", None) or error).splitlines()[0]
    return text if len(text) <= 80 else text[:77] + "..."


def _expand(text: str, at: KeyPath, reading: _Reading) -> str:
    def replacement(match: re.Match[str]) -> str:
        name = match[2]
        if match[1] == "$":
            return "$"
        if not _NAME.fullmatch(name):
            problem = f"${{{name}}}", "the name of an environment variable between the braces"
        elif name not in reading.environment:
            problem = f"${{{name}}}, which is not set", f"the environment variable {name}"
        else:
            return reading.environment[name]
        reading.faults.append(Fault(reading.lines[at], dotted(at), *problem))
        return "unset"

    return _VARIABLE.sub(replacement, text)


def _located(detail: ErrorDetails, reading: _Reading) -> list[Fault]:
    """Lead one complaint of pydantic back to its line; tags of unions are no keys of the file."""

    def place(loc: KeyPath) -> tuple[int, str]:
        path: KeyPath = ()
        for part in loc:
            missing_here = detail["type"] == "missing" and part == loc[-1]
            if (*path, part) in reading.lines or missing_here:
                path = (*path, part)
        return nearest_line(reading.lines, path), dotted(path)

    return faults_from(detail, place)
