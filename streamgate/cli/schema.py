"""`streamgate schema`: let editors complete and check configuration files."""

from __future__ import annotations

import json

import click

__all__ = ["command"]


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of a camera's configuration file."""
    from streamgate.config import CameraConfig

    schema = CameraConfig.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    click.echo(json.dumps(schema, indent=2))
