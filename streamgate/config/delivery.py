"""Where best shots go: the outbox and one section per kind of sink."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from streamgate.config.section import Fraction, Name, Seconds, Section

__all__ = [
    "DeliverySection",
    "DirectorySink",
    "HttpSink",
    "MemoryOutbox",
    "RetrySection",
    "SinkSection",
]


class DirectorySink(Section):
    """Writes each best shot into a folder."""

    kind: Literal["directory"]
    name: Name = Field(default="directory", description="Name in metrics and logs.")
    path: Path = Field(description="Folder; it is made where it does not exist.")


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("wanted http://host/path or https://host/path")
    if "@" in url.split("://", 1)[1].split("/", 1)[0]:
        raise ValueError("the URL holds credentials; give them as token or in headers")
    return url


class HttpSink(Section):
    """Posts each best shot as multipart/form-data; any 2xx answer acknowledges it."""

    kind: Literal["http"]
    name: Name = Field(default="http", description="Name in metrics and logs.")
    url: Annotated[str, AfterValidator(_http_url)] = Field(description="Where to POST.")
    token: SecretStr | None = Field(
        default=None, description="Sent as `Authorization: Bearer …`; better as token_file."
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file with the authority that signed the server."
    )
    timeout_s: Seconds = Field(default=10.0, description="Time allowed for one attempt, seconds.")


SinkSection = Annotated[DirectorySink | HttpSink, Field(discriminator="kind")]


class MemoryOutbox(Section):
    """Waiting best shots are kept in memory and are lost with the process."""

    kind: Literal["memory"] = "memory"
    max_shots: int = Field(
        default=256, ge=1, le=100_000, description="Most best shots that wait for each sink."
    )


class RetrySection(Section):
    """How a delivery that failed for a passing reason is tried again."""

    initial_s: Seconds = Field(default=0.5, description="First pause, seconds.")
    max_s: Seconds = Field(default=60.0, description="Longest pause, seconds.")
    jitter: Fraction = Field(default=0.3, description="Random share of each pause.")


class DeliverySection(Section):
    """Where best shots go."""

    sinks: tuple[SinkSection, ...] = Field(
        default=(), max_length=16, description="Every best shot goes to each of them."
    )
    outbox: MemoryOutbox = Field(default_factory=MemoryOutbox)
    retry: RetrySection = Field(default_factory=RetrySection)
    context: bool = Field(default=False, description="Send a wider crop around the face as well.")
    context_margin: float = Field(
        default=1.0, ge=0.1, le=5, description="Margin of the context crop, in box sizes."
    )
    crop_format: Literal["jpeg", "png"] = Field(default="jpeg", description="png is lossless.")
    jpeg_quality: int = Field(default=95, ge=10, le=100, description="JPEG quality of pictures.")
    drain_s: Seconds = Field(
        default=3.0, description="At stop, time allowed for what still waits, seconds."
    )

    @model_validator(mode="after")
    def _names_differ(self) -> DeliverySection:
        names = [sink.name for sink in self.sinks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two sinks are named {twice[0]}; give each a name of its own")
        return self
