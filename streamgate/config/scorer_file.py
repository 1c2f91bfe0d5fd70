"""The file of a scorer service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import TypeAdapter

from streamgate.config.load import MAX_BYTES, load_part
from streamgate.config.scorer import ScorerConfig

__all__ = ["is_scorer_file", "load_scorer_config"]

_ITS_OWN = frozenset({"scorer", "listen", "queue", "limits", "engine", "metrics"})


def load_scorer_config(path: Path, environment: Mapping[str, str] | None = None) -> ScorerConfig:
    """Read and validate a scorer service's YAML file.

    Args:
        environment: values for `${NAME}`; the process environment by default.

    Raises:
        ConfigError: the message lists every fault, one a line.
    """
    return load_part(path, (), TypeAdapter(ScorerConfig), environment=environment)


def is_scorer_file(path: Path) -> bool:
    """Return whether a file describes a scorer service and no camera, by the sections it has."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return False
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        # Whoever reads it next says what is wrong.
        return False
    if not isinstance(node, yaml.MappingNode):
        return False
    names = {name.value for name, _ in node.value if isinstance(name, yaml.ScalarNode)}
    return "camera" not in names and "source" not in names and bool(names & _ITS_OWN)
