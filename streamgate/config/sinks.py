"""Where best shots can go: one section per kind of sink."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from streamgate.config.section import Name, Seconds, Section

__all__ = [
    "AnswersSection",
    "DirectorySinkSection",
    "HttpSinkSection",
    "KafkaSinkSection",
    "MqttSinkSection",
    "NatsSinkSection",
    "RedisSinkSection",
    "SinkSection",
]

_Word = Annotated[str, Field(min_length=1, max_length=250, pattern=r"^[^\s*>#+]+$")]
_HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"


class _AnySink(Section):
    at_once: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Most deliveries under way at the same time; those of one track never are, "
        "except one that has failed and is tried again by itself.",
    )


class _NetworkSink(_AnySink):
    timeout_s: Seconds = Field(default=10.0, description="Time allowed for one attempt, seconds.")
    ca_file: Path | None = Field(
        default=None,
        description="PEM file with the authority that signed the server; default: the system's.",
    )
    client_cert_file: Path | None = Field(
        default=None, description="PEM file with our certificate, for servers that ask for one."
    )
    client_key_file: Path | None = Field(
        default=None, description="PEM file with its private key, unless it is in the same file."
    )

    @model_validator(mode="after")
    def _encrypted_as_meant(self) -> Self:
        """Files for TLS say that the connection is meant to be encrypted."""
        url = str(getattr(self, "url", ""))
        plain = {"http": "https", "redis": "rediss", "mqtt": "mqtts"}.get(url.partition(":")[0])
        in_clear = plain is not None or getattr(self, "tls", None) is False
        if in_clear and (self.ca_file is not None or self.client_cert_file is not None):
            wanted = "tls: true" if plain is None else f"a URL that begins with {plain}://"
            raise ValueError(
                f"ca_file or client_cert_file is given, but the connection is not encrypted: "
                f"wanted {wanted}, or neither file"
            )
        return self

    @field_validator("ca_file", "client_cert_file", "client_key_file")
    @classmethod
    def _exists(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError(f"no file at {path}")
        return path


class _BrokerSink(_NetworkSink):
    username: str | None = Field(default=None, description="User name.")
    password: SecretStr | None = Field(
        default=None, description="Password; better as ${ENV} or password_file."
    )


def _url(*schemes: str) -> AfterValidator:
    wanted = " or ".join(f"{scheme}://host…" for scheme in schemes)

    def check(url: str) -> str:
        scheme, _, rest = url.partition("://")
        if scheme not in schemes or not rest:
            raise ValueError(f"wanted {wanted}")
        if "@" in rest.split("/", 1)[0]:
            raise ValueError("the URL holds credentials; give them in keys of their own")
        return url

    return AfterValidator(check)


class AnswersSection(Section):
    """What an HTTP service answers to best shots, kept as JSON lines."""

    path: Path = Field(description="The file; its folder is made.")
    max_bytes: int = Field(
        default=16_777_216,
        ge=4096,
        description="The file is put aside as PATH.1 when it would grow beyond this.",
    )
    keep: int = Field(
        default=4, ge=0, le=1000, description="How many files are kept that were put aside."
    )


class DirectorySinkSection(_AnySink):
    """Writes each best shot into a folder; it is there whole once its JSON file is there."""

    kind: Literal["directory"]
    name: Name = Field(default="directory", description="Name in metrics and logs.")
    path: Path = Field(description="Folder; it is made where it does not exist.")
    timeout_s: Seconds = Field(
        default=30.0,
        description="Time allowed for one best shot, seconds: a disk on a dead server never "
        "answers.",
    )
    group_readable: bool = Field(
        default=False,
        description="Files are for their owner alone (0600, in a folder of 0700 where it is made); "
        "true lets the group read them (0640 in 0750).",
    )


class HttpSinkSection(_NetworkSink):
    """Posts each best shot as multipart/form-data; any 2xx answer acknowledges it."""

    kind: Literal["http"]
    name: Name = Field(default="http", description="Name in metrics and logs.")
    url: Annotated[str, _url("http", "https")] = Field(description="Where to POST.")
    token: SecretStr | None = Field(
        default=None, description="Sent as `Authorization: Bearer …`; better as token_file."
    )
    username: str | None = Field(default=None, description="User name for Basic authentication.")
    password: SecretStr | None = Field(
        default=None, description="Its password; better as ${ENV} or password_file."
    )
    headers: dict[Annotated[str, Field(pattern=_HEADER)], SecretStr] = Field(
        default_factory=dict, max_length=32, description="Further headers, such as an API key."
    )
    proxy: SecretStr | None = Field(
        default=None,
        description="http:// or https:// proxy, with user:password@ where it wants one; better as "
        "proxy_file. Default: HTTP_PROXY, HTTPS_PROXY and NO_PROXY of the environment, as other "
        "programs read them; an empty text takes none.",
    )
    metadata_part: Name | None = Field(
        default="metadata", description="Name of the part with the JSON; null leaves it out."
    )
    crop_part: Name | None = Field(
        default="crop", description="Name of the part with the aligned face; null leaves it out."
    )
    context_part: Name | None = Field(
        default="context", description="Name of the part with the wider crop, if there is one."
    )
    answers: AnswersSection | None = Field(
        default=None,
        description="Where 2xx answers are written with the best shot's key, for services that "
        "say in them who it is; default: they are not kept.",
    )

    @field_validator("proxy")
    @classmethod
    def _is_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        if proxy is not None and (text := proxy.get_secret_value()):
            parts = urlsplit(text)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("wanted http://host:port or https://host:port")
        return proxy

    @model_validator(mode="after")
    def _consistent(self) -> HttpSinkSection:
        if self.token is not None and self.username is not None:
            raise ValueError("give either token or username and password, not both")
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together")
        parts = [self.metadata_part, self.crop_part, self.context_part]
        named = [part for part in parts if part is not None]
        if not named or len(set(named)) != len(named):
            raise ValueError("the parts need names that differ, and at least one must be sent")
        return self


class RedisSinkSection(_BrokerSink):
    """Adds each best shot to a Redis stream."""

    kind: Literal["redis"]
    name: Name = Field(default="redis", description="Name in metrics and logs.")
    url: Annotated[str, _url("redis", "rediss")] = Field(
        default="redis://127.0.0.1:6379/0",
        description="redis:// or rediss:// (TLS), with the database.",
    )
    stream: _Word = Field(default="streamgate:best-shots", description="Name of the stream.")
    max_length: int = Field(
        default=10_000,
        ge=1,
        description="About how many entries the stream keeps (MAXLEN ~); the oldest go.",
    )


class NatsSinkSection(_BrokerSink):
    """Publishes each best shot to a NATS JetStream; the stream's answer acknowledges it."""

    kind: Literal["nats"]
    name: Name = Field(default="nats", description="Name in metrics and logs.")
    url: Annotated[str, _url("nats", "tls")] = Field(
        default="nats://127.0.0.1:4222", description="nats:// or tls://, host and port."
    )
    token: SecretStr | None = Field(default=None, description="Token; better as token_file.")
    subject: _Word = Field(
        default="streamgate.best-shots", description="Subject; a stream must listen to it."
    )
    stream: Name | None = Field(
        default=None, description="Make a stream of this name for the subject where none is."
    )
    stream_max_bytes: int = Field(
        default=1_073_741_824, ge=1_048_576, description="Size limit of the stream that is made."
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> NatsSinkSection:
        if self.token is not None and self.username is not None:
            raise ValueError("give either token or username and password, not both")
        return self


class MqttSinkSection(_BrokerSink):
    """Publishes each best shot with MQTT 5 and QoS 1."""

    kind: Literal["mqtt"]
    name: Name = Field(default="mqtt", description="Name in metrics and logs.")
    url: Annotated[str, _url("mqtt", "mqtts")] = Field(
        default="mqtt://127.0.0.1:1883", description="mqtt:// or mqtts:// (TLS), host and port."
    )
    topic: _Word = Field(default="streamgate/best-shots", description="Topic.")
    client_id: Annotated[str, Field(max_length=200)] | None = Field(
        default=None, description="Client id; default: the broker gives one."
    )


class KafkaSinkSection(_BrokerSink):
    """Sends each best shot to a Kafka topic; acknowledged by all replicas in sync."""

    kind: Literal["kafka"]
    name: Name = Field(default="kafka", description="Name in metrics and logs.")
    servers: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[^\s,@/]+:\d{1,5}$")], ...], Field(min_length=1)
    ] = Field(default=("127.0.0.1:9092",), description="Brokers to begin with, host:port.")
    topic: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")] = Field(
        default="streamgate-best-shots", description="Topic."
    )
    tls: bool = Field(default=False, description="Speak TLS.")
    idempotent: bool = Field(
        default=True,
        description="Let the brokers drop what the client repeats within one connection (the "
        "idempotent producer). Where they refuse it, it is switched off with a warning: the "
        "idempotency key in each message tells repetitions anyway.",
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="How username and password are proved (SASL)."
    )
    max_message_bytes: int = Field(
        default=1_048_576,
        ge=65_536,
        description="Largest message; the broker's limit must allow it.",
    )


SinkSection = Annotated[
    DirectorySinkSection
    | HttpSinkSection
    | RedisSinkSection
    | NatsSinkSection
    | MqttSinkSection
    | KafkaSinkSection,
    Field(discriminator="kind"),
]
