"""The `zones:` block of a camera's file: written, and put into the file's text.

Everything else in the text stays as it is to the byte, comments included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import yaml

from streamgate.config.zones import ZoneSection
from streamgate.errors import ConfigError

__all__ = ["with_zones", "zones_text"]

_KEY = "zones"
_RESERVED = ("null", "true", "false", "yes", "no", "on", "off")


def zones_text(zones: Sequence[ZoneSection]) -> str:
    """Return the block as YAML, with line feeds; the live page writes the same."""
    if not zones:
        return f"{_KEY}: []\n"
    lines = [f"{_KEY}:"]
    for zone in zones:
        points = ", ".join(f"[{_number(x)}, {_number(y)}]" for x, y in zone.points)
        lines += [f"  - name: {_name(zone.name)}", f"    kind: {zone.kind}"]
        lines.append(f"    points: [{points}]")
        for key in ("min_quality", "min_size_px"):
            value = getattr(zone, key)
            if value is not None:
                lines.append(f"    {key}: {_number(value)}")
    return "\n".join(lines) + "\n"


def with_zones(text: str, zones: Sequence[ZoneSection]) -> str:
    """Return the text of a file with other zones: the block is replaced, or added at the end.

    Raises:
        ConfigError: the file is not written as indented lines, so that no block can be replaced.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise ConfigError(
            "the file is not written as indented lines of `key: value`; add the zones by hand"
        )
    line_end = "\r\n" if "\r\n" in text else "\n"
    block = zones_text(zones).replace("\n", line_end)
    for key, value in root.value:
        if isinstance(key, yaml.ScalarNode) and key.value == _KEY:
            start = key.start_mark.index
            end = text.find("\n", max(_ends(key, value)))
            rest = "" if end < 0 else text[end + 1 :]
            return text[:start] + block + rest
    if not zones:
        return text
    if text and not text.endswith("\n"):
        text += line_end
    return text + line_end + block


def _ends(*nodes: yaml.Node) -> Iterator[int]:
    """Where the words of some nodes end; a block's own mark is behind the comments after it."""
    for node in nodes:
        if isinstance(node, yaml.ScalarNode) or getattr(node, "flow_style", False):
            yield node.end_mark.index
        elif isinstance(node, yaml.MappingNode):
            yield from (end for pair in node.value for end in _ends(*pair))
        elif isinstance(node, yaml.SequenceNode):
            yield from _ends(*node.value)


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _name(name: str) -> str:
    """In quotes where YAML might read something else, such as a number or a truth value."""
    return name if name[:1].isalpha() and name not in _RESERVED else f'"{name}"'
