"""What all sections of the configuration share: frozen, strict, secrets read from files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from streamgate.values.redaction import secrets_in

__all__ = [
    "ExistingFile",
    "Fraction",
    "Name",
    "Quality",
    "Seconds",
    "Section",
    "ServerToken",
    "secrets_of",
]

_SHORTEST_KEY = 8
_SHORTEST_TOKEN = 16


def _is_there(path: Path | None) -> Path | None:
    if path is not None and not path.is_file():
        raise ValueError(f"no file at {path}")
    return path


def _is_long(token: SecretStr | None) -> SecretStr | None:
    if token is not None and len(token.get_secret_value()) < _SHORTEST_TOKEN:
        raise ValueError(f"wanted {_SHORTEST_TOKEN} characters or more")
    return token


Seconds = Annotated[float, Field(gt=0, le=86_400)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Quality = Annotated[float, Field(ge=0, le=100)]
ExistingFile = Annotated[Path | None, AfterValidator(_is_there)]
ServerToken = Annotated[SecretStr | None, AfterValidator(_is_long)]
"""What visitors of a server of ours must know: too long to be guessed."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or SecretStr in get_args(annotation)


class Section(BaseModel):
    """A frozen section. Every secret `name` can also be given as `name_file`, a path."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        data = dict(data)
        for name, field in cls.model_fields.items():
            if not _is_secret(field.annotation) or data.get(f"{name}_file") is None:
                continue
            path = data.pop(f"{name}_file")
            if name in data:
                raise ValueError(f"give either {name} or {name}_file, not both")
            data[name] = _secret_from(path, name)
        return data


def _secret_from(path: Any, name: str) -> str:
    try:
        secret = Path(str(path)).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ValueError(f"{name}_file: cannot read {path}: {reason}") from None
    if not secret:
        raise ValueError(f"{name}_file: {path} is empty")
    return secret


def secrets_of(section: BaseModel) -> list[str]:
    """Every secret text in a section and below it, so that they can be struck out everywhere.

    What an address may hide in its path and its query is among them.
    """
    found: list[str] = []
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, dict):
            # Most headers are public, and a short value is hardly a key. Redacting it would remove
            # a common word from the whole log.
            value = tuple(
                item
                for item in value.values()
                if not isinstance(item, SecretStr) or len(item) >= _SHORTEST_KEY
            )
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, SecretStr):
                found.append(item.get_secret_value())
            elif isinstance(item, BaseModel):
                found.extend(secrets_of(item))
            elif isinstance(item, str) and "://" in item:
                found.extend(secrets_in(item))
    return found
