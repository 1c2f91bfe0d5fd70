"""`streamgate schema`: let editors complete and check configuration files."""

from __future__ import annotations

import json

import click

__all__ = ["command"]


@click.command("schema")
@click.argument("kind", type=click.Choice(["camera", "scorer"]), default="camera")
def command(kind: str) -> None:
    """Print the JSON Schema of a configuration file: of a camera, or of a scorer service."""
    from streamgate.config import CameraConfig, ScorerConfig

    schema = (CameraConfig if kind == "camera" else ScorerConfig).model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    click.echo(json.dumps(schema, indent=2))
